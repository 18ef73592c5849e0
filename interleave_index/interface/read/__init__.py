"""READ: a language model over images that names the thing meant and segments it; for queries that need reasoning.

`keys` and `loading` bring the released weights into the classes of transformers; `prompts` words what is asked,
`language` answers and `masks` segments, `model` does both for one photo that is read once, `interface` lets `ground`
ask it. It makes no vectors and cannot be searched with.
"""
