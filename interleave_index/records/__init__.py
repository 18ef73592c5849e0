"""Frozen nouns that travel between the packages. Knows numpy and nothing of models, SQL or files.

Arrays inside records are never written to after the record is made. Boxes are
``(x0, y0, x1, y1)`` floats, half-open, in pixels of the upright photo; sizes are ``(height, width)``.
"""

from .answers import (
    Answer,
    EntityHit,
    Grounding,
    Hit,
    Partial,
    Photo,
    Region,
    Reranked,
    Reranking,
)
from .encodings import (
    NOWHERE,
    REGIONS_PER_PHOTO,
    RGB,
    BoolMask,
    Box,
    Floats,
    GroundedMask,
    PhotoEncoding,
    QueryEncoding,
    Rle,
    Size,
    Space,
    region_id,
)
from .filters import Filters
from .ingested import (
    FailedFile,
    IngestReport,
    Location,
    PhotoFacts,
)
from .parts import (
    Entity,
    Not,
    Part,
    PartKind,
    PhotoRef,
    Picture,
    RegionRef,
    ResolvedPart,
    ResolvedQuery,
    Term,
)
from .prompting import (
    Detected,
    Prompt,
    Segmented,
)
from .segments import Panoptic, PanopticSegment

__all__ = [
    "NOWHERE",
    "Answer",
    "BoolMask",
    "Box",
    "Detected",
    "Entity",
    "EntityHit",
    "FailedFile",
    "Filters",
    "Floats",
    "GroundedMask",
    "Grounding",
    "Hit",
    "IngestReport",
    "Location",
    "Not",
    "Panoptic",
    "PanopticSegment",
    "Part",
    "PartKind",
    "Partial",
    "Photo",
    "PhotoEncoding",
    "PhotoFacts",
    "PhotoRef",
    "Picture",
    "Prompt",
    "QueryEncoding",
    "REGIONS_PER_PHOTO",
    "RGB",
    "Region",
    "RegionRef",
    "Reranked",
    "Reranking",
    "ResolvedPart",
    "ResolvedQuery",
    "Rle",
    "Segmented",
    "Size",
    "Space",
    "Term",
    "region_id",
]
