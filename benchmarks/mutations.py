"""Changes that break files: of their bytes, and of their structure. Knows bytes and JSON values, and no reader of them.

Everything is drawn from the `random.Random` that is given, so that a seed gives the same file again.
"""

from __future__ import annotations

import contextlib
import copy
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

Order = Literal["big", "little"]
Part = tuple[int, int]  # from, up to
Number = tuple[int, int, Order]  # where, bytes, order

PNG, TIFF_LITTLE, TIFF_BIG = b"\x89PNG\r\n\x1a\n", b"II", b"MM"
TIFF_NUMBERS = (b"*\0", b"\0*", b"+\0", b"\0+", b"RO", b"RS", b"U\0", b"OR")
BOXES_OF_BOXES = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"moov": 0, b"trak": 0}  # bytes before the first box inside
BMP_NUMBERS = ((2, 4), (10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 4), (34, 4), (46, 4))
GIF_NUMBERS = ((6, 2), (8, 2), (10, 1))
TEXT_PIECES: tuple[bytes, ...] = (
    *(b"<", b">", b"&", b"![", b"](", b"*", b"`", b"\n\n", b"\0", b"\xff", b"\xed\xa0\x80", b'"', b"{", b"[", b"\\u"),
    *(b"../", b"<!--", b"<![CDATA[", b"<!DOCTYPE a [", b"<div>", b"</p>", b"&#xFFFC;", b"&#0;", b"\xef\xbf\xbc"),
    *(b"---\n", b"|", b"\t"),
)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 1000, 10**6, 10**9, 2**63, 10**40, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "x", "NaN", "../../x", "\0", "\ud800", "é" * 5000, "1" * 5000, "float16", "clip", "find-published"),
    *([], {}, [None], [[]], [0] * 5000, {"": {}}, {"a": [1, "b"]}),
)
HARMFUL_KEYS = ("auto_map", "quantization_config", "model_type", "architectures", "torch_dtype", "_attn_implementation")


@dataclass(slots=True)
class Layout:
    """What of a file can be changed as a whole.

    Attributes:
        parts: chunks, segments, boxes or entries.
        numbers: lengths, counts, offsets and sizes.
    """

    parts: list[Part] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)


def mutated(data: bytes, random: Random, pieces: Sequence[bytes] = TEXT_PIECES) -> bytes:
    """One to eight changes: bytes set, cut, doubled, put in, or exchanged with another place."""
    for _ in range(random.randint(1, 8)):
        at, to = sorted((random.randint(0, len(data)), random.randint(0, len(data))))
        kind = random.randrange(5)
        if kind == 0:
            data = data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[min(to, at + 40) :]
        elif kind == 2:
            data = data[:to] + data[at : min(to, at + 200)] * random.randint(1, 19) + data[to:]
        elif kind == 3:
            data = data[:at] + random.choice(pieces) * random.randint(1, 59) + data[at:]
        else:
            data = data[to:] + data[at:to] + data[:at]
    return data


def mutated_file(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """A binary file with one to four changes of its structure or its bytes.

    Args:
        others: files from which parts are taken and that are joined with it.
    """
    for _ in range(random.choice((1, 1, 2, 4))):
        layout = layout_of(data)
        change = random.randrange(8)
        if change <= 2 and layout.numbers:
            for number in random.sample(layout.numbers, min(len(layout.numbers), random.randint(1, 3))):
                data = with_huge_number(data, random, number)
        elif change == 3 and layout.parts:
            data = with_other_parts(data, random, layout.parts, random.choice(others))
        elif change == 4:
            data = data[: random.randint(0, len(data))]
        elif change == 5:
            other = random.choice(others)
            data = data[: random.randint(1, max(1, len(data)))] + other[random.randint(0, len(other)) :]
        elif change == 6:
            data = flipped(data, random)
        else:
            data = mutated(data, random, pieces=(b"\0", b"\xff", b"\xff\xd8\xff", b"\x80", b"\x7f\xff\xff\xff"))
    return with_sums(data) if data.startswith(PNG) and random.random() < 0.7 else data


def flipped(data: bytes, random: Random) -> bytes:
    """Some bits turned over, half the time all of them near the beginning."""
    if not data:
        return data
    changed = bytearray(data)
    end = len(data) if random.random() < 0.5 else min(len(data), 256)
    for _ in range(random.choice((1, 2, 8, 64))):
        changed[random.randrange(end)] ^= 1 << random.randrange(8)
    return bytes(changed)


def with_huge_number(data: bytes, random: Random, number: Number) -> bytes:
    """A number of a file set to the largest, to one near a limit, or to another that means nothing there."""
    at, width, order = number
    top = (1 << 8 * width) - 1
    value = random.choice(
        (0, 1, 2, 255, 14_000, 65_535, top >> 1, (top >> 1) + 1, top - 8, top, random.randint(0, top))
    )
    return data[:at] + min(value, top).to_bytes(width, order) + data[at + width :]


def with_other_parts(data: bytes, random: Random, parts: Sequence[Part], other: bytes) -> bytes:
    """Parts exchanged, left out, repeated, or followed by one of another file."""
    start, end = random.choice(parts)
    kind = random.randrange(4)
    if kind == 0:
        first, second = sorted((random.choice(parts), (start, end)))
        if first[1] > second[0]:  # one holds the other
            return data[: first[0]] + data[first[1] :]
        between = data[first[1] : second[0]]
        return data[: first[0]] + data[slice(*second)] + between + data[slice(*first)] + data[second[1] :]
    if kind == 1:
        return data[:start] + data[end:]
    if kind == 2:
        return data[:start] + data[start:end] * random.choice((2, 3, 50)) + data[end:]
    foreign = layout_of(other).parts
    return data[:end] + (other[slice(*random.choice(foreign))] if foreign else other[:64]) + data[end:]


# --- where parts and numbers lie -----------------------------------------------------------------


def layout_of(data: bytes) -> Layout:
    """Parts and numbers of a file, by its first bytes; none where its kind is not known or its end comes too soon."""
    layout = Layout()
    with contextlib.suppress(struct.error, IndexError):  # an earlier change cut it off: what was found is used
        _fill(layout, data)
    numbers = [number for number in layout.numbers if number[0] + number[1] <= len(data)]
    return Layout([part for part in layout.parts if part[0] < part[1] <= len(data)], numbers)


def _fill(layout: Layout, data: bytes) -> None:
    if data.startswith(PNG):
        _chunks(layout, data, 8, ">I4s", 12)
        layout.numbers += [(16, 4, "big"), (20, 4, "big"), (24, 1, "big"), (25, 1, "big")]
    elif data.startswith(b"\xff\xd8"):
        _segments(layout, data)
    elif data.startswith(b"RIFF"):
        layout.numbers.append((4, 4, "little"))
        _chunks(layout, data, 12, "<4sI", 8)
        layout.numbers += [(24, 3, "little"), (27, 3, "little")]
    elif data[4:8] == b"ftyp" or data[4:8] == b"JXL ":
        _boxes(layout, data, 0, len(data))
    elif data[:2] in (TIFF_LITTLE, TIFF_BIG) and data[2:4] in TIFF_NUMBERS:
        _entries(layout, data, "little" if data[:2] == TIFF_LITTLE else "big")
    elif data.startswith(b"BM"):
        layout.numbers += [(at, width, "little") for at, width in BMP_NUMBERS]
    elif data.startswith(b"GIF8"):
        layout.numbers += [(at, width, "little") for at, width in GIF_NUMBERS]


def _chunks(layout: Layout, data: bytes, at: int, head: str, around: int) -> None:
    """Chunks with their length at their head, as of PNG and RIFF; those of RIFF have even lengths."""
    while at + 8 <= len(data):
        found = struct.unpack_from(head, data, at)
        length = next(value for value in found if isinstance(value, int))
        layout.numbers.append((at, 4, "big") if head[0] == ">" else (at + 4, 4, "little"))
        end = at + around + length + (length % 2 if head[0] == "<" else 0)
        layout.parts.append((at, min(end, len(data))))
        at = end


def _segments(layout: Layout, data: bytes) -> None:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        layout.parts.append((at, at + 2 + length))
        layout.numbers.append((at + 2, 2, "big"))
        if 0xC0 <= data[at + 1] <= 0xC3:
            layout.numbers += [(at + 5, 2, "big"), (at + 7, 2, "big"), (at + 9, 1, "big")]
        if data[at + 1] == 0xDA:
            layout.parts.append((at + 2 + length, len(data)))
            return
        if data[at + 4 : at + 8] == b"Exif":
            order: Order = "little" if data[at + 10 : at + 12] == TIFF_LITTLE else "big"
            inside = Layout()
            _entries(inside, data[at + 10 : at + 2 + length], order)
            layout.numbers += [(where + at + 10, width, ends) for where, width, ends in inside.numbers]
        at += 2 + length


def _boxes(layout: Layout, data: bytes, at: int, end: int) -> None:
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, at)
        layout.parts.append((at, min(at + max(length, 8), len(data))))
        layout.numbers.append((at, 4, "big"))
        if kind == b"ispe":
            layout.numbers += [(at + 12, 4, "big"), (at + 16, 4, "big")]
        elif kind in (b"iloc", b"iinf", b"pitm", b"ipma", b"iref", b"colr", b"pixi"):
            layout.numbers += [(at + 8 + step, 2, "big") for step in range(0, min(max(length - 8, 0), 64), 2)]
        elif kind in BOXES_OF_BOXES:
            _boxes(layout, data, at + 8 + BOXES_OF_BOXES[kind], min(at + length, end))
        if length < 8:
            return
        at += length


def _entries(layout: Layout, data: bytes, order: Order) -> None:
    """Entries of a TIFF's directories, one directory behind another."""
    layout.numbers.append((4, 4, order))
    at = int.from_bytes(data[4:8], order)
    for _ in range(4):
        if not 8 <= at <= len(data) - 2:
            return
        layout.numbers.append((at, 2, order))
        count = int.from_bytes(data[at : at + 2], order)
        for entry in range(at + 2, min(at + 2 + 12 * count, len(data) - 12), 12):
            layout.parts.append((entry, entry + 12))
            layout.numbers += [(entry, 2, order), (entry + 2, 2, order), (entry + 4, 4, order), (entry + 8, 4, order)]
        behind = at + 2 + 12 * count
        layout.numbers.append((behind, 4, order))
        at = int.from_bytes(data[behind : behind + 4], order)


def with_sums(data: bytes) -> bytes:
    """A PNG whose chunks have the right checksums, so that a change is not found by them alone."""
    changed = bytearray(data)
    at = len(PNG)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            break
        changed[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(changed)


# --- JSON -----------------------------------------------------------------------------------------


def mutated_json(text: str, random: Random) -> bytes:
    """A JSON text with one to three values changed, left out, renamed or added, as bytes; sometimes cut or flipped."""
    if random.random() < 0.15:
        return mutated(text.encode(), random)
    value = json.loads(text)
    for _ in range(random.choice((1, 1, 2, 3))):
        value = _changed(value, random)
    written = json.dumps(value) if random.random() < 0.95 else "[" * 100_000
    return written.encode("utf-8", "surrogatepass")


def _changed(value: Any, random: Random) -> Any:
    places = list(_places(value))
    if not places:
        return _odd(random)
    holder, key = random.choice(places)
    kind = random.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[random.choice((*HARMFUL_KEYS, str(key) + "x"))] = (
            holder.pop(key) if random.random() < 0.5 else _odd(random)
        )
    elif kind == 2 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        holder[key] *= random.choice((-1, 0, 2, 3, 10, 1000, 10**6))
    elif kind == 3:
        another, place = random.choice(places)
        holder[key] = copy.deepcopy(another[place])
    else:
        holder[key] = _odd(random)
    return value


def _odd(random: Random) -> Any:
    return copy.deepcopy(random.choice(ODD_VALUES))


def _places(value: Any) -> Any:
    """Every value inside a value, as what holds it and its key there."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)
