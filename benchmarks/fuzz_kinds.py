"""What is broken on purpose, and given to whom: pictures, queries, model files, and texts beside photos.

Each kind makes its cases from a number, the same file for the same number, and says what became of one: `taken`, or
`refused` by an error of this program. Whatever else the program does is a fault, and so is an answer that must not be.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, Protocol

from interleave_index.errors import EmptyQuery, QueryError, TextUnreadable
from interleave_index.grammar import Query, point_at
from interleave_index.records.texts import PICTURE_MARK, TextKind

from .fuzz_answers import LONGEST_WORDS, Outcome, WrongAnswer, demand, said_well
from .fuzz_models import Checkpoints
from .mutations import flipped, mutated, mutated_file, mutated_json

MAX_PIXELS = 20_000_000  # of a picture; decoders are held to it, so that memory can be
ACCIDENT = re.compile(r"[A-Za-z]+(Error|Exception)\b: ")  # how `work` words what nobody expected
NAMES = ("a.jpg", "b.jpg")  # pictures beside the texts


class Kind(Protocol):
    """One kind of things that are broken."""

    def prepare(self, shared: Path) -> None:
        """Make what all cases start from, in a folder of its own; called once, in another process."""

    def start_from(self, shared: Path) -> None:
        """Say where that is."""

    def case(self, random: Random) -> tuple[str, bytes]:
        """One broken thing: its name and its content."""

    def give(self, name: str, content: bytes, scratch: Path) -> Outcome:
        """Give it to the program.

        Raises:
            WrongAnswer: the answer must not be.
        """


class _Alone:
    """A kind whose cases need no files beside them."""

    def prepare(self, shared: Path) -> None:
        """Nothing."""

    def start_from(self, shared: Path) -> None:
        """Nothing."""


# --- pictures ---------------------------------------------------------------------------------------


class Images(_Alone):
    """Files of every picture format, through the work of an ingest and through the door of queries."""

    @cached_property
    def _whole(self) -> dict[str, bytes]:
        from .fuzz_images import whole_pictures

        return whole_pictures()

    def case(self, random: Random) -> tuple[str, bytes]:
        """A broken picture."""
        name = random.choice(list(self._whole))
        return name, mutated_file(self._whole[name], random, list(self._whole.values()))

    def give(self, name: str, content: bytes, scratch: Path) -> Outcome:
        """Take it in, read its texts, and decode it in full size where it is small enough to be."""
        from interleave_index.ingest.decode import decode, read_text
        from interleave_index.ingest.decode_task import Recipe, Task, work

        file = scratch / "picture"
        file.write_bytes(content)
        recipe = Recipe(str(scratch / "thumbnails"), MAX_PIXELS, long_side=100, thumbnail_side=64)
        reply, rgb = work(Task(0, str(file)), recipe)
        shutil.rmtree(recipe.thumbnails, ignore_errors=True)
        check_text(read_text(content, max_pixels=MAX_PIXELS).passages)
        if reply.reason is not None:
            demand(reply.reason in ("ImageUnreadable", "ImageTooLarge"), reply.reason)
            demand(not ACCIDENT.match(reply.detail or ""), reply.detail)
            said_well(reply.detail or "")
            return "refused"
        if rgb is None or reply.facts is None or rgb.shape != reply.shape:
            raise WrongAnswer("a photo without pixels or facts")
        demand(rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.nbytes <= recipe.slot_bytes, f"shape {rgb.shape}")
        self._check_facts(reply.facts)
        whole = decode(content, max_pixels=MAX_PIXELS)
        demand(whole.rgb.shape == (whole.height, whole.width, 3), f"{whole.rgb.shape} of {whole.width}x{whole.height}")
        demand((whole.width, whole.height) == (reply.facts.width, reply.facts.height), "two sizes of one photo")
        return "taken"

    def _check_facts(self, facts: Any) -> None:
        demand(0 < facts.width * facts.height <= MAX_PIXELS, f"size {facts.width}x{facts.height}")
        for words in (facts.camera, facts.lens, facts.format):
            demand(words is None or (words.encode("utf-8") and "\0" not in words), f"fact {words!r}")
        demand((facts.latitude is None) == (facts.longitude is None), "half a place")
        is_place = facts.latitude is None or (-90 <= facts.latitude <= 90 and -180 <= facts.longitude <= 180)
        demand(is_place, f"place {facts.latitude}, {facts.longitude}")
        if facts.text is not None:  # in some kinds of TIFF no text is looked for
            check_text(facts.text.passages)


# --- queries ----------------------------------------------------------------------------------------

QUERIES = (
    "[a dog]^2 on a beach -[a cat]",
    "a man with [image:dog.jpg#box=10,20,200.5,180] and [region:1234/7]",
    "[image:my a.jpg#point=40,60;-5,6;7,8]^0.5, running -[photo:12]",
    r"\[note\: a dog\] [image:C:\photos\a\#1.jpg#mask=m\#.png] \^2",
    "[IMAGE: https://x.org/a.jpg?b=1 ]-[region:3/0]^1e2",
    "well-known -dogs 日本 🐕 [Zoë]",
    "#point=40,60;-5,6 [a mug] #box=1,2,30,40",
)
QUERY_PIECES = tuple(
    part.encode()
    for part in (
        *("[", "]", "-[", "^", "2", "\\", "#", ":", " ", "a\u2003dog", "image:", "photo:", "region:", "1/2", "box="),
        *("point=", "mask=", "1,2", ";", "1e999", "\u0130", "\0", "\u202e"),
    )
)


def check_query(text: str) -> bool:
    """Whether a query parses; it has to read back as it is written, or be refused at one of its columns."""
    try:
        query = Query.parse(text)
    except QueryError as error:
        demand(1 <= error.column <= len(text) + 1, f"column {error.column} of {len(text)}")
        demand(len(str(error)) <= LONGEST_WORDS and point_at(error), f"message has {len(str(error))} characters")
        return False
    except EmptyQuery:
        return False
    demand(Query.parse(str(query)) == query, f"reads back otherwise: {str(query)!r}")
    return True


class Queries(_Alone):
    """Strings of the query language, also those that stand for marks on a picture."""

    def case(self, random: Random) -> tuple[str, bytes]:
        """A broken query, as bytes that a terminal may give."""
        text = random.choice(QUERIES).encode()
        return "query", mutated(text, random, QUERY_PIECES) if random.random() < 0.8 else flipped(text, random)

    def give(self, name: str, content: bytes, scratch: Path) -> Outcome:
        """Parse it, write it, and parse it again; then as marks."""
        text = os.fsdecode(content)
        parsed = check_query(text)
        try:
            query = Query.on_picture(text.split(" "), "a b.jpg")
        except QueryError as error:
            demand(len(str(error)) <= LONGEST_WORDS, f"message has {len(str(error))} characters")
        except EmptyQuery:
            pass
        else:
            demand(Query.parse(str(query)) == query, f"reads back otherwise: {str(query)!r}")
        return "taken" if parsed else "refused"


# --- texts beside photos ------------------------------------------------------------------------------


def check_text(passages: Collection[Any], most_tokens: int | None = None) -> None:
    """Passages must be one line of text that can be stored, with marks and phrases where they are said to be."""
    from interleave_index.ingest.text.passages import tokens

    for passage in passages:
        passage.text.encode("utf-8")
        demand(passage.text and passage.text == " ".join(passage.text.split()), f"text {passage.text[:200]!r}")
        demand(passage.text.count(PICTURE_MARK) == len(passage.pictures), "marks without pictures")
        paths = (*passage.pictures, *passage.about)
        demand(all(path.startswith("/") and "\0" not in path for path in paths), f"paths {paths}")
        end = 0
        for start, stop in passage.phrases:
            demand(end <= start < stop <= len(passage.text), f"phrase {start}-{stop} behind {end}")
            end = stop
        demand(most_tokens is None or tokens(passage.text) <= most_tokens, "a passage that is too long")


def check_source(kind: TextKind, data: bytes) -> bool:
    """Read a text source; whether it could be."""
    from interleave_index.ingest.text.passages import MAX_TOKENS
    from interleave_index.ingest.text.sources import read_source

    try:
        source = read_source("/p/a.jpg.x", kind, data, set(NAMES))
    except TextUnreadable as error:
        said_well(str(error))
        demand(str(error).startswith("text 'a.jpg.x' ") and len(str(error)) < 500, f"says {error}")
        return False
    check_text(source.passages, MAX_TOKENS + 1 if kind in ("markdown", "html", "txt") else None)
    return True


class Sidecars(_Alone):
    """Texts of every kind that is read, and the dates that stand in them."""

    def case(self, random: Random) -> tuple[str, bytes]:
        """A broken text."""
        from .fuzz_texts import SOURCES

        kind = random.choice(list(SOURCES))
        text = SOURCES[kind]
        if kind == "takeout" and random.random() < 0.5:
            return kind, mutated_json(text, random)
        if kind == "captions" and random.random() < 0.3:
            return kind, b"\n".join(mutated_json(line, random) for line in text.splitlines())
        return kind, mutated(text.encode(), random)

    def give(self, name: str, content: bytes, scratch: Path) -> Outcome:
        """Read it, and look for the date of a photo in it."""
        from interleave_index.ingest.file_dates import date_beside

        suffix = {"xmp": ".xmp", "takeout": ".json"}.get(name, ".txt")
        beside = scratch / f"a.jpg{suffix}"
        beside.write_bytes(content)
        found = date_beside(str(scratch / "a.jpg"))
        demand(found is None or found.tzinfo is None, f"time {found}")
        beside.unlink()
        return "taken" if check_source(name, content) else "refused"  # type: ignore[arg-type]  # a name of SOURCES


KINDS: dict[str, Kind] = {
    "images": Images(),
    "queries": Queries(),
    "checkpoints": Checkpoints(),
    "sidecars": Sidecars(),
}
