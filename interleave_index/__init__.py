"""Search a folder of photos with words and pictures mixed, and see which pixels answered which phrase.

    from interleave_index import Index, Query

    index = Index.open("photos.index", create=True)
    index.ingest("photos/")
    hits = index.search(Query.parse("[image:mug.jpg] on a wooden table"), top_k=10)
    hits[0].photo.path, hits[0].entities[0].regions[0].rle

Importing the package is light: torch, faiss and the database are loaded when they are first needed.
"""

from .config import Config
from .errors import InterleaveError
from .grammar import Query
from .records import Answer, Entity, Filters, Hit, Not, PhotoRef, Picture, RegionRef
from .service import Index

__version__ = "0.1.0"


def _answer_html(answer: Answer) -> str:
    from .export.notebook import answer_html

    return answer_html(answer)


def _hit_html(hit: Hit) -> str:
    from .export.notebook import hit_html

    return hit_html(hit)


# Notebooks ask for this name. It is set here since records, the lowest layer, know nothing of exports.
Answer._repr_html_ = _answer_html  # type: ignore[attr-defined]
Hit._repr_html_ = _hit_html  # type: ignore[attr-defined]

__all__ = [
    "Answer",
    "Config",
    "Entity",
    "Filters",
    "Hit",
    "Index",
    "InterleaveError",
    "Not",
    "PhotoRef",
    "Picture",
    "Query",
    "RegionRef",
    "__version__",
]
