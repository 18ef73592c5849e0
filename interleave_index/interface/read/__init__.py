"""READ: a language model over images that names the thing meant and segments it; for queries that need reasoning.

`keys` maps the released weights onto the classes of transformers, `model` runs them as the release does, `interface`
lets `ground` ask it. One photo at a time; it makes no vectors and cannot be searched with.
"""
