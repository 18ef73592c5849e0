"""Requests that come as JSON, or as a form with pictures beside the JSON; and how OpenAPI describes them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from .problems import KIND, Refused
from .settings import size_words
from .state import State
from .uploads import Upload
from .wire import ExportBody, GroundBody, IngestBody, OriginalsBody, SearchBody, SessionBody

B = TypeVar("B", bound=BaseModel)
MOST_FILES = 16
BODIES: tuple[type[BaseModel], ...] = (SearchBody, GroundBody, IngestBody, ExportBody, OriginalsBody, SessionBody)
_REF = "#/components/schemas/"


async def body_of(request: Request, state: State, kind: type[B]) -> tuple[B, dict[str, Upload]]:
    """The request's JSON, checked, and its pictures by the name of their field.

    Raises:
        RequestValidationError: not of the form that is expected.
        Refused: 415 another content type, 413 a picture that is too long.
        ImageUnreadable, ImageTooLarge: a picture that cannot be used.
    """
    content = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if content == "application/json":
        return _checked(kind, await request.body()), {}
    if content != "multipart/form-data":
        raise Refused(415, f"content type is {content[:60]!r}, expected application/json or multipart/form-data")
    async with _form(request, max_files=MOST_FILES, max_fields=4) as form:
        text = form.get("request")
        if not isinstance(text, str):
            raise Refused(422, "form has no field `request` with the JSON of the request")
        body = _checked(kind, text.encode("utf-8", "surrogatepass"))
        pictures: dict[str, Upload] = {}
        for name, file in form.multi_items():
            if isinstance(file, UploadFile):
                data = await file.read(state.settings.upload_bytes + 1)
                pictures[name] = await state.gate.run(request, lambda data=data: take(state, data))  # type: ignore[misc]
    return body, pictures


async def picture_of(request: Request, state: State) -> bytes:
    """The bytes of one picture: the body itself, or the one file of a form."""
    if not request.headers.get("content-type", "").startswith("multipart/"):
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > state.settings.upload_bytes:
                break
        return bytes(data)
    async with _form(request, max_files=1, max_fields=1) as form:
        file = next((value for value in form.values() if isinstance(value, UploadFile)), None)
        if file is None:
            raise Refused(422, "form has no file, expected one picture")
        return await file.read(state.settings.upload_bytes + 1)


class _InMemory(MultiPartParser):
    """Keeps pictures in memory, however large they are; `Intake` bounds all of them together."""

    spool_max_size = 0  # never rolled over into a temporary file


@asynccontextmanager
async def _form(request: Request, *, max_files: int, max_fields: int) -> AsyncIterator[FormData]:
    """The fields and pictures of a form.

    Raises:
        HTTPException: 400, it is no form.
    """
    try:
        async with aclosing(request.stream()) as stream:
            parser = _InMemory(request.headers, stream, max_files=max_files, max_fields=max_fields)
            form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, error.message) from None
    try:
        yield form
    finally:
        await form.close()


def take(state: State, data: bytes) -> Upload:
    """Hold one picture; Refused with 413 when it is too long."""
    most = state.settings.upload_bytes
    if len(data) > most:
        raise Refused(413, f"picture has more than {size_words(most)}, expected at most that")
    return state.uploads.take(data)


def _checked(kind: type[B], data: bytes) -> B:
    try:
        return kind.model_validate(json.loads(data))
    except ValidationError as error:
        raise RequestValidationError(
            error.errors(include_url=False, include_context=False, include_input=False)
        ) from None
    except (ValueError, RecursionError) as error:
        raise RequestValidationError(
            [{"loc": ("body",), "msg": f"is not JSON: {error}"[:200], "type": "json"}]
        ) from None


# --- OpenAPI ---------------------------------------------------------------------------------


def json_body(kind: type[BaseModel], example: Any, *, form: bool = False) -> dict[str, Any]:
    """`openapi_extra` of a route whose body this package reads itself."""
    schema = {"$ref": _REF + kind.__name__}
    content: dict[str, Any] = {"application/json": {"schema": schema, "examples": example}}
    if form:
        content["multipart/form-data"] = {
            "schema": {
                "type": "object",
                "required": ["request"],
                "properties": {
                    "request": {
                        "type": "string",
                        "contentMediaType": "application/json",
                        "description": f"the JSON of {kind.__name__}",
                    }
                },
                "additionalProperties": {"type": "string", "format": "binary"},
            }
        }
    return {"requestBody": {"required": True, "content": content}}


def describe(app: FastAPI) -> None:
    """Let the application's OpenAPI name the bodies of this package and the one form of its errors."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schemas = found.setdefault("components", {}).setdefault("schemas", {})
            for kind in BODIES:
                described = kind.model_json_schema(ref_template=_REF + "{model}")
                schemas.update(described.pop("$defs", {}))
                schemas[kind.__name__] = described
            schemas["Problem"] = PROBLEM
            found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            found["security"] = [{}, {"token": []}]
            found["servers"] = [{"url": app.state.server.settings.base_path or "/"}]
            for path in found["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
                    operation["responses"]["default"] = {
                        "description": "What went wrong",
                        "content": {KIND: {"schema": {"$ref": _REF + "Problem"}}},
                    }
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what, got, expected, remedy"},
        "error": {"type": "string", "description": "class of the error, as in Python"},
        "column": {"type": "integer", "description": "where a query does not parse, counted from 0"},
        "pointer": {"type": "string", "description": "the query and a caret under that column"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
