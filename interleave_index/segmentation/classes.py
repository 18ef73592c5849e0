"""The classes that photos are segmented into: COCO's own, those of a file, or those of a model. Knows files of classes.

A thing is countable, and each one is a segment; stuff such as sky is one segment a photo.
"""

from __future__ import annotations

import colorsys
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..regular import open_regular

COCO_FILE = "coco_panoptic.json"
HEADS = {"things:": True, "stuff:": False}  # lines of a plain list of classes
GOLDEN = 0.618034  # of a turn of the colour circle: numbers that follow each other get colours far apart
MOST_CLASSES = 10_000
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class SegmentClass:
    """One class.

    Attributes:
        id: as files of segments have it, 1 or more.
        name: as files of segments have it.
        words: what a model that reads text is asked for.
        thing: whether it is countable.
        colour: RGB, of its segments.
    """

    id: int
    name: str
    words: str
    thing: bool
    colour: Colour


@cache
def coco_classes() -> tuple[SegmentClass, ...]:
    """The 133 classes of COCO's panoptic task with their ids and colours, asked for in plain words."""
    rows = json.loads(files(__package__).joinpath(COCO_FILE).read_text("utf-8"))
    return tuple(
        SegmentClass(row["id"], row["name"], row["words"], bool(row["isthing"]), tuple(row["color"])) for row in rows
    )


def named_classes(names: Sequence[str]) -> tuple[SegmentClass, ...]:
    """Classes of a model that brings its own, numbered from 1; stuff are those that COCO calls so.

    >>> [(one.id, one.thing) for one in named_classes(["cat", "sky-other-merged", "wall"])]
    [(1, True), (2, False), (3, False)]
    """
    stuff = {name for one in coco_classes() if not one.thing for name in (one.name, one.words)}
    return tuple(
        SegmentClass(number, name, name, name.lower() not in stuff, _colour(number))
        for number, name in enumerate(names, 1)
    )


def read_classes(path: Path | str) -> tuple[SegmentClass, ...]:
    """The classes that a file lists.

    Args:
        path: a plain list, one class a line, all things but those below a line ``stuff:``; or JSON of COCO's
            ``categories``, alone or in a file that has them: ``name``, and where given ``id``, ``isthing``, ``color``
            and ``words``, which a model that reads text is asked for in place of the name.
    Raises:
        InputError: it cannot be read, lists none, or one twice.
    """
    try:
        with open_regular(path) as file:
            text = file.read().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"classes {path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"classes {path} are no UTF-8 text, expected a name a line, or JSON") from error
    found = _of_json(text, path) if text.lstrip().startswith(("[", "{")) else _of_lines(text)
    if not 0 < len(found) <= MOST_CLASSES:
        raise InputError(f"classes {path} lists {len(found)} classes, expected 1 to {MOST_CLASSES}, a name a line")
    for what, values in (("name", [one.name for one in found]), ("id", [str(one.id) for one in found])):
        if twice := [value for value, count in Counter(values).items() if count > 1]:
            raise InputError(f"classes {path} has the {what} {twice[0]} twice, expected each once")
    return found


def _of_lines(text: str) -> tuple[SegmentClass, ...]:
    found: list[SegmentClass] = []
    thing = True
    for line in text.splitlines():
        name = " ".join(line.split())
        if name.lower() in HEADS:
            thing = HEADS[name.lower()]
        elif name:
            number = len(found) + 1
            found.append(SegmentClass(number, name, name, thing, _colour(number)))
    return tuple(found)


def _of_json(text: str, path: Path | str) -> tuple[SegmentClass, ...]:
    try:
        content = json.loads(text)
        rows = content["categories"] if isinstance(content, dict) else content
        return tuple(_of_row(row, number) for number, row in enumerate(rows, 1))
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"classes {path} are not of the form of COCO's categories: {why}, expected objects with a name"
        ) from error


def _of_row(row: dict[str, Any], number: int) -> SegmentClass:
    name = str(row["name"])
    made = SegmentClass(int(row.get("id", number)), name, str(row.get("words", name)), True, _colour(number))
    if made.id < 1:
        raise ValueError(f"id is {made.id}")
    if "color" in row:
        red, green, blue = (int(value) % 256 for value in row["color"])
        made = replace(made, colour=(red, green, blue))
    return replace(made, thing=bool(row.get("isthing", True)))


def _colour(number: int) -> Colour:
    """A colour of its own for class `number`, neither dark nor pale."""
    saturation, value = 0.55 + 0.4 * (number % 2), 0.65 + 0.15 * (number % 3)
    red, green, blue = colorsys.hsv_to_rgb(number * GOLDEN % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
