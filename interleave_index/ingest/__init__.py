"""Ingest: from folders of photos to rows of the store. Knows records, an interface and a store; nothing of queries.

sniff           what a file is, by its first bytes
scan            which files are photos, and which folders could not be listed
exif, xmp       time, camera, lens, place
text            texts beside photos, inside them and on pages -> passages
containers      what stands around the pixels in PNG, HEIF, AVIF and JPEG XL
profiles        ICC profiles of colour spaces that a file names by number
colour          any mode and profile -> 8-bit sRGB
tiff, raw       TIFF kinds that Pillow does not read; the JPEG inside a camera's raw file
decode          bytes -> upright RGB and facts: the one decode path of the project
fetch           a picture by URL, size-limited
thumbnail       small JPEGs, written atomically, made again when lost
phash           64-bit perceptual hash
decode_task     what is done with one file; never sees the database or a model
decode_process  the process around it, a program of its own
decode_pool     the pool of those processes, and what happens when one dies
encode          pictures through the model, the bad ones apart
plan            what each scanned file needs, and what it counts as
tally           counts, failures, seconds, progress
scheduler       the loop between decoders, model and store
pipeline        scan -> decode -> encode -> write
"""
