"""READ: a language model that sees, says which thing is meant, and segments it; for queries that need a thought.

`keys` maps the released weights onto the classes of transformers, `model` runs them as the release does, `interface`
lets `ground` ask it. One photo at a time; it makes no vectors and cannot be searched with.
"""
