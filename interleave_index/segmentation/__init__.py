"""Photos into segments with classes: every thing and stretch of a photo, masked once and named.

Knows models and the records. It does not know files of photos, SQL, or which formats segments are written in.
"""
