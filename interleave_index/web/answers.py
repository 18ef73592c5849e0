"""The JSON of answers. Pure ASCII, so that names of files that are not UTF-8 come back as they were."""

from __future__ import annotations

import base64
from pathlib import PurePath
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse

from ..export.files import printable, to_json_text
from ..export.words import verdict
from ..geometry import fit, resize_rle
from ..query.heat import Heat
from ..records import REGIONS_PER_PHOTO, Answer, EntityHit, Hit, Photo, Region, Rle
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
    path = PurePath(photo.path) if photo.path else None
    return {
        "id": photo.id,
        "name": printable(path.name) if path else f"photo {photo.id}",
        "folder": printable(str(path.parent)) if path else None,
        "path": photo.path,
        "width": photo.width,
        "height": photo.height,
        "format": photo.format,
        "taken_at": photo.taken_at.isoformat() if photo.taken_at else None,
        "camera": photo.camera,
        "lens": photo.lens,
        "latitude": photo.latitude,
        "longitude": photo.longitude,
    }


def page_json(search: Search, hits: list[Hit], stacked: dict[int, list[int]], following: str | None) -> dict[str, Any]:
    """One page of a search."""
    answer = search.answer if search.answer is not None else Answer(str(search.query), "exact", ())
    return {
        "search": search.name,
        "query": answer.query,
        "path": answer.path,
        "cutoff": answer.cutoff,
        "notes": list(answer.notes),
        "entities": asked_json(search),
        "hits": [hit_json(hit, search) for hit in hits],
        "stacked": {str(photo_id): ids for photo_id, ids in stacked.items()},
        "next": following,
    }


def asked_json(search: Search) -> list[dict[str, Any]]:
    """What masks are for, in the order of their colours; plain text alone is one entity."""
    if search.hits and search.hits[0].entities:
        return [
            {"text": printable(entity.text), "kind": entity.kind, "negative": entity.negative, "weight": entity.weight}
            for entity in search.hits[0].entities
        ]
    return [
        {"text": printable(label(term)), "kind": "text", "negative": False, "weight": term.weight}
        for term in search.query.entities
    ]


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
