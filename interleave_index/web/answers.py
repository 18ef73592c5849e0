"""The JSON of answers. Pure ASCII, so that names of files that are not UTF-8 come back as they were."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse

from ..export.files import printable, to_json_text
from ..export.words import verdict
from ..geometry import fit, resize_rle
from ..query.heat import Heat
from ..records import REGIONS_PER_PHOTO, Answer, EntityHit, Hit, Not, Photo, Region, Rle
from ..records.texts import Passage, TextHit, TextMatch
from ..service import Index
from ..terms import label
from .searches import Search

SHOWN_SIDE = 512  # of masks that a page paints


class Json(JSONResponse):
    """An answer in JSON."""

    def render(self, content: Any) -> bytes:
        """ASCII JSON; numbers that JSON does not know become null."""
        return to_json_text(content).encode("ascii")


def is_known(request: Request, tag: str) -> bool:
    """Whether the client has this content already (RFC 9110, If-None-Match)."""
    known = request.headers.get("if-none-match", "")
    return known.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in known.split(",")]


def photo_json(photo: Photo) -> dict[str, Any]:
    """Facts of one photo."""
    return {
        "id": photo.id,
        **_place_json(photo.path, f"photo {photo.id}"),
        "width": photo.width,
        "height": photo.height,
        "format": photo.format,
        "taken_at": photo.taken_at.isoformat() if photo.taken_at else None,
        "camera": photo.camera,
        "lens": photo.lens,
        "latitude": photo.latitude,
        "longitude": photo.longitude,
    }


def _place_json(path: str | None, nameless: str) -> dict[str, Any]:
    """Where a file lies, in words that can be shown and as it is."""
    return {
        "name": printable(os.path.basename(path)) if path else nameless,
        "folder": printable(os.path.dirname(path)) if path else None,
        "path": path,
    }


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search: photos, passages, or both.

    Attributes:
        stacked: near-duplicates that were added to hits of this page or an earlier one, by the id of their photo.
        next, next_texts: cursors of the next pages of each.
        texts: None where none were asked for.
    """

    hits: list[Hit]
    stacked: dict[int, list[int]]
    next: str | None
    texts: list[TextHit] | None = None
    next_texts: str | None = None


def page_json(search: Search, page: Page, index: Index) -> dict[str, Any]:
    """One page of a search."""
    answer = search.answer if search.answer is not None else Answer(str(search.query), "exact", ())
    asked = asked_json(search)
    texts = page.texts or []
    return {
        "search": search.name,
        "query": answer.query,
        "path": answer.path,
        "cutoff": answer.cutoff,
        "notes": list(answer.notes),
        "entities": asked,
        "hits": [hit_json(hit, search) for hit in page.hits],
        "stacked": {str(photo_id): ids for photo_id, ids in page.stacked.items()},
        "next": page.next,
        "texts": None if page.texts is None else [text_json(hit, asked) for hit in texts],
        "next_texts": page.next_texts,
        "rerank": None if answer.reranking is None else answer.reranking.to_json(),
        "partial": None if answer.partial is None else answer.partial.to_json(),
        "photos": photos_json([hit.passage for hit in texts], index),
    }


def asked_json(search: Search) -> list[dict[str, Any]]:
    """What masks and lit phrases are for, in the order of their colours; plain text alone is one entity."""
    if search.hits and search.hits[0].entities:
        return [
            {"text": printable(entity.text), "kind": entity.kind, "negative": entity.negative, "weight": entity.weight}
            for entity in search.hits[0].entities
        ]
    read = {phrase.text for phrase in search.texts[0].entities} if search.texts else None
    asked = []
    for part in search.query:
        term = part.term if isinstance(part, Not) else part
        if isinstance(term, str) or (read is not None and not isinstance(part, Not) and label(term) not in read):
            continue  # words, or an entity of which the model can read nothing
        negative = isinstance(part, Not)
        asked.append({"text": printable(label(term)), "kind": "text", "negative": negative, "weight": term.weight})
    return asked


def text_json(hit: TextHit, asked: list[dict[str, Any]]) -> dict[str, Any]:
    """One ranked passage; each of its entities says by number which one of the answer it is."""
    numbers = [number for number, entity in enumerate(asked) if not entity["negative"]]
    return {
        "rank": hit.rank,
        "score": hit.score,
        "passage": passage_json(hit.passage),
        "entities": [
            {
                "entity": number,
                "text": printable(phrase.text),
                "span": None if phrase.span is None else list(phrase.span),
                "score": phrase.score,
            }
            for number, phrase in zip(numbers, hit.entities, strict=False)
        ],
        "words": list(hit.words),
    }


def passage_json(passage: Passage) -> dict[str, Any]:
    """One passage with its source."""
    return {
        "id": passage.id,
        "document": passage.document_id,
        "kind": passage.kind,
        **_place_json(passage.path, f"text {passage.document_id}"),
        "title": passage.title,
        "language": passage.language,
        "ordinal": passage.ordinal,
        "text": passage.text,
        "phrases": [list(span) for span in passage.phrases],
        "photos": list(passage.photos),
        "pictures": list(passage.inline),
    }


def photos_json(passages: Sequence[Passage], index: Index) -> dict[str, dict[str, Any]]:
    """The photos that passages show or are about, by id."""
    ids = sorted({photo_id for passage in passages for photo_id in passage.photos})
    return {str(photo_id): photo_json(photo) for photo_id, photo in index.photos(ids).items()}


def text_match_json(match: TextMatch | None) -> dict[str, Any] | None:
    """What the texts of a photo added to its score; None where they added nothing."""
    if match is None:
        return None
    passage = None if match.passage is None else passage_json(match.passage)
    return {"added": match.added, "passage": passage, "words": list(match.words)}


def hit_json(hit: Hit, search: Search | None = None) -> dict[str, Any]:
    """One hit without its masks, which are fetched apart; a photo that was named by hand, by no search, is meant."""
    stack = list(hit.stack) if search is None else search.stacks.get(hit.photo.id, [])
    answer = None if search is None else search.answer
    cutoff = 0.0 if answer is None else answer.cutoff
    return {
        "rank": hit.rank,
        "photo": photo_json(hit.photo),
        "score": hit.score,
        "relevance": hit.relevance,
        "meant": answer is None or answer.meant(hit),
        "stack": stack,
        "entities": [entity_json(entity, cutoff) for entity in hit.entities],
        "text": text_match_json(hit.text),
        "rerank": None if hit.reranked is None else hit.reranked.to_json(),
    }


def entity_json(entity: EntityHit, cutoff: float) -> dict[str, Any]:
    """What one entity found in a photo, and in a word whether it is there, by the cut-off of the answer."""
    return {
        "text": printable(entity.text),
        "negative": entity.negative,
        "score": entity.score,
        "present": entity.grounding.present,
        "verdict": verdict(entity, cutoff),
        "probability": entity.grounding.probability,
        "source": entity.grounding.source,
        "regions": [
            {"region": region_name(region), "score": region.score, "box": list(region.box)} for region in entity.regions
        ],
    }


def region_name(region: Region) -> str | None:
    """``photo/ordinal`` of a stored region, as a query names it."""
    if region.region_id is None:
        return None
    photo_id, ordinal = divmod(region.region_id, REGIONS_PER_PHOTO)
    return f"{photo_id}/{ordinal}"


def region_json(region: Region, photo: Photo) -> dict[str, Any]:
    """One stored region with its mask."""
    return {
        "region": region_name(region),
        "score": region.score,
        "box": list(region.box),
        "mask": shown_mask(region.rle, photo).to_json(),
    }


def shown_mask(rle: Rle, photo: Photo) -> Rle:
    """A mask at a size that a screen wants."""
    if max(rle.size) <= SHOWN_SIDE:
        return rle
    return resize_rle(rle, fit((photo.height, photo.width), SHOWN_SIDE))


def masks_json(hit: Hit) -> list[list[dict[str, Any]]]:
    """The masks of a hit: one list an entity, one mask a region."""
    return [
        [shown_mask(region.rle, hit.photo).to_json() for region in entity.regions if all(region.rle.size)]
        for entity in hit.entities
    ]


def heat_json(heat: Heat) -> dict[str, Any]:
    """One map; places that the model did not look at are 0."""
    levels = np.rint(255 * np.nan_to_num(heat.picture)).astype(np.uint8)
    return {
        "text": printable(heat.text),
        "low": heat.low,
        "high": heat.high,
        "size": list(levels.shape),
        "values": base64.b64encode(levels.tobytes()).decode("ascii"),
    }
