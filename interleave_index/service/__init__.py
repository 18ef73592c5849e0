"""`Index`: all that the command line, the page and the evaluation may ask of an index.

It joins the packages below (storage, interface, ingest, query) and holds the settings. Packages are imported when a
method needs them, and the model is built when the first query or photo needs it: status, verify, forget and queries
made of what is indexed already run without torch.
"""

from __future__ import annotations

from .asking import Asking, Depth, Mode, Target, check_pictures, ground_picture
from .pictures import load_picture
from .upkeep import Upkeep

__all__ = ["Depth", "Index", "Mode", "Target", "check_pictures", "ground_picture", "load_picture"]


class Index(Asking, Upkeep):
    """A collection of photos that can be asked. Made by `Index.open`.

    Its methods stand by subject: `intake`, `asking`, `contents`, `upkeep`, over what `opened` holds.

    Several threads may ask at once, if the interface allows it; one at a time ingests, forgets or optimizes.

    Boxes are (x0, y0, x1, y1), half-open, in pixels of the upright photo; sizes are (height, width);
    pictures are (H, W, 3) uint8 RGB, upright. Whatever goes wrong is an `InterleaveError`.
    """
