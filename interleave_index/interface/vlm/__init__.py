"""Interleaved encoders of a hub: a sentence with pictures in it is one input and has one vector.

`interface` is the whole, `encoder` reads sentences and photos, `families` knows how each family is prompted and pooled,
`pixels` prepares pictures, `banks` makes the calibration.
"""
