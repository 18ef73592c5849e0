"""Answers and libraries in forms that other tools read: COCO JSON, mask pictures, JSON lines, a page.

Takes records and loaders of pixels. Knows no SQL, no model and no command line. Import what is
wanted from its module: `coco`, `masks`, `jsonl`, `page`.
"""
