"""The JSON of answers, as OpenAPI describes it. `answers` makes it; tests hold the two against each other."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from ..records.texts import TextKind

Box: TypeAlias = Annotated[list[float], Field(min_length=4, max_length=4, description="x0, y0, x1, y1 in photo pixels")]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Span: TypeAlias = Annotated[
    list[int], Field(min_length=2, max_length=2, description="first and end, in Unicode characters of the text")
]
RegionName: TypeAlias = Annotated[str | None, Field(description="photo/number, as a query names a stored region")]


class Shape(BaseModel):
    """An object without further members."""

    model_config = ConfigDict(extra="forbid")


class PhotoAnswer(Shape):
    """Facts of one photo; id 0 is a picture that is not in the index."""

    id: int
    name: str
    folder: str | None
    path: str | None
    width: int
    height: int
    format: str
    taken_at: Annotated[str | None, Field(description="what the camera's clock showed, ISO 8601 without a zone")]
    camera: str | None
    lens: str | None
    latitude: float | None
    longitude: float | None


class MaskAnswer(Shape):
    """COCO run lengths, compressed form."""

    size: Annotated[list[int], Field(min_length=2, max_length=2, description="height, width")]
    counts: str


class RegionAnswer(Shape):
    """Where an entity is in a photo."""

    region: RegionName
    score: float
    box: Box


class StoredRegionAnswer(RegionAnswer):
    """One stored region with its mask."""

    mask: MaskAnswer


class EntityAnswer(Shape):
    """What one entity found in a photo."""

    text: str
    negative: bool
    score: float
    present: bool
    verdict: Literal["there", "unsure", "not there"]
    probability: Share
    source: str
    regions: list[RegionAnswer]


class PassageAnswer(Shape):
    """One passage of a text beside the photos."""

    id: int
    document: Annotated[int, Field(description="id of its source, whose passages `ordinal` counts from 0")]
    kind: TextKind
    name: Annotated[str, Field(description="of the source's file; of the photo's, for text inside it")]
    folder: str | None
    path: str | None
    title: str | None
    language: Annotated[str | None, Field(description="as the source declares it")]
    ordinal: int
    text: Annotated[str, Field(description="plain words; U+FFFC stands where a picture stands")]
    phrases: Annotated[list[Span], Field(description="noun phrases")]
    photos: Annotated[list[int], Field(description="ids of the photos that it shows or is about")]
    pictures: Annotated[
        list[int | None], Field(description="ids in the order of U+FFFC in the text; null where none is indexed")
    ]


class PhraseAnswer(Shape):
    """Which phrase of a passage answers one entity."""

    entity: Annotated[int, Field(ge=0, description="number in `entities` of the answer, from 0")]
    text: str
    span: Annotated[Span | None, Field(description="null where the passage has no phrases")]
    score: float


class TextHitAnswer(Shape):
    """One ranked passage."""

    rank: int
    score: float
    passage: PassageAnswer
    entities: list[PhraseAnswer]
    words: Annotated[list[str], Field(description="words of the query that it, or its title, holds as they stand")]


class TextMatchAnswer(Shape):
    """What the texts of a photo added to its score."""

    added: float
    passage: Annotated[PassageAnswer | None, Field(description="the one that spoke; null where only a name did")]
    words: Annotated[list[str], Field(description="words of the query in its texts or file and folder names")]


class PartialAnswer(Shape):
    """Which parts of a library on a cluster did not answer."""

    partitions: Annotated[int, Field(description="how many parts there are")]
    lost: Annotated[list[int], Field(description="those whose photos are missing from the answer, counted from 0")]


class RerankedAnswer(Shape):
    """What a reranker made of one hit."""

    score: Annotated[Share, Field(description="its chance of yes, which is the relevance of the hit")]
    was: Annotated[int, Field(description="rank before, from 1")]


class RerankingAnswer(Shape):
    """The second stage of a search."""

    model: str
    photos: Annotated[int, Field(description="how many it looked at")]
    seconds: float


class HitAnswer(Shape):
    """One hit."""

    rank: int
    photo: PhotoAnswer
    score: float
    relevance: Share
    meant: bool
    stack: Annotated[list[int], Field(description="ids of near-duplicates below this hit")]
    entities: list[EntityAnswer]
    text: Annotated[TextMatchAnswer | None, Field(description="null where texts added nothing")]
    rerank: Annotated[RerankedAnswer | None, Field(description="null where no reranker looked at it")]


class AskedAnswer(Shape):
    """What masks are for, in the order of their colours."""

    text: str
    kind: str
    negative: bool
    weight: float


class SearchAnswer(Shape):
    """One page of a search."""

    search: Annotated[str, Field(description="the name for masks, exports and further pages")]
    query: str
    path: str
    cutoff: float
    notes: list[str]
    entities: list[AskedAnswer]
    hits: list[HitAnswer]
    stacked: Annotated[dict[str, list[int]], Field(description="near-duplicates that this page added to hits by id")]
    next: Annotated[str | None, Field(description="cursor of the next page of photos")]
    texts: Annotated[list[TextHitAnswer] | None, Field(description="null where none were asked for")]
    next_texts: Annotated[str | None, Field(description="cursor of the next page of texts")]
    photos: Annotated[dict[str, PhotoAnswer], Field(description="those that `texts` show or are about, by id")]
    rerank: Annotated[RerankingAnswer | None, Field(description="null where no photo was reranked")]
    partial: Annotated[PartialAnswer | None, Field(description="null where every part of the library answered")]


class GroundAnswer(HitAnswer):
    """One picture that was looked at."""

    masks: list[list[MaskAnswer]]
    notes: list[str]


class MapAnswer(Shape):
    """How much every place resembles one entity."""

    text: str
    low: float
    high: float
    size: Annotated[list[int], Field(min_length=2, max_length=2, description="height, width")]
    values: Annotated[str, Field(description="bytes in base64, row by row, 0 at `low` and 255 at `high`")]


class HeatAnswer(Shape):
    """One map an entity."""

    maps: list[MapAnswer]


class UploadAnswer(Shape):
    """A picture that is held."""

    upload: str
    width: int
    height: int


class DownloadAnswer(Shape):
    """Files that can be fetched as one ZIP."""

    download: Annotated[str, Field(description="the name: `/api/originals/{name}.zip`")]
    photos: Annotated[int, Field(description="how many files there are")]
    bytes: Annotated[int, Field(description="of all these files")]
    gone: Annotated[list[int], Field(description="ids of photos whose files are not there")]


class PhotosAnswer(Shape):
    """Some photos of the catalog."""

    total: int
    photos: list[PhotoAnswer]
    next: int | None


class TextsAnswer(Shape):
    """A photo, and passages that show it or are about it, in the order of their sources."""

    photo: PhotoAnswer
    total: int
    texts: list[PassageAnswer]
    photos: Annotated[dict[str, PhotoAnswer], Field(description="those that `texts` show or are about, by id")]
    next: int | None


class RegionsAnswer(Shape):
    """A photo and its stored regions."""

    photo: PhotoAnswer
    regions: list[StoredRegionAnswer]


class JobAnswer(Shape):
    """One ingest."""

    job: str
    folders: list[str]
    state: Literal["running", "done", "stopped", "failed"]
    stage: str
    done: int
    total: int | None
    encoded: int
    failed: int
    photos_per_s: float
    passages: Annotated[int, Field(description="of texts, that went through the model; they come after the photos")]
    passages_total: int
    detail: str
    report: Annotated[dict[str, Any] | None, Field(description="as `ingest --json` writes it; once the job has ended")]


class CountAnswer(Shape):
    """How many photos have one value."""

    name: str
    photos: int


class MonthAnswer(Shape):
    """How many photos were taken in a month."""

    month: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}$")]
    photos: int


class TextKindAnswer(Shape):
    """How many passages come from sources of one kind."""

    kind: TextKind
    passages: int


class FailedFileAnswer(Shape):
    """A file that could not be read when it was last tried."""

    path: str
    reason: Annotated[str, Field(description="class of the error")]
    detail: Annotated[str, Field(description="one line")]


class FailedAnswer(Shape):
    """Files that could not be read, photos and text sources, by path."""

    count: Annotated[int, Field(description="of all of them")]
    failed: Annotated[list[FailedFileAnswer], Field(description="the first 1,000")]


class FacetsAnswer(Shape):
    """What photos and texts can be filtered by."""

    cameras: list[CountAnswer]
    folders: list[CountAnswer]
    months: list[MonthAnswer]
    places: Annotated[list[list[float]], Field(description="latitude, longitude")]
    placed: int
    texts: list[TextKindAnswer]


class StatusAnswer(BaseModel):
    """What is in the index, and what this server lets be done; `status --json` has the rest of its members."""

    photos: int
    version: str
    model: str
    roots: list[dict[str, str]]
    job: str | None
    limits: dict[str, int]


class SessionAnswer(Shape):
    """Whether a token is needed, and whether this request carries it."""

    needed: bool
    open: bool


class ExampleAnswer(Shape):
    """What can be asked of this library."""

    words: Annotated[str | None, Field(description="a phrase of which photos are likely to be there")]
    photo: Annotated[PhotoAnswer | None, Field(description="a photo for the sentence")]
    region: Annotated[StoredRegionAnswer | None, Field(description="a part of it")]
