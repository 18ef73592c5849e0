"""Dual encoders of a hub (CLIP, MetaCLIP 2, SigLIP, SigLIP 2) as an interface with regions and masks.

`interface` is the whole, `proposals` says where masks come from, `regions` how a mask becomes a vector, `legend` how a
query of words and pictures becomes one, `banks` makes the calibration, `ground` is the seam for a second look.
"""

from .ground import BestRegion, Grounder, Look
from .interface import DualInterface
from .proposals import Proposals, Proposer

__all__ = ["BestRegion", "DualInterface", "Grounder", "Look", "Proposals", "Proposer"]
