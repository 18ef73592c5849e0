"""Routes that ask: search and its pages, a look at one picture, pictures of queries."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from ..query.heat import heat_of
from ..query.resolve import named_photos
from ..records import Hit
from ..records.texts import TextHit
from ..service import Depth
from .answers import Json, Page, heat_json, hit_json, masks_json, page_json
from .bodies import body_of, json_body, picture_of, take
from .searches import EXACT_AT_ONCE, Search, with_masks
from .shapes import GroundAnswer, HeatAnswer, MaskAnswer, SearchAnswer, UploadAnswer
from .state import State, state_of
from .uploads import Upload
from .wire import GroundBody, SearchBody, with_pixels

router = APIRouter(tags=["ask"])
HEAT_SIDE = 160  # pixels of a map, which is smooth
UploadName = Annotated[str, Path(min_length=1, max_length=100)]
EXAMPLES: dict[str, Any] = {
    "string": {"summary": "the string form", "value": {"query": "[a dog] on a beach -[a person]", "limit": 20}},
    "parts": {
        "summary": "parts, in the order of the sentence",
        "value": {
            "parts": [
                {"text": "a dog like"},
                {"photo": 12, "box": [10, 20, 200, 180]},
                {"entity": "the sea", "weight": 2},
                {"entity": "a person", "not": True},
            ],
            "filters": {"after": "2023-06-01", "camera": "pixel"},
        },
    },
    "stored": {"summary": "more like this region", "value": {"parts": [{"region": "12/3"}]}},
    "texts": {
        "summary": "captions and pages beside the photos",
        "value": {"query": "[a lighthouse] in the fog", "target": "texts", "text_kinds": ["markdown", "html"]},
    },
}


@router.post(
    "/api/search",
    openapi_extra=json_body(SearchBody, EXAMPLES, form=True),
    response_model=SearchAnswer,
    response_class=Json,
)
async def search(request: Request) -> Response:
    """Rank photos, texts beside them, or both, for a query of words and pictures.

    Masks are fetched apart. `next` is the cursor of the next page of photos, `next_texts` that of texts.
    """
    state = state_of(request)
    body, own = await body_of(request, state, SearchBody)
    depths: dict[str, Depth | None] = {"stored": "named", "exact": "exact", "none": None}  # masks are fetched apart
    depth = depths[body.ground]

    def work() -> dict[str, Any]:
        query = state.query(body, own)
        begun = state.searches.begin(
            query,
            body.filters.filters(),
            depth,
            body.mode,
            fold=body.stacks,
            left_out=named_photos(query) | body.marked_photos if body.exclude_self else set(),
            client=request.scope["caller"].key,
            target=body.target,
            text_kinds=body.text_kinds,
            rerank=body.rerank,
        )
        return page_json(begun, _first(state, begun, body.limit), state.index)

    return Json(await state.gate.run(request, work))


@router.get("/api/search", response_model=SearchAnswer, response_class=Json)
async def further(
    request: Request,
    cursor: Annotated[str, Query(max_length=100, pattern=r"^[\w-]{1,60}\.t?\d{1,5}$")],
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """The next page of a search: photos by its `next`, texts by its `next_texts`.

    A search is held for half an hour; after that, 410.
    """
    state = state_of(request)
    name, _, place = cursor.rpartition(".")
    found = state.searches.get(name)
    start = int(place.removeprefix("t"))

    def work() -> dict[str, Any]:
        if place.startswith("t"):
            texts, following = _texts(state, found, start, limit)
            return page_json(found, Page([], {}, None, texts, following), state.index)
        return page_json(found, Page(*_photos(state, found, start, limit)), state.index)

    return Json(await state.gate.run(request, work))


def _first(state: State, search: Search, limit: int) -> Page:
    photos = _photos(state, search, 0, limit)
    return Page(*photos) if search.target == "photos" else Page(*photos, *_texts(state, search, 0, limit))


def _photos(state: State, search: Search, start: int, limit: int) -> tuple[list[Hit], dict[int, list[int]], str | None]:
    """Hits from a place on, what fell into stacks, and the cursor of the next ones."""
    limit = min(limit, EXACT_AT_ONCE) if search.ground == "exact" else limit
    hits, stacked = search.page(state.index, start, limit, state.settings.hits)
    end = start + len(hits)
    ended = search.target == "texts" or (search.done and end >= len(search.hits))
    return hits, stacked, None if ended else f"{search.name}.{end}"


def _texts(state: State, search: Search, start: int, limit: int) -> tuple[list[TextHit], str | None]:
    """Passages from a place on, and the cursor of the next ones."""
    texts = search.page_of_texts(state.index, start, limit, state.settings.hits)
    end = start + len(texts)
    ended = search.target == "photos" or (search.texts_done and end >= len(search.texts))
    return texts, None if ended else f"{search.name}.t{end}"


LOOK: dict[str, Any] = {
    "photo": {"summary": "an indexed photo", "value": {"photo": 12, "query": "[a dog] on [a beach]"}},
    "mark": {
        "summary": "what a box means",
        "value": {"photo": 12, "parts": [{"photo": 12, "box": [10, 20, 200, 180]}]},
    },
}


@router.post(
    "/api/ground",
    openapi_extra=json_body(GroundBody, LOOK, form=True),
    response_model=GroundAnswer,
    response_class=Json,
)
async def ground(request: Request) -> Response:
    """Look at one picture, indexed or uploaded, and mask what each part of a query means in it.

    Masks have a long side of at most 512. `[image: ...]` with a mark, asked of its own picture, shows what the model
    understands by the mark.
    """
    state = state_of(request)
    body, own = await body_of(request, state, GroundBody)

    def work() -> dict[str, Any]:
        query = state.query(body, own)
        if body.photo is not None:
            return _look(state.index.ground(body.photo, query))
        name = body.upload or ""
        upload = own.get(name) or state.uploads.get(name)
        return _look(state.index.ground(upload.rgb, query), upload)

    return Json(await state.gate.run(request, work))


def _look(hit: Hit, upload: Upload | None = None) -> dict[str, Any]:
    """A grounded hit; boxes of an upload are brought from its pixels at hand to those of the whole picture."""
    answer = hit_json(hit)
    answer["masks"] = masks_json(hit)
    answer["notes"] = list(hit.notes)
    if upload is not None:
        wide, high = upload.width / upload.rgb.shape[1], upload.height / upload.rgb.shape[0]
        answer["photo"] |= {"name": upload.name, "width": upload.width, "height": upload.height}
        for entity in answer["entities"]:
            for region in entity["regions"]:
                x0, y0, x1, y1 = region["box"]
                region["box"] = [x0 * wide, y0 * high, x1 * wide, y1 * high]
    return answer


@router.post(
    "/api/heat",
    openapi_extra=json_body(GroundBody, {"photo": LOOK["photo"]}, form=True),
    response_model=HeatAnswer,
    response_class=Json,
)
async def heat(request: Request) -> Response:
    """How much every place of one picture resembles each part of a query: one map an entity.

    `values` are bytes in base64, row by row, 0 at the cosine `low` and 255 at `high`.
    """
    state = state_of(request)
    body, own = await body_of(request, state, GroundBody)

    def work() -> list[dict[str, Any]]:
        if body.photo is not None:
            rgb = state.index.pixels(body.photo)
        else:
            rgb = (own.get(body.upload or "") or state.uploads.get(body.upload or "")).rgb
        query = with_pixels(state.query(body, own), state.index)
        found = heat_of(state.index.interface, rgb, query, load_picture=state.index.load_picture, side=HEAT_SIDE)
        return [heat_json(one) for one in found]

    return Json({"maps": await state.gate.run(request, work)})


@router.get("/api/search/{name}/photos/{photo_id}/masks", response_model=list[list[MaskAnswer]], response_class=Json)
async def masks(
    request: Request, name: Annotated[str, Path(max_length=60)], photo_id: Annotated[int, Path(ge=1, le=2**55 - 1)]
) -> Response:
    """The masks of one hit of a search: one list an entity, in order, with one mask a region (COCO run lengths)."""
    state = state_of(request)
    found = state.searches.get(name)
    return Json(await state.gate.read(lambda: masks_json(with_masks(found.hit(photo_id), state.index))))


@router.post(
    "/api/uploads",
    status_code=201,
    response_model=UploadAnswer,
    response_class=Json,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "properties": {"file": {"type": "string", "format": "binary"}},
                    }
                },
            },
        }
    },
)
async def upload(request: Request) -> Response:
    """Hold a picture for queries, in memory and for an hour; gives the name that queries call it by."""
    state = state_of(request)
    data = await picture_of(request, state)
    held = await state.gate.run(request, lambda: take(state, data))
    return Json(
        {"upload": held.name, "width": held.width, "height": held.height},
        status_code=201,
        headers={"Location": f"{state.settings.base_path}/api/uploads/{held.name}"},
    )


@router.get("/api/uploads/{name}", responses={200: {"content": {"image/jpeg": {}}}}, response_class=Response)
async def preview(request: Request, name: UploadName) -> Response:
    """An uploaded picture as a page can show it: an upright JPEG with a long side of at most 1024."""
    held = state_of(request).uploads.get(name)
    return Response(held.preview, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=300"})


@router.delete("/api/uploads/{name}", status_code=204, response_class=Response)
async def forget(request: Request, name: UploadName) -> Response:
    """Forget an uploaded picture now."""
    state_of(request).uploads.drop(name)
    return Response(status_code=204)
