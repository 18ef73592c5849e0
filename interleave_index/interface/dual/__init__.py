"""Dual encoders of a hub as an interface with regions and masks.

`interface` is the whole, `proposals` makes masks, `regions` how a mask becomes a vector, `banks` makes
the calibration.
"""
