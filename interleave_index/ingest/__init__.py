"""Ingest: from folders of photos to rows of the store. Knows records, an interface and a store; nothing of queries.

sniff      what a file is, by its first bytes
scan       which files are photos, and which folders could not be listed
exif       time, camera, lens, place
colour     any mode and profile -> 8-bit sRGB
decode     bytes -> upright RGB and facts: the one decode path of the project
fetch      a picture by URL, size-limited
thumbnail  small JPEGs, written atomically, made again when lost
phash      64-bit perceptual hash
worker     what is done with one file; never sees the database or a model
serve      the decode process around it, a program of its own
workers    the pool of those processes, and what happens when one dies
plan       what each scanned file needs, and what it counts as
tally      counts, failures, seconds, progress
run        the loop between decoders, model and store
pipeline   scan -> decode -> encode -> write
"""
