"""Routes that write hits of a search in the forms that other tools read."""

from __future__ import annotations

import io
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ..export.coco import answer_to_coco
from ..export.files import to_json_text
from ..export.jsonl import write_jsonl
from ..export.masks import write_masks
from ..records import Answer
from .bodies import body_of, json_body
from .problems import Refused
from .searches import Search, with_masks
from .state import State, state_of
from .wire import ExportBody

router = APIRouter(tags=["export"])
MOST_MASKED = 500  # hits whose masks are written as pictures at once
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
