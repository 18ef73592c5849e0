"""Routes that write hits of a search in the forms that other tools read, and give the files of photos as one ZIP."""

from __future__ import annotations

import io
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi import Path as PathOf
from starlette.responses import Response, StreamingResponse

from ..errors import NotInIndex
from ..export.coco import answer_to_coco
from ..export.files import to_json_text
from ..export.jsonl import write_jsonl
from ..export.masks import write_masks
from ..records import Answer
from .answers import Json
from .archives import archive_of, sizes_of
from .bodies import body_of, json_body
from .problems import Refused
from .searches import Search, with_masks
from .shapes import DownloadAnswer
from .state import State, state_of
from .wire import ExportBody, OriginalsBody

router = APIRouter(tags=["export"])
MOST_MASKED = 500  # hits whose masks are written as pictures at once
LOOKED_AT = 200  # files whose sizes are asked for at once
EXAMPLES: dict[str, Any] = {
    "coco": {
        "summary": "some hits as COCO instances",
        "value": {"search": "name-of-a-search", "photos": [12, 40], "form": "coco"},
    }
}


@router.post(
    "/api/export",
    openapi_extra=json_body(ExportBody, EXAMPLES),
    response_class=Response,
    responses={200: {"content": {"application/json": {}, "application/zip": {}, "text/plain": {}}}},
)
async def export(request: Request) -> Response:
    """Hits of a search as COCO instances, mask PNGs in a ZIP, JSON lines, or a list of paths."""
    state = state_of(request)
    body, _ = await body_of(request, state, ExportBody)
    found = state.searches.get(body.search)
    data, kind, name = await state.gate.run(request, lambda: _written(state, found, body))
    return Response(data, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _written(state: State, search: Search, body: ExportBody) -> tuple[bytes, str, str]:
    wanted = set(body.photos)
    hits = [hit for hit in search.hits if not wanted or hit.photo.id in wanted]
    if wanted and len(hits) < len(wanted):
        raise Refused(404, f"{len(wanted) - len(hits)} of {len(wanted)} photos are not among the hits of this search")
    if body.form == "paths":  # a name may hold any byte; NUL and line ends would be the only trouble
        lines = [hit.photo.path or "" for hit in hits]
        return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape"), "text/plain; charset=utf-8", "paths.txt"
    if body.form == "masks" and len(hits) > MOST_MASKED:
        raise Refused(413, f"masks of {len(hits)} hits were asked for, expected at most {MOST_MASKED}; choose some")
    base = search.answer if search.answer is not None else Answer(str(search.query), "exact", ())
    answer = replace(base, hits=tuple(with_masks(hit, state.index) for hit in hits))
    if body.form == "coco":
        return (
            to_json_text(answer_to_coco(answer, absent=body.absent)).encode("ascii"),
            "application/json",
            "hits.coco.json",
        )
    with tempfile.TemporaryDirectory() as folder:
        if body.form == "jsonl":
            write_jsonl(answer, Path(folder) / "hits.jsonl")
            return (Path(folder) / "hits.jsonl").read_bytes(), "application/x-ndjson", "hits.jsonl"
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # PNGs do not get smaller
            for path in write_masks(answer, Path(folder) / "masks", absent=body.absent):
                archive.write(path, path.name)
        return file.getvalue(), "application/zip", "masks.zip"


@router.post(
    "/api/originals",
    status_code=201,
    openapi_extra=json_body(OriginalsBody, {"some": {"value": {"photos": [12, 40]}}}),
    response_model=DownloadAnswer,
    response_class=Json,
)
async def originals(request: Request) -> Response:
    """Ask for the files of photos as one ZIP: gives the name to fetch it by, how large it gets, and what is gone."""
    state = state_of(request)
    body, _ = await body_of(request, state, OriginalsBody)
    ids = list(dict.fromkeys(body.photos))
    known = await state.gate.read(lambda: state.index.photos(ids))
    unknown = [photo_id for photo_id in ids if photo_id not in known]
    if unknown:
        raise NotInIndex(f"{len(unknown)} of {len(ids)} photos are not in the index, the first is {unknown[0]}")
    sizes: dict[int, int | None] = {}
    offline = state.config.models.offline
    for start in range(0, len(ids), LOOKED_AT):
        some = [known[photo_id] for photo_id in ids[start : start + LOOKED_AT]]
        sizes |= await state.gate.file(lambda some=some: sizes_of(some, offline=offline))  # type: ignore[misc]
    there = {photo_id: size for photo_id, size in sizes.items() if size is not None}
    if not there:
        raise Refused(410, f"the files of all {len(ids)} photos are gone; put them back, or take photos in again")
    name = state.downloads.hold(there)
    answer = {
        "download": name,
        "photos": len(there),
        "bytes": sum(there.values()),
        "gone": [photo_id for photo_id in ids if photo_id not in there],
    }
    place = f"{state.settings.base_path}/api/originals/{name}.zip"
    return Json(answer, status_code=201, headers={"Location": place})


@router.get(
    "/api/originals/{name}.zip",
    responses={200: {"content": {"application/zip": {}}}},
    response_class=Response,
)
async def archive(request: Request, name: Annotated[str, PathOf(pattern=r"^[\w-]{1,60}$")]) -> Response:
    """The files that were asked for, as one ZIP, made while it is sent.

    A name holds for a quarter of an hour; then 410. A file that has gone or changed since it was taken in is left out,
    and a text in the archive says so.
    """
    state = state_of(request)
    ids = state.downloads.get(name)
    headers = {"Content-Disposition": 'attachment; filename="photos.zip"', "Cache-Control": "no-store"}
    if request.scope["caller"].head:
        return Response(media_type="application/zip", headers=headers)
    known = await state.gate.read(lambda: state.index.photos(ids))
    photos = [known[photo_id] for photo_id in ids if photo_id in known]
    pieces = archive_of(state.gate, state.originals, photos)
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)
