"""Routes that show photos of the catalog: by id, never by path."""

from __future__ import annotations

import hashlib
import io
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from ..errors import ImageUnreadable, NotInIndex
from ..export.masks import at_photo_size, entity_mask
from ..marks import png_options
from ..records import BoolMask, Photo
from .answers import Json, is_known, passage_json, photo_json, photos_json, region_json
from .originals import answer_file
from .problems import Refused
from .searches import with_masks
from .shapes import PhotoAnswer, PhotosAnswer, RegionsAnswer, TextsAnswer
from .state import State, state_of
from .uploads import jpeg
from .wire import filters_of

router = APIRouter(tags=["photos"])
PhotoPath = Annotated[int, Path(ge=1, le=2**55 - 1)]
MEDIA = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "HEIF": "image/heif",
    "AVIF": "image/avif",
    "JXL": "image/jxl",
    "TIFF": "image/tiff",
    "GIF": "image/gif",
    "BMP": "image/bmp",
}
KEPT = "private, max-age=604800"  # what an id shows never changes
DISPLAY_SIDE = 2048
PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}}


@router.get("/api/photos", response_model=PhotosAnswer, response_class=Json)
async def photos(
    request: Request,
    cursor: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 60,
    after: Annotated[str | None, Query(max_length=40)] = None,
    before: Annotated[str | None, Query(max_length=40)] = None,
    camera: Annotated[str | None, Query(max_length=200)] = None,
    folder: Annotated[str | None, Query(max_length=4096)] = None,
    within: Annotated[
        list[float] | None, Query(min_length=4, max_length=4, description="south, west, north, east")
    ] = None,
) -> Response:
    """Photos of the catalog that pass the filters of a search, newest in the index first."""
    state = state_of(request)

    def work() -> dict[str, Any]:
        filters = filters_of(after=after, before=before, camera=camera, folder=folder, within=within)
        ids = state.index.ids(filters)[::-1]
        wanted = ids[cursor : cursor + limit].tolist()
        known = state.index.photos(wanted)
        end = cursor + len(wanted)
        return {
            "total": len(ids),
            "photos": [photo_json(known[photo_id]) for photo_id in wanted if photo_id in known],
            "next": end if end < len(ids) else None,
        }

    return Json(await state.gate.read(work))


@router.get("/api/photos/{photo_id}", response_model=PhotoAnswer, response_class=Json)
async def photo(request: Request, photo_id: PhotoPath) -> Response:
    """Facts of one photo."""
    state = state_of(request)
    return Json(await state.gate.read(lambda: photo_json(state.index.photo(photo_id))))


@router.get("/api/photos/{photo_id}/regions", response_model=RegionsAnswer, response_class=Json)
async def regions(request: Request, photo_id: PhotoPath) -> Response:
    """Stored regions, best first, each with its name for queries and its mask (long side at most 512)."""
    state = state_of(request)

    def work() -> dict[str, Any]:
        known = state.index.photo(photo_id)
        return {
            "photo": photo_json(known),
            "regions": [region_json(one, known) for one in state.index.regions(photo_id)],
        }

    return Json(await state.gate.read(work))


@router.get("/api/photos/{photo_id}/texts", response_model=TextsAnswer, response_class=Json)
async def texts(
    request: Request,
    photo_id: PhotoPath,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> Response:
    """Passages that show a photo or are about it, in the order of their sources."""
    state = state_of(request)

    def work() -> dict[str, Any]:
        known = state.index.photo(photo_id)
        every = state.index.texts(known)
        passages, end = every[cursor : cursor + limit], cursor + limit
        return {
            "photo": photo_json(known),
            "total": len(every),
            "texts": [passage_json(passage) for passage in passages],
            "photos": photos_json(passages, state.index),
            "next": end if end < len(every) else None,
        }

    return Json(await state.gate.read(work))


@router.get("/api/photos/{photo_id}/thumbnail", responses=PICTURE, response_class=Response)
async def thumbnail(request: Request, photo_id: PhotoPath) -> Response:
    """A small upright JPEG."""
    return await _jpeg(request, photo_id, _thumbnail)


@router.get("/api/photos/{photo_id}/display", responses=PICTURE, response_class=Response)
async def display(request: Request, photo_id: PhotoPath) -> Response:
    """The photo as a screen can show it: an upright JPEG in sRGB with a long side of at most 2048."""
    return await _jpeg(request, photo_id, lambda state, known: _made(state, known, DISPLAY_SIDE))


@router.get("/api/photos/{photo_id}/original", responses={200: {"content": {"image/*": {}}}}, response_class=Response)
async def original(request: Request, photo_id: PhotoPath) -> Response:
    """The photo's own file, as long as its content is the one that was taken in."""
    state = state_of(request)
    known = await state.gate.read(lambda: state.index.photo(photo_id))
    name = hashlib.sha256(str(known.path).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    kind = MEDIA.get(known.format, "application/octet-stream")
    headers = {
        "Cache-Control": "private, no-cache",  # the file may be gone or another one by the next request
        "ETag": f'"{known.sha256}"',
        "Content-Disposition": f'inline; filename="{photo_id}-{name}.{known.format.lower()}"',
    }
    file = await state.gate.file(lambda: state.originals.open(known))
    if is_known(request, headers["ETag"]):
        file.close()
        return Response(status_code=304, headers=headers)
    return await answer_file(request, state.gate, file, headers, kind)


@router.get(
    "/api/photos/{photo_id}/masks/{entity}.png",
    responses={200: {"content": {"image/png": {}}}},
    response_class=Response,
)
async def mask(
    request: Request,
    photo_id: PhotoPath,
    entity: Annotated[int, Path(ge=0, le=255)],
    search: Annotated[str | None, Query(max_length=60)] = None,
) -> Response:
    """A mask at the size of the photo: 255 inside, 0 outside.

    `entity` counts the entities of a search from 0; without `search` it is the number of a stored region.
    """
    state = state_of(request)
    held = None if search is None else state.searches.get(search)

    def work() -> bytes:
        known = state.index.photo(photo_id)
        if held is None:
            stored = state.index.regions(photo_id)
            if entity >= len(stored):
                raise NotInIndex(f"photo {photo_id} has {len(stored)} regions, number {entity} from 0 is not there")
            return _png(at_photo_size(stored[entity].rle, known).decode())
        hit = with_masks(held.hit(photo_id), state.index)
        if entity >= len(hit.entities):
            raise NotInIndex(f"the search has {len(hit.entities)} entities, number {entity} from 0 is not there")
        return _png(entity_mask(hit.entities[entity], known))

    return Response(await state.gate.read(work), media_type="image/png")


async def _jpeg(request: Request, photo_id: int, make: Any) -> Response:
    state = state_of(request)
    known = await state.gate.read(lambda: state.index.photo(photo_id))
    headers = {"Cache-Control": KEPT, "ETag": f'"{known.sha256[:32]}"'}
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(await state.gate.file(lambda: make(state, known)), media_type="image/jpeg", headers=headers)


def _thumbnail(state: State, known: Photo) -> bytes:
    try:
        return state.index.thumbnail(known).read_bytes()
    except OSError:
        return _made(state, known, state.config.ingest.thumbnail_side)


def _made(state: State, known: Photo, long_side: int) -> bytes:
    try:
        return jpeg(state.index.pixels(known), long_side)
    except ImageUnreadable as error:
        raise Refused(410, str(error)) from error


def _png(mask: BoolMask) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG", **png_options("mask"))
    return file.getvalue()
