"""X-Decoder and SEEM as they were released: their decoders, checkpoints, and what an index sees of them.

`decoder` is what both share, `xdecoder` and `seem` their own passes, `text` the language side; `keys` and `importing`
turn a released file into a folder, `folder` loads it as a `model`; `interface` is what an index sees, `parts` what
others use. docs/xdecoder.md says what is computed.
"""
