"""Similarity as points: which cells of a patch grid resemble a query, and what a segmenter is shown of them.

Pure functions on arrays; no networks, files or SQL. `grid` places cells in a photo, `record` what an index
keeps of them, `similarity` draws the map of a query, `points` turns a map into prompts, `instances` ranks regions,
`cascade` gives the best answer that the models at hand allow, `compatible` picks points as READ does. Whether a thing
is in a photo at all is not judged here.
"""
