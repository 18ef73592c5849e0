"""Segmenters and detectors behind two seams: masks for prompts, boxes for phrases."""
