"""How a FAISS index is built and searched for a number of rows. Knows no files and no SQL.

A recipe's exact part is always flat fp16, which is what the catalog stores and therefore lossless.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backend import load_faiss

FLAT = "SQfp16"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A FAISS factory string and how to search what it builds.

    Attributes:
        factory: ``SQfp16`` (exact), or a coarse index with ``Refine(SQfp16)``.
        search: calibrated parameters by the largest k that they were measured for.
        recall: measured share of the true k best that is found, by k.
    """

    factory: str
    search: dict[int, dict[str, int]] = field(default_factory=dict)
    recall: dict[int, float] = field(default_factory=dict)

    @property
    def coarse(self) -> bool:
        """Whether a coarse index stands before the exact codes."""
        return self.factory != FLAT

    def parameters(self, k: int, rows: int, share: float, bits: NDArray[np.uint8] | None) -> Any:
        """FAISS search parameters for one call, or None.

        Args:
            k: how many are asked for.
            rows: of the index.
            share: of the rows that may be found; fewer rows need more lists.
            bits: which positions may be found, packed little-endian; None is all. Kept alive by the caller.
        """
        faiss = load_faiss()
        selector = None if bits is None else faiss.IDSelectorBitmap(rows, faiss.swig_ptr(bits))
        return None if selector is None else faiss.SearchParameters(sel=selector)

    def to_json(self) -> str:
        """The recipe as it is kept in its generation's row."""
        return json.dumps({"factory": self.factory, "search": self.search, "recall": self.recall})

    @staticmethod
    def from_json(text: str) -> Recipe:
        """What `to_json` wrote."""
        plain = json.loads(text)
        return Recipe(plain["factory"], {int(k): v for k, v in plain["search"].items()},
                      {int(k): v for k, v in plain["recall"].items()})
