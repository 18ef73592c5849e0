"""Routes that take photos in: start an ingest, watch it, stop it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response, StreamingResponse

from ..export.files import to_json_text
from .answers import Json
from .bodies import body_of, json_body
from .jobs import Job
from .shapes import JobAnswer
from .state import state_of
from .wire import IngestBody

router = APIRouter(tags=["ingest"])
JobName = Annotated[str, Path(min_length=1, max_length=40)]
LOOK_SECONDS, ALIVE_SECONDS = 0.2, 15.0
EXAMPLES: dict[str, Any] = {
    "folder": {"summary": "one folder below a root", "value": {"folder": "2024/summer"}},
    "all": {"summary": "all roots", "value": {}},
}


@router.post(
    "/api/ingest",
    status_code=202,
    openapi_extra=json_body(IngestBody, EXAMPLES),
    response_model=JobAnswer,
    response_class=Json,
)
async def begin(request: Request) -> Response:
    """Take in a folder below the roots that the server was started with, or all of them; one job at a time."""
    state = state_of(request)
    body, _ = await body_of(request, state, IngestBody)
    job = await state.gate.read(lambda: state.jobs.begin(body.folder))
    return Json(
        job.to_json(), status_code=202, headers={"Location": f"{state.settings.base_path}/api/ingest/{job.name}"}
    )


@router.get("/api/ingest/{name}", response_model=JobAnswer, response_class=Json)
async def look(request: Request, name: JobName) -> Response:
    """How far a job is; with its report, failures included, once it has ended."""
    return Json(state_of(request).jobs.get(name).to_json())


@router.delete("/api/ingest/{name}", status_code=202, response_model=JobAnswer, response_class=Json)
async def stop(request: Request, name: JobName) -> Response:
    """Ask a job to finish its batch and end. What is written stays; the next job goes on from there."""
    job = state_of(request).jobs.get(name)
    job.stop.set()
    return Json(job.to_json(), status_code=202)


@router.get(
    "/api/ingest/{name}/events", responses={200: {"content": {"text/event-stream": {}}}}, response_class=Response
)
async def events(request: Request, name: JobName) -> Response:
    """Server-sent events: `progress` with every change, `end` with the report; each holds the whole state."""
    job = state_of(request).jobs.get(name)
    return StreamingResponse(
        _told(job), media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


async def _told(job: Job) -> AsyncIterator[str]:
    sent, silent = -1, 0.0
    while True:
        running, version = job.state == "running", job.version
        if version != sent:
            sent, silent = version, 0.0
            yield f"event: {'progress' if running else 'end'}\ndata: {to_json_text(job.to_json())}\n\n"
        elif silent >= ALIVE_SECONDS:
            silent = 0.0
            yield ": still here\n\n"
        if not running:
            return
        await asyncio.sleep(LOOK_SECONDS)
        silent += LOOK_SECONDS
