"""`search --queries`: many queries out of a file, answered together."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import typer

from ..config import Config
from ..errors import InputError, InterleaveError, QueryError
from ..grammar import Query
from ..paths import user_path
from ..regular import os_words
from ..service import Index
from . import show


class QueryFile(NamedTuple):
    """The queries of a file.

    Attributes:
        name: of the file, ``-`` for standard input.
        queries: by the number of their line, from 1, in order.
    """

    name: Path
    queries: dict[int, Query]

    @classmethod
    def read(cls, name: Path) -> QueryFile:
        """The queries of a UTF-8 file, one a line; empty lines and a byte order mark are left out.

        Raises:
            InputError: the file cannot be read, holds no query, or one that does not parse.
        """
        try:
            text = sys.stdin.read() if str(name) == "-" else Path(user_path(name)).read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"queries in {name} are no UTF-8 text, expected one query a line") from error
        except OSError as error:
            raise InputError(f"queries in {name} cannot be read: {os_words(error)}") from error
        file = cls(name, {})
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            try:
                file.queries[number] = Query.parse(line.strip())
            except QueryError as error:
                raise file.error(number, error) from error
        if not file.queries:
            raise InputError(f"{name} holds no query, expected one a line")
        return file

    def error(self, line: int, error: InterleaveError) -> InputError:
        """An error of the query in a line, which it names."""
        return InputError(f"line {line} of {self.name}: {error}")


def answer_all(place: Path | str, config: Config, file: QueryFile, options: dict[str, Any], *, as_json: bool) -> None:
    """Answer the queries, and show each answer under its query; with JSON an answer a line, in the same order.

    Raises:
        InputError: a query cannot be answered; it names the line.
    """
    with Index.open(place, config=config) as found:
        try:
            answers = found.search_many(list(file.queries.values()), **options)
        except InterleaveError as error:
            if error.query_number is None:
                raise
            raise file.error(list(file.queries)[error.query_number], error) from error
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
