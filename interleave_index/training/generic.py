"""The bank of generic captions, which lies with the interfaces: some of them make their own calibration from it."""

from ..interface.generic import generic_captions

__all__ = ["generic_captions"]
