"""The JSON of requests, checked and limited, and how it becomes a Query and Filters. Names no path."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self, TypeAlias

import numpy as np
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import InputError, NotInIndex
from ..geometry import resize_mask
from ..grammar import Query
from ..records import RGB, BoolMask, Entity, Filters, Not, Part, PhotoRef, Picture, RegionRef
from ..records.texts import TextKind
from ..service import Index
from .problems import Refused
from .settings import ServeSettings
from .uploads import Upload

LARGEST_ID = 2**55 - 1
MASK_PIXELS = 2**22

PhotoId: TypeAlias = Annotated[int, Field(ge=1, le=LARGEST_ID)]
Weight: TypeAlias = Annotated[float, Field(gt=0, le=100)]
Pixel: TypeAlias = Annotated[float, Field(ge=-1, le=1e6)]
Point: TypeAlias = tuple[Pixel, Pixel]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=2000)]
DateText: TypeAlias = Annotated[str, Field(max_length=40, examples=["2024", "2024-07", "2024-07-31T18:30"])]
Year: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=9999)]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
FindUpload: TypeAlias = Callable[[str], Upload]
FindPixels: TypeAlias = Callable[[int], tuple[RGB, int, int]]


class Strict(BaseModel):
    """What every request shares: unknown keys and numbers without end are mistakes."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, populate_by_name=True)


class MaskBody(Strict):
    """A mask as run lengths, column by column, zeros first, in the aspect of its picture."""

    size: tuple[Annotated[int, Field(ge=1, le=8192)], Annotated[int, Field(ge=1, le=8192)]]
    counts: Annotated[list[Annotated[int, Field(ge=0, le=2**26)]], Field(min_length=1, max_length=200_000)]

    def decode(self) -> BoolMask:
        """(H, W) bool."""
        high, wide = self.size
        if high * wide > MASK_PIXELS or sum(self.counts) != high * wide:
            raise InputError(
                f"mask of size {self.size} has counts that sum to {sum(self.counts)}, expected "
                f"{high * wide}, and at most {MASK_PIXELS}"
            )
        values = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(values, self.counts).reshape(wide, high).T


class PartBody(Strict):
    """One part of a query: exactly one of text, entity, upload, photo, region.

    A part of an upload or of a photo is marked by one of box, points, mask, in pixels of the upright picture.
    """

    text: Text | None = None
    entity: Text | None = None
    upload: Name | None = None
    photo: PhotoId | None = None
    region: Annotated[str, Field(pattern=r"^[0-9]{1,16}/[0-9]{1,3}$")] | None = None
    box: tuple[Pixel, Pixel, Pixel, Pixel] | None = None
    points: Annotated[list[Point], Field(max_length=100)] | None = None
    background: Annotated[list[Point], Field(max_length=100)] | None = None
    mask: MaskBody | None = None
    weight: Weight | None = None
    absent: Annotated[bool, Field(alias="not", description="what should not be there")] = False

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [name for name in ("text", "entity", "upload", "photo", "region") if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(
                f"part has {' and '.join(kinds) or 'nothing'}, expected one of text, entity, upload, photo, region"
            )
        if self.marked and kinds[0] not in ("upload", "photo"):
            raise ValueError(f"part is a {kinds[0]} with a box, points or a mask, expected an upload or a photo")
        if self.text is not None and (self.weight is not None or self.absent):
            raise ValueError("text has a weight or is unwanted, expected entity for that")
        return self

    @property
    def marked(self) -> bool:
        """Whether only a part of the picture is meant."""
        return self.box is not None or bool(self.points) or self.mask is not None or bool(self.background)


class FiltersBody(Strict):
    """Facts that a hit must have."""

    after: Annotated[DateText | Year | None, Field(description="taken then or later")] = None
    before: Annotated[DateText | Year | None, Field(description="taken before")] = None
    camera: Annotated[str, Field(max_length=200)] | None = None
    near: (
        tuple[
            Annotated[float, Field(ge=-90, le=90)],
            Annotated[float, Field(ge=-180, le=180)],
            Annotated[float, Field(gt=0, le=20040)],
        ]
        | None
    ) = None
    within: (
        tuple[
            Annotated[float, Field(ge=-90, le=90)],
            Annotated[float, Field(ge=-180, le=180)],
            Annotated[float, Field(ge=-90, le=90)],
            Annotated[float, Field(ge=-180, le=180)],
        ]
        | None
    ) = None
    folder: Annotated[str, Field(max_length=4096)] | None = None
    include_missing: bool = False

    def filters(self) -> Filters:
        """As the library takes them."""
        return Filters(
            after=self.after,
            before=self.before,
            camera=self.camera or None,
            near=self.near,
            within=self.within,
            folder=self.folder or None,
            include_missing=self.include_missing,
        )


class QueryBody(Strict):
    """A query: its string form, or its parts in the order of the sentence."""

    query: Text | None = None
    parts: Annotated[list[PartBody], Field(min_length=1, max_length=100)] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.query is None) == (self.parts is None):
            raise ValueError("request has both or neither of query and parts, expected one of them")
        return self


class SearchBody(QueryBody):
    """What to search for, among what, and how much of it to give."""

    filters: FiltersBody = Field(default_factory=FiltersBody)
    limit: Annotated[int, Field(ge=1, le=200, description="hits of one page")] = 50
    ground: Literal["stored", "exact", "none"] = "stored"
    mode: Literal["auto", "exact", "ann"] = "auto"
    stacks: Annotated[bool, Field(description="fold near-duplicates into one hit")] = True
    exclude_self: Annotated[
        bool, Field(description="leave out the indexed photos that the query names, whole or in part")
    ] = False
    target: Annotated[
        Literal["photos", "texts", "both"], Field(description="what to rank: photos, passages of texts beside them")
    ] = "photos"
    text_kinds: Annotated[
        list[TextKind],
        Field(max_length=20, description="kinds of sources that passages may come from; empty takes every kind"),
    ] = Field(default_factory=list)
    rerank: Annotated[
        Annotated[int, Field(ge=0, le=200)] | None,
        Field(
            description="so many of the best photos are put in the order of the server's reranker; null as it is set"
        ),
    ] = None

    @property
    def marked_photos(self) -> frozenset[int]:
        """Ids of indexed photos of which a marked part is asked for: their query holds pixels, not their names."""
        return frozenset(
            part.photo for part in self.parts or () if part.photo is not None and part.marked and not part.absent
        )


class GroundBody(QueryBody):
    """What to look for in which picture."""

    photo: PhotoId | None = None
    upload: Name | None = None

    @model_validator(mode="after")
    def _one_picture(self) -> Self:
        if (self.photo is None) == (self.upload is None):
            raise ValueError("request has both or neither of photo and upload, expected one of them")
        return self


class IngestBody(Strict):
    """Which folder below the roots of the server to take in; none takes all roots."""

    folder: Annotated[str, Field(max_length=4096)] | None = None


class ExportBody(Strict):
    """Which hits of a search to write, and how."""

    search: Name
    photos: Annotated[list[PhotoId], Field(max_length=5000, description="empty takes every hit so far")] = Field(
        default_factory=list
    )
    form: Literal["coco", "masks", "paths", "jsonl"] = "coco"
    absent: Annotated[
        bool, Field(description="write masks of entities that are judged not to be there, too (coco, masks)")
    ] = False


class OriginalsBody(Strict):
    """Photos whose files are wanted."""

    photos: Annotated[list[PhotoId], Field(min_length=1, max_length=5000)]


class SessionBody(Strict):
    """The token of the server."""

    token: Annotated[str, Field(min_length=1, max_length=500)]


def filters_of(**given: Any) -> Filters:
    """Filters of a request that has them in its address.

    Raises:
        RequestValidationError: a value is out of its range.
        InputError: a date cannot be read.
    """
    try:
        return FiltersBody(**given).filters()
    except ValidationError as error:
        raise RequestValidationError(
            error.errors(include_url=False, include_context=False, include_input=False)
        ) from None


def query_of(body: QueryBody, settings: ServeSettings, upload: FindUpload, pixels: FindPixels) -> Query:
    """The query that a request asks, its pictures as arrays.

    Args:
        upload: gives a picture by its name; raises NotInIndex.
        pixels: gives an indexed photo's pixels and the width and height of the whole photo.
    Raises:
        QueryError, EmptyQuery, InputError: it cannot be asked.
        Refused: 413, more parts or characters than the server takes.
    """
    asked = Query.parse(body.query) if body.query is not None else None
    count = len(asked.parts) if asked is not None else len(body.parts or ())
    if count > settings.parts:
        raise Refused(413, f"query has {count} parts, expected at most {settings.parts}")
    if asked is not None:
        query = Query(*(_named(part, upload) for part in asked.parts))
    else:
        query = Query(*(_part(part, upload, pixels) for part in body.parts or ()))
    characters = sum(len(part if isinstance(part, str) else getattr(part, "text", "")) for part in query)
    if characters > settings.query_characters:
        raise Refused(413, f"query has {characters} characters of text, expected at most {settings.query_characters}")
    return query


def with_pixels(query: Query, index: Index) -> Query:
    """The query with pictures in the place of what it names of the index, for a look that knows no index."""

    def changed(part: Part) -> Part:
        if isinstance(part, Not):
            return part
        if isinstance(part, PhotoRef):
            return Picture(index.pixels(part.photo_id), weight=part.weight)
        if isinstance(part, RegionRef):
            stored, rgb = index.regions(part.photo_id), index.pixels(part.photo_id)
            if part.ordinal >= len(stored):
                raise NotInIndex(
                    f"photo {part.photo_id} has {len(stored)} regions, number {part.ordinal} from 0 is not there"
                )
            mask = resize_mask(stored[part.ordinal].rle.decode(), (rgb.shape[0], rgb.shape[1]))
            return Picture(rgb, mask=mask, weight=part.weight)
        return part

    return Query(*map(changed, query))


def _part(body: PartBody, upload: FindUpload, pixels: FindPixels) -> Part:
    weight = 1.0 if body.weight is None else body.weight
    term: Part
    if body.text is not None:
        return body.text
    if body.entity is not None:
        term = Entity(body.entity, weight)
    elif body.region is not None:
        photo_id, _, ordinal = body.region.partition("/")
        term = RegionRef(int(photo_id), int(ordinal), weight)
    elif body.upload is not None:
        found = upload(body.upload)
        term = _picture(found.rgb, found.width, found.height, body, weight)
    elif body.photo is not None and body.marked:
        term = _picture(*pixels(body.photo), body, weight)
    else:
        term = PhotoRef(body.photo or 0, weight)
    return Not(term) if body.absent else term


def _picture(rgb: RGB, width: int, height: int, body: PartBody, weight: float) -> Picture:
    """A picture or a part of it; what was marked in the whole picture is scaled to the pixels at hand."""
    wide, high = rgb.shape[1] / width, rgb.shape[0] / height
    box = None
    if body.box is not None:
        x0, y0, x1, y1 = body.box
        if min(x0, y0) < -1 or x1 > width + 1 or y1 > height + 1:
            raise InputError(
                f"box {body.box} reaches out of its picture, expected x within 0 to {width} and y within 0 to {height}"
            )
        box = (max(0.0, x0 * wide), max(0.0, y0 * high), min(x1 * wide, rgb.shape[1]), min(y1 * high, rgb.shape[0]))
    points, background = (
        tuple((_inside(x * wide), _inside(y * high)) for x, y in group or ())
        for group in (body.points, body.background)
    )
    mask = None
    if body.mask is not None:
        mask = body.mask.decode()
        if abs(math.log(mask.shape[1] / mask.shape[0] * height / width)) > 0.1:
            raise InputError(f"mask has size {mask.shape}, expected the aspect of its picture, {(height, width)}")
        mask = resize_mask(mask, (rgb.shape[0], rgb.shape[1]))
    return Picture(rgb, box, points, background, mask, weight)


def _inside(pixel: float) -> float:
    return max(0.0, pixel)


def _named(part: Part, upload: FindUpload) -> Part:
    """A part of the string form, whose pictures are names of uploads and never paths or addresses."""
    if isinstance(part, Not):
        inner: Any = _named(part.term, upload)
        return Not(inner)
    if not isinstance(part, Picture):
        return part
    found = upload(str(part.source))
    mask = None
    if part.mask is not None:
        given = np.asarray((upload(str(part.mask)).rgb > 0).any(axis=2))
        mask = MaskBody(**_runs(resize_mask(given, (found.rgb.shape[0], found.rgb.shape[1]))))
    body = PartBody(
        upload=str(part.source)[:200],
        box=part.box,
        points=list(part.points) or None,
        background=list(part.background) or None,
        mask=mask,
    )
    return _picture(found.rgb, found.width, found.height, body, part.weight)


def _runs(mask: BoolMask) -> dict[str, Any]:
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return {"size": mask.shape, "counts": [0, *counts] if flat[0] else counts}
