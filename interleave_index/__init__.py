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
