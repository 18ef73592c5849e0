"""X-Decoder and SEEM as they were released: their decoders, checkpoints, and what an index sees of them.

`decoder` is what both share, `xdecoder` and `seem` their own passes; docs/xdecoder.md says what is computed.
"""
