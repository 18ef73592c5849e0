"""find-mini behind the interface protocol: photos of any size in, vectors and masks in photo pixels out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...errors import ShapeError
from ...geometry import box_of, boxes_of, encode_rle, fit
from ...models.vision.pixel_decoder import Pyramid
from ...models.vision.tower import COARSEST, SQUARE, multiplies_bfloat16, squashed, to_side
from ...records import (
    RGB,
    BoolMask,
    Floats,
    GroundedMask,
    PhotoEncoding,
    QueryEncoding,
    ResolvedPart,
    ResolvedQuery,
    Space,
)
from ..calibration import Calibration
from ..find import tasks
from ..find.model import FindModel, Sentence, compose
from ..protocol import Capabilities, Interface, TextReading
from .bundle import WORDS, load_bundle
from .connected_components import varied
from .names import means_nothing, name_of
from .region_scorer import Rating
from .words import KnownWords

MOST_REGIONS = 32
SAME_IOU = 0.8  # proposals that overlap more are one
SMALLEST_AREA = 0.001  # share of the photo
STORED_LONG_SIDE = 256  # of masks; the network's own grid is much coarser
BATCH = 16
LOOK = 1.2  # sides of an exact look to those of an ingest: masks lie better on what the network sees larger
MARGIN = 0.15  # of a part's sides that a closeup shows around it
LATIN = re.compile(r"[A-Za-zÀ-ɏ]")  # a letter of the script that the text tower was trained with
SMALLEST_CLOSEUP = 16  # pixels; of a point or a thin line only its cells are looked at


_Method = TypeVar("_Method", bound=Callable[..., Any])


def _placed(method: _Method) -> _Method:
    """Without gradients, and with everything made on the way on the network's own device."""

    @wraps(method)
    def run(self: FindMini, *args: Any, **kwargs: Any) -> Any:
        with torch.inference_mode(), nullcontext() if self._device.type == "cpu" else self._device:
            return method(self, *args, **kwargs)

    return cast(_Method, run)


class FindMini(Interface):
    """The bundled model, or one of the same kind trained by the user.

    Args:
        folder: a bundle, see `interface.bundle`.
        device: where the network runs, as torch names it.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        bundle = load_bundle(folder)
        bundle.model.vision.backbone.fold_norms()
        if device == "cpu" and multiplies_bfloat16():  # vectors of photos are the same to a cosine of 0.999
            bundle.model.halve()
        self._model, self._table = bundle.model.to(device), bundle.class_table.to(device)
        self._calibration, self._device = bundle.calibration, torch.device(device)
        self._vocabulary = bundle.vocabulary
        if self._vocabulary is not None:
            self._vocabulary = replace(self._vocabulary, vectors=self._vocabulary.vectors.to(device))
        self._rating = None if bundle.rating is None else Rating(bundle.rating.weights.to(device))
        self._mean = torch.as_tensor(bundle.calibration.captions.mean(0), device=device)
        self._known = KnownWords.from_file(folder / WORDS) if (folder / WORDS).is_file() else None
        self._side = bundle.model.config.side
        self._look = round(LOOK * self._side / COARSEST) * COARSEST
        self._space = Space(
            interface=str(bundle.config.get("name", folder.name)),
            checkpoint=bundle.checkpoint,
            preprocessing=f"squash {SQUARE}, then bilinear {self._side}",
            dim=bundle.model.interface.config.width,
        )

    @property
    def space(self) -> Space:
        """Named by the bundle, told apart by the hash of its files."""
        return self._space

    @property
    def capabilities(self) -> Capabilities:
        """See `Interface.capabilities`."""
        return Capabilities(photos_at_a_time=BATCH, device=str(self._device))

    @property
    def calibration(self) -> Calibration:
        """Banks and constants of the bundle."""
        return self._calibration

    @property
    def network(self) -> FindModel:
        """The network itself, for measurements that want all its proposals."""
        return self._model

    @_placed
    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """See `Interface.encode_photos`. Proposals that cover the same pixels are kept once.

        First comes what is well drawn and differs from what stands before it.
        """
        found: list[PhotoEncoding] = []
        for start in range(0, len(photos), BATCH):
            some = photos[start : start + BATCH]
            pyramid = self._pyramid(some)
            segments = self._segments(pyramid)
            found += [self._encoding(photo, pyramid, segments, n) for n, photo in enumerate(some)]
        return found

    @_placed
    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """See `Interface.encode_query`.

        Plain text is a caption, text with pictures an interleaved legend, most of it read with likely names in their
        place (`find.readings`). The legend of pictures alone is the mean of their own vectors; so it is where pixels
        are lost.

        Brackets around text do not change the legend. Text entities are read as captions are, by their names
        (`find.names`), a whole picture is its image vector, a part what it looks like and what its likely names mean.
        """
        asked = tuple(part for part in query if part.role != "negative")
        pyramids = {id(part): self._pyramid([part.photo]) for part in query if part.photo is not None}
        dim = self.space.dim
        entities = [self._vector(part, pyramids) for part in asked if part.role == "entity"]
        negatives = [self._vector(part, pyramids) for part in query if part.role == "negative"]
        return QueryEncoding(
            legend=self._legend(asked, pyramids),
            entities=_rows(entities, dim),
            negatives=_rows(negatives, dim),
        )

    @_placed
    def encode_queries(self, queries: Sequence[ResolvedQuery]) -> list[QueryEncoding]:
        """`encode_query` of several queries; those of text alone share one pass over all their words."""
        plain = [query for query in queries if query and all(part.kind == "text" for part in query)]
        if len(plain) < 2:
            return [self.encode_query(query) for query in queries]
        sentences = [_caption(query) for query in plain]
        sentences += [part.label for query in plain for part in query if part.role != "caption"]
        texts = list(dict.fromkeys(text for text in sentences if text))
        vectors = dict(zip(texts, self._texts(texts), strict=True))
        dim = self.space.dim
        return [
            QueryEncoding(
                legend=vectors.get(_caption(query), np.zeros(dim, np.float32)),
                entities=_rows([vectors[part.label] for part in query if part.role == "entity"], dim),
                negatives=_rows([vectors[part.label] for part in query if part.role == "negative"], dim),
            )
            if any(query is one for one in plain)
            else self.encode_query(query)
            for query in queries
        ]

    @_placed
    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground`: one pass over the photo with the whole query, one mask an entity.

        Everything is seen a fifth larger than at ingest; scores are what stored regions would score.
        """
        asked = tuple(part for part in query if part.role != "negative")
        entities = [part for part in asked if part.role == "entity"]
        if not entities:
            return []
        look = self._look
        pyramids = {id(part): self._pyramid([part.photo], look) for part in asked if part.photo is not None}
        sentence, references = self._sentence(asked, pyramids)
        words = {n: part.label for n, part in enumerate(entities) if part.kind == "text"}
        texts = dict(zip(words, torch.as_tensor(self._texts(list(words.values())), device=self._device), strict=True))
        pyramid = self._pyramid([photo], look)
        found = tasks.ground_interleaved(
            self._model, pyramid, sentence, references, self._vocabulary, texts=texts, mean=self._mean
        )
        size = photo.shape[0], photo.shape[1]
        return [_grounded(number, one, size) for number, one in enumerate(found)]

    def reading(self, text: str) -> TextReading:
        """What the model cannot read of a text: words that training never met, and what lies beyond its last token."""
        left, unknown = self._left(text), self._unknown(text)
        end = self._model.text.end_of(left)
        if self._known is None:
            return TextReading(cut=left[end:].strip())
        misread = tuple(word for word in unknown if LATIN.search(word))
        return TextReading(
            unknown=misread,
            left_out=tuple(word for word in unknown if word not in misread),
            near={word: self._known.near(word) for word in misread},
            cut=left[end:].strip(),
            nothing=means_nothing(self._known.without(text, unknown)),
            empty=means_nothing(left),
        )

    def _left(self, text: str) -> str:
        """A text without what cannot be read of it: other scripts and signs. Unknown words are read by their pieces."""
        unreadable = [word for word in self._unknown(text) if not LATIN.search(word)]
        return text if self._known is None else self._known.without(text, unreadable)

    def _unknown(self, text: str) -> tuple[str, ...]:
        """Words of a text that the model does not know; those around a name that say nothing of it are no loss."""
        if self._known is None:
            return ()
        return tuple(word for word in self._known.unknown(text) if not means_nothing(word))

    # --- photos -------------------------------------------------------------------------------

    def _pyramid(self, photos: Sequence[RGB], side: int | None = None) -> Pyramid:
        """Of photos squashed to `side` (that of an ingest if None), through a square that is larger as in training."""
        side = side or self._side
        square = round(SQUARE * side / self._side)
        pressed = []
        for photo in photos:
            if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or 0 in photo.shape:
                raise ShapeError(f"photo has shape {photo.shape} and dtype {photo.dtype}, expected (H, W, 3) uint8")
            pressed.append(squashed(photo, square))
        pixels = torch.from_numpy(np.stack(pressed)).permute(0, 3, 1, 2).to(self._device, torch.float32)
        return self._model.pyramid(to_side(pixels, side))

    def _segments(self, pyramid: Pyramid) -> tasks.Segments:
        return tasks.segment(self._model, pyramid, self._table)

    def _encoding(self, photo: RGB, pyramid: Pyramid, segments: tasks.Segments, row: int) -> PhotoEncoding:
        found = tasks.regions(self._model, segments, row, self._rating)
        kept, worths = varied(
            found.masks, _array(found.worth), most=MOST_REGIONS, same=SAME_IOU, smallest=SMALLEST_AREA
        )
        size = photo.shape[0], photo.shape[1]
        masks = upsampled(found.masks[kept], fit(size, STORED_LONG_SIDE))
        areas = masks.mean((1, 2), dtype=np.float32)
        seen = np.flatnonzero(areas).tolist()
        scale = np.array([size[1] / masks.shape[2], size[0] / masks.shape[1]] * 2, np.float32)
        vectors = tasks.vectors_of(self._model, pyramid, segments, row, found, [kept[n] for n in seen])
        return PhotoEncoding(
            image=_array(segments.image[row]),
            regions=_array(vectors),
            boxes=boxes_of(masks[seen]) * scale,
            areas=areas[seen],
            scores=np.array([worths[n] for n in seen], np.float32),
            masks=tuple(encode_rle(masks[n]) for n in seen),
        )

    # --- queries ------------------------------------------------------------------------------

    def _legend(self, asked: tuple[ResolvedPart, ...], pyramids: dict[int, Pyramid]) -> Floats:
        if not asked:
            return np.zeros(self.space.dim, np.float32)
        if all(part.kind == "text" for part in asked):
            legend: Floats = self._texts([_caption(asked)])[0]
            return legend
        wordless = all(part.kind != "text" for part in asked)
        if wordless or any(part.kind != "text" and part.photo is None for part in asked):
            return self._mean_legend(asked, pyramids)
        sentence, references = self._sentence(asked, pyramids)
        return _array(tasks.encode_interleaved(self._model, sentence, references, self._vocabulary))

    def _mean_legend(self, asked: tuple[ResolvedPart, ...], pyramids: dict[int, Pyramid]) -> Floats:
        """The weighted mean of the parts' own vectors, as for a query of what is indexed."""
        total = np.zeros(self.space.dim, np.float32)
        for part in asked:
            vector = self._vector(part, pyramids, named=False)
            total += part.weight * vector
        return total / max(float(np.linalg.norm(total)), 1e-6)

    def _sentence(
        self,
        asked: tuple[ResolvedPart, ...],
        pyramids: dict[int, Pyramid],
    ) -> tuple[Sentence, list[tasks.Reference | None]]:
        pieces: list[tuple[str, int | None, bool]] = []
        references: list[tasks.Reference | None] = []
        for part in asked:
            visual = part.kind != "text" and part.photo is not None
            number = None
            if part.role == "entity":
                number = len(references)
                references.append(self._reference(part, pyramids) if visual else None)
            pieces.append((part.label, number, visual))
        return compose(pieces), references

    def _vector(self, part: ResolvedPart, pyramids: dict[int, Pyramid], *, named: bool = True) -> Floats:
        """(D,) what a part is by itself; of pixels also what its likely names mean, unless it is not to be `named`."""
        if part.kind == "text":
            phrase: Floats = self._texts([part.label])[0]
            return phrase
        if part.photo is None:
            if part.vector is None:
                raise ShapeError(f"part {part.label!r} has neither pixels nor a stored vector")
            return part.vector
        if part.kind == "picture":
            return _array(self._segments(pyramids[id(part)]).image[0])
        if part.vector is not None:
            return part.vector
        vocabulary = self._vocabulary if named else None
        return _array(tasks.encode_region(self._model, self._reference(part, pyramids), vocabulary))

    def _texts(self, texts: Sequence[str]) -> Floats:
        """(N, D) vectors of captions and of phrases, unit length; one that names a thing is read by that name alone.

        Other scripts and signs are left out. A text that says nothing then is the mean caption, which is not of unit
        length: with that taken off it is no evidence of anything.
        """
        vectors = np.tile(self._calibration.captions.mean(0), (len(texts), 1)).astype(np.float32)
        known = [self._left(text) for text in texts]
        told = [n for n, text in enumerate(known) if not means_nothing(text)]
        if told:
            singular = None if self._known is None else self._known.singular
            read = [name_of(known[n], singular) or known[n] for n in told]
            vectors[told] = _array(tasks.encode_text(self._model, read))
        return vectors

    def _reference(self, part: ResolvedPart, pyramids: dict[int, Pyramid]) -> tasks.Reference:
        pyramid = pyramids[id(part)]
        grid = pyramid.mask_features.shape[-2], pyramid.mask_features.shape[-1]
        mask = np.ones(grid, bool) if part.mask is None else squashed_mask(part.mask, grid)
        background = None if part.background is None else torch.as_tensor(squashed_mask(part.background, grid))
        near = None if part.mask is None or part.photo is None else closeup(part.photo, part.mask)
        deep = None if near is None else self._pyramid([near]).deep
        return tasks.Reference(pyramid, torch.as_tensor(mask), background, deep)


def closeup(photo: RGB, mask: BoolMask) -> RGB | None:
    """The photo cut to the mask's box and a little around it; None where that box is too small to show anything."""
    x0, y0, x1, y1 = box_of(mask)
    if min(x1 - x0, y1 - y0) < SMALLEST_CLOSEUP:
        return None
    across, down = MARGIN * (x1 - x0), MARGIN * (y1 - y0)
    left, top = int(max(0, x0 - across)), int(max(0, y0 - down))
    return photo[top : int(np.ceil(y1 + down)), left : int(np.ceil(x1 + across))]


def squashed_mask(mask: BoolMask, grid: tuple[int, int]) -> BoolMask:
    """Cells of the grid that the mask mostly covers; a mask too small for that keeps every cell it touches."""
    coverage = F.adaptive_avg_pool2d(torch.from_numpy(mask.astype(np.float32))[None], grid)[0].numpy()
    mostly: BoolMask = coverage > 0.5
    return mostly if mostly.any() else coverage > 0


def upsampled(logits: Tensor, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(n, h, w) logits to (n, H, W) bool by bilinear interpolation; in memory column by column, as run lengths go."""
    if not len(logits):
        return np.zeros((0, *size), bool)
    grown = F.interpolate(logits.transpose(1, 2)[None], size=size[::-1], mode="bilinear", align_corners=False)[0]
    masks: NDArray[np.bool_] = (grown > 0).cpu().numpy().transpose(0, 2, 1)
    return masks


def _caption(query: ResolvedQuery) -> str:
    """The sentence of a query of text alone; negatives take no part."""
    return " ".join(part.label for part in query if part.role != "negative")


def _rows(vectors: Sequence[Floats], dim: int) -> Floats:
    return np.stack(vectors) if vectors else np.zeros((0, dim), np.float32)


def _grounded(number: int, found: tasks.Found, size: tuple[int, int]) -> GroundedMask:
    mask = upsampled(found.mask[None], size)[0]
    return GroundedMask(number, encode_rle(mask), box_of(mask), found.score)


def _array(rows: Tensor) -> Floats:
    return rows.float().cpu().numpy()
