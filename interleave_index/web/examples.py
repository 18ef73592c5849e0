"""What a first visitor may ask: made of the library that is served, so that every example finds something."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InterleaveError
from ..grammar import Query
from ..records import Photo, Region
from ..service import Index

PHRASES = (
    "a dog",
    "a cat",
    "a child",
    "a person",
    "flowers",
    "a boat",
    "a car",
    "a bicycle",
    "the sea",
    "mountains",
    "a tree",
    "food on a plate",
    "a house",
    "a green meadow",
    "red",
)
PHOTOS_LOOKED_AT = 8
SMALLEST, LARGEST = 0.02, 0.45  # of the photo, that a part to point at should cover


@dataclass(frozen=True, slots=True)
class Examples:
    """One of each kind; None where the library has nothing for it.

    Attributes:
        words: a phrase.
        photo: for a sentence with a picture in it.
        part: a photo and one of its regions.
    """

    words: str | None
    photo: Photo | None
    part: tuple[Photo, Region] | None


def examples_of(index: Index) -> Examples:
    """Examples for an index: the phrase that is likeliest to be there, and parts of photos that look good."""
    words, hit = _likeliest(index)
    recent = [index.photo(int(number)) for number in index.ids()[::-1][:PHOTOS_LOOKED_AT]]
    photos = [hit, *recent] if hit is not None else recent
    part = next((found for photo in photos if (found := _part(index, photo)) is not None), None)
    return Examples(words, photos[0] if photos else None, part)


def _likeliest(index: Index) -> tuple[str | None, Photo | None]:
    """The phrase whose best photo is most relevant, of those that are meant."""
    best: tuple[float, str | None, Photo | None] = (0.0, None, None)
    try:
        for phrase in PHRASES:
            answer = index.search(Query.parse(f"[{phrase}]"), 1, ground=None)
            for hit in answer:
                if answer.meant(hit) and hit.relevance > best[0]:
                    best = hit.relevance, phrase, hit.photo
    except InterleaveError:  # without a model there are no words, but there are photos
        pass
    return best[1], best[2]


def _part(index: Index, photo: Photo) -> tuple[Photo, Region] | None:
    """The best region of a photo that is neither most of it nor a speck."""
    for region in index.regions(photo.id):
        x0, y0, x1, y1 = region.box
        share = (x1 - x0) * (y1 - y0) / (photo.width * photo.height)
        if SMALLEST <= share <= LARGEST:
            return photo, region
    return None
