"""The pictures that a query was asked with, for showing above its hits. Knows the query and a loader of pictures."""

from __future__ import annotations

from ..grammar import Query
from ..query.pixels import LoadPicture, marked
from ..records import Not, Picture
from ..terms import label
from .page import QueryPicture


def query_pictures(query: Query, load_picture: LoadPicture) -> tuple[QueryPicture, ...]:
    """Every outside picture of a query with the part that is meant, in the order of the query.

    Args:
        query: any; text and references into the index have no picture here.
        load_picture: gives upright RGB for a path, a URL or an array.
    Raises:
        ImageUnreadable, ImageTooLarge: a picture that cannot be loaded.
        InputError, ShapeError: a part that does not fit its picture.
    """
    found = []
    bracketed = [part.term if isinstance(part, Not) else part for part in query if not isinstance(part, str)]
    for number, term in enumerate(bracketed):  # as the entities of a hit are numbered
        if isinstance(term, Picture):
            photo = load_picture(term.source)
            mask, _ = marked(term, photo, load_picture)
            found.append(QueryPicture(label(term), photo, mask, number))
    return tuple(found)
