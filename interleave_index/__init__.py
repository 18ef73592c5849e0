"""Search a folder of photos with words and pictures mixed, and see which pixels answered which phrase.

    from interleave_index import Index, Query

    index = Index.open("photos.index", create=True)
    index.ingest("photos/")
    hits = index.search(Query.parse("[image:mug.jpg] on a wooden table"), top_k=10)
    hits[0].photo.path, hits[0].entities[0].regions[0].rle

Importing the package is light: its names are loaded when the first of them is used, torch, faiss and the database when
they are first needed. So a command can be stopped as soon as it is started.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_ELSEWHERE = {"Config": "config", "Index": "service", "InterleaveError": "errors", "Query": "grammar"}


def _load(name: str) -> Any:
    """A public name out of its module; Python asks for it here when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _show_in_notebooks()
    value = getattr(import_module(f".{_ELSEWHERE.get(name, 'records')}", __name__), name)
    globals()[name] = value
    return value


if not TYPE_CHECKING:  # a type checker would take every name for one that there is
    __getattr__ = _load


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _show_in_notebooks() -> None:
    """Give answers and hits the name that notebooks ask for; records, the lowest layer, know nothing of exports."""
    from .records import Answer, Hit

    Answer._repr_html_ = _answer_html  # type: ignore[attr-defined]
    Hit._repr_html_ = _hit_html  # type: ignore[attr-defined]


def _answer_html(answer: Answer) -> str:
    from .export.notebook import answer_html

    return answer_html(answer)


def _hit_html(hit: Hit) -> str:
    from .export.notebook import hit_html

    return hit_html(hit)
