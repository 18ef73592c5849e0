"""A FIND model as an index uses it: photos and parts of queries in, vectors and masks in photo pixels out.

What all FIND models do alike stands here, once. `find_mini.interface` and `published.interface` fill in how photos are
prepared, which proposals become regions, and how texts and examples are read.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from ...errors import ShapeError
from ...geometry import box_of, boxes_of, encode_rle, size_of, unit
from ...models.vision.pixel_decoder import Pyramid
from ...records import (
    RGB,
    BoolMask,
    Floats,
    GroundedMask,
    PhotoEncoding,
    QueryEncoding,
    ResolvedPart,
    ResolvedQuery,
    Size,
    Space,
)
from ..calibration import Calibration
from ..latest import OfLatestQuery
from ..protocol import Capabilities, Interface, encode_parts, pixels_of, stored_vector
from . import tasks
from .model import FindModel
from .prompter import Sentence, compose
from .tasks import Proposals, Reference, References

SAME_IOU = 0.8  # masks that overlap more are one region
SMALLEST_AREA = 0.001  # share of the photo; smaller masks are no regions


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One photo as the interface sees it; made once, asked often.

    Attributes:
        pyramid: features of a batch of one.
        photo: (height, width) of the upright photo.
        resized: (height, width) of the model's input without padding.
        padded: (height, width) with padding at the bottom and the right.
    """

    pyramid: Pyramid
    photo: Size
    resized: Size
    padded: Size


Views: TypeAlias = dict[int, View]  # of pictures, by the id of their arrays
TextVectors: TypeAlias = Mapping[str, Floats]  # (D,) by text


@dataclass(frozen=True, slots=True)
class Regions:
    """The masks of one photo that are kept, best first.

    Attributes:
        masks: (R, h, w) bool in the photo's aspect, as large as they are stored, none empty.
        vectors: (R, D) float32, unit length.
        scores: (R,) float32, 0 to 1.
    """

    masks: BoolMask
    vectors: Floats
    scores: Floats


class FindAdapter(Interface):
    """Base of the interfaces over a `FindModel`.

    Args:
        model: in eval mode.
        space, calibration, capabilities: see `Interface`.
        class_table: (K + 1, D) class vectors by which the quality of proposals is judged, or None.
    """

    reads_phrases_as_captions = False  # a text that is asked as both is then read once

    def __init__(
        self,
        model: FindModel,
        space: Space,
        calibration: Calibration,
        capabilities: Capabilities,
        class_table: Tensor | None = None,
    ) -> None:
        self._model, self._space, self._calibration = model, space, calibration
        self._capabilities, self._class_table = capabilities, class_table
        self._sentence_of = OfLatestQuery(lambda asked: self._sentence(asked, self._views_of(asked)))

    @property
    def space(self) -> Space:
        """Named by the model's folder, distinguished by the hash of its files and by how photos are prepared."""
        return self._space

    @property
    def calibration(self) -> Calibration:
        """Banks and curves of the model's folder."""
        return self._calibration

    @property
    def capabilities(self) -> Capabilities:
        """See `Interface.capabilities`."""
        return self._capabilities

    # --- what a model fills in ------------------------------------------------------------------

    @contextmanager
    def _running(self) -> Iterator[None]:
        """What every computation runs in."""
        with torch.inference_mode():
            yield

    @abstractmethod
    def _views(self, photos: Sequence[RGB]) -> tuple[Pyramid, list[View]]:
        """The pyramid of all photos, and a view of each over its slice.

        Raises:
            ShapeError: a photo is no (H, W, 3) uint8 array.
        """

    @abstractmethod
    def _select_regions(self, view: View, proposals: Proposals, row: int) -> Regions:
        """Which masks of photo `row` become its regions."""

    @abstractmethod
    def _encode_captions(self, texts: Sequence[str]) -> Floats:
        """(N, D) vectors of sentences; N may be 0."""

    @abstractmethod
    def _encode_phrases(self, texts: Sequence[str]) -> Floats:
        """(N, D) vectors of text entities, each by itself; N may be 0."""

    @abstractmethod
    def _reference(self, part: ResolvedPart, view: View) -> Reference:
        """The marked part of a picture, the whole of it where nothing is marked."""

    def _encode_example(self, reference: Reference, *, in_mean: bool = False) -> Floats:
        """(D,) unit vector of a marked part; `in_mean` where it becomes part of a mean legend."""
        return unit(to_array(tasks.encode_example(self._model, reference)))

    def _encode_legend(self, sentence: Sentence, references: References) -> Floats:
        """(D,) unit vector of a sentence with pictures."""
        visual = tasks.sample_references(self._model, references)
        return unit(to_array(tasks.encode_legend(self._model, sentence, visual)))

    @abstractmethod
    def _ground_entities(
        self,
        view: View,
        sentence: Sentence,
        references: References,
        entities: Sequence[ResolvedPart],
    ) -> list[tuple[BoolMask, float]]:
        """(H, W) mask at the size of the photo, and score, of every entity of a sentence."""

    # --- photos -------------------------------------------------------------------------------

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """See `Interface.encode_photos`."""
        encodings = []
        size = self._capabilities.photos_at_a_time
        with self._running():
            for start in range(0, len(photos), size):
                pyramid, views = self._views(photos[start : start + size])
                proposals = tasks.propose(self._model, pyramid, self._class_table)
                images = unit(to_array(proposals.image))
                for row, view in enumerate(views):
                    regions = self._select_regions(view, proposals, row)
                    encodings.append(encoding_of(images[row], regions, view.photo))
        return encodings

    # --- queries ------------------------------------------------------------------------------

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """See `Interface.encode_query`.

        Plain text is a caption, text with pictures FIND's interleaved legend; brackets around text do not change it.
        The legend of pictures alone is the mean of their own vectors, and so it is where pixels are lost. A whole
        picture is its image vector, a marked part an example.
        """
        with self._running():
            # One text at a time, so that no vector depends, by rounding, on the other texts of the query.
            captions = {text: self._encode_captions([text])[0] for text in _captions(query)}
            phrases = {text: self._encode_phrases([text])[0] for text in _phrases(query)}
            return self._encode_query(query, captions, phrases)

    def encode_queries(self, queries: Sequence[ResolvedQuery]) -> list[QueryEncoding]:
        """`encode_query` of several queries; their texts are read together."""
        if len(queries) == 1:
            return [self.encode_query(queries[0])]
        captions = list(dict.fromkeys(text for query in queries for text in _captions(query)))
        phrases = list(dict.fromkeys(text for query in queries for text in _phrases(query)))
        with self._running():
            if self.reads_phrases_as_captions:
                texts = list(dict.fromkeys([*captions, *phrases]))
                caption_vectors = phrase_vectors = dict(zip(texts, self._encode_captions(texts), strict=True))
            else:
                caption_vectors = dict(zip(captions, self._encode_captions(captions), strict=True))
                phrase_vectors = dict(zip(phrases, self._encode_phrases(phrases), strict=True))
            return [self._encode_query(query, caption_vectors, phrase_vectors) for query in queries]

    def _encode_query(self, query: ResolvedQuery, captions: TextVectors, phrases: TextVectors) -> QueryEncoding:
        views = self._views_of(query)
        legend = self._legend(_asked(query), views, captions)
        return encode_parts(query, legend, lambda part: self._part_vector(part, views, phrases))

    def _legend(self, asked: ResolvedQuery, views: Views, captions: TextVectors) -> Floats:
        if not asked:
            return np.zeros(self.space.dim, np.float32)
        if all(part.kind == "text" for part in asked):
            return captions[_text(asked)]
        if _is_mean(asked):
            vectors = [part.weight * self._part_vector(part, views, captions, in_mean=True) for part in asked]
            return unit(np.sum(vectors, 0))
        return self._encode_legend(*self._sentence(asked, views))

    def _part_vector(self, part: ResolvedPart, views: Views, texts: TextVectors, *, in_mean: bool = False) -> Floats:
        """(D,) of a part by itself; `in_mean` see `_encode_example`."""
        if part.kind == "text":
            return texts[part.label]
        stored = stored_vector(part)
        if stored is not None:
            return stored
        view = views[id(pixels_of(part))]
        if part.kind == "picture":
            return unit(to_array(tasks.propose(self._model, view.pyramid).image[0]))
        return self._encode_example(self._reference(part, view), in_mean=in_mean)

    def _views_of(self, parts: ResolvedQuery) -> Views:
        """A view of every picture by the id of its array."""
        photos = {id(part.photo): part.photo for part in parts if part.photo is not None}
        return {number: self._views([photo])[1][0] for number, photo in photos.items()}

    def _sentence(self, asked: ResolvedQuery, views: Views) -> tuple[Sentence, list[Reference | None]]:
        """The sentence of all parts, and the reference of every entity, None for those of text."""
        pieces: list[tuple[str, int | None, bool]] = []
        references: list[Reference | None] = []
        for part in asked:
            is_visual = part.kind != "text" and part.photo is not None
            number = None
            if part.role == "entity":
                number = len(references)
                references.append(self._reference(part, views[id(part.photo)]) if is_visual else None)
            pieces.append((part.label, number, is_visual))
        return compose(pieces), references

    # --- grounding ----------------------------------------------------------------------------

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground`: one pass over the photo with the whole query, one mask an entity.

        The pictures of a query are seen once, however many photos it is grounded in.
        """
        asked = _asked(query)
        entities = [part for part in asked if part.role == "entity"]
        if not entities:
            return []
        with self._running():
            sentence, references = self._sentence_of(asked)
            _, (view,) = self._views([photo])
            answers = self._ground_entities(view, sentence, references, entities)
        return [
            GroundedMask(number, encode_rle(mask), box_of(mask), score) for number, (mask, score) in enumerate(answers)
        ]


def encoding_of(image: Floats, regions: Regions, photo: Size) -> PhotoEncoding:
    """What an index keeps of a photo of (height, width).

    Args:
        image: (D,) unit vector of the whole.
    """
    height, width = regions.masks.shape[1:]
    to_photo_pixels = np.array([photo[1] / width, photo[0] / height] * 2, np.float32)
    return PhotoEncoding(
        image=image,
        regions=regions.vectors,
        boxes=boxes_of(regions.masks) * to_photo_pixels,
        areas=regions.masks.mean((1, 2)).astype(np.float32),
        scores=regions.scores,
        masks=tuple(encode_rle(mask) for mask in regions.masks),
    )


def to_array(rows: Tensor) -> Floats:
    """The tensor as a float32 array."""
    return rows.float().cpu().numpy()


def check_photo(photo: RGB) -> Size:
    """(height, width) of a photo.

    Raises:
        ShapeError: it is no (H, W, 3) uint8 array.
    """
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or 0 in photo.shape:
        raise ShapeError(f"photo has shape {photo.shape} and dtype {photo.dtype}, expected (H, W, 3) uint8")
    return size_of(photo)


def _asked(query: ResolvedQuery) -> ResolvedQuery:
    return tuple(part for part in query if part.role != "negative")


def _text(asked: ResolvedQuery) -> str:
    return " ".join(part.label for part in asked)


def _is_mean(asked: ResolvedQuery) -> bool:
    """Whether the legend of a query with pictures is the mean of its parts: it has no words, or pixels are lost."""
    pictures = [part for part in asked if part.kind != "text"]
    return len(pictures) == len(asked) or any(part.photo is None for part in pictures)


def _captions(query: ResolvedQuery) -> list[str]:
    """What is read as captions for the legend of a query."""
    asked = _asked(query)
    if not asked or any(part.kind != "text" for part in asked):
        return [part.label for part in asked if part.kind == "text"] if _is_mean(asked) else []
    return [_text(asked)]


def _phrases(query: ResolvedQuery) -> list[str]:
    """Entities and negatives of text."""
    return [part.label for part in query if part.kind == "text" and part.role != "caption"]
