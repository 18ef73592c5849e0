"""`search --queries`: many queries out of a file, answered together."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from ..config import Config
from ..errors import InputError, QueryError
from ..grammar import Query
from ..paths import user_path
from ..regular import os_words
from ..service import Index
from . import show


def read_queries(file: Path) -> list[Query]:
    """The queries of a UTF-8 file, one a line; empty lines and a byte order mark are left out. ``-`` is standard input.

    Raises:
        InputError: the file cannot be read, holds no query, or one that does not parse.
    """
    try:
        text = sys.stdin.read() if str(file) == "-" else Path(user_path(file)).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"queries in {file} are no UTF-8 text, expected one query a line") from error
    except OSError as error:
        raise InputError(f"queries in {file} cannot be read: {os_words(error)}") from error
    queries = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            queries.append(Query.parse(line.strip()))
        except QueryError as error:
            raise InputError(f"line {number} of {file}: {error}") from error
    if not queries:
        raise InputError(f"{file} holds no query, expected one a line")
    return queries


def answer_all(
    place: Path | str, config: Config, queries: list[Query], options: dict[str, Any], *, as_json: bool
) -> None:
    """Answer the queries, and show each answer under its query; with JSON an answer a line, in the same order."""
    with Index.open(place, config=config) as found:
        answers = found.search_many(queries, **options)
    for number, answer in enumerate(answers):
        if as_json:
            show.emit_json(answer.to_json())
            continue
        if number:
            show.say()
        show.say(answer.query)
        show.emit_notes(answer.notes)
        show.emit_answer(answer)


def refuse_others(given: dict[str, bool]) -> None:
    """A usage error for options that are about one query; `given` tells of each by name whether it was given."""
    named = [name for name, there in given.items() if there]
    if named:
        raise typer.BadParameter(f"{named[0]} is about one query, expected --queries without it")
