"""Reads photo packs: tar files of `KEY.jpg` directly followed by `KEY.json`, one pair a photo.

Knows records and geometry, nothing of models or SQL. A pack is read as a stream, so its size does not matter.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from ..errors import ImageUnreadable, InputError
from ..records import RGB, Box, Rle, Size


@dataclass(frozen=True, slots=True)
class PackRegion:
    """One annotated part of a pack's photo.

    Attributes:
        label: name of what it is, or None for a nameless piece of a partition.
        kind: ``instance``, ``stuff``, ``semantic``, ``segment``, ``box`` (no mask) or ``auto`` (made by a program).
        box: x0, y0, x1, y1, half-open, pixels of the stored photo.
        area: pixels of the mask; of the box where there is no mask.
        rle: mask at the size of the stored photo, or None.
        crowd: whether a group was drawn as one.
    """

    label: str | None
    kind: str
    box: Box
    area: float
    rle: Rle | None
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class PackPhoto:
    """One photo of a pack with everything that is known of it.

    Attributes:
        key: unique in its pack; also the name of its files.
        source: the data set it came from.
        jpeg: the encoded picture as stored.
        width, height: pixels of the stored picture.
        captions, labels: as written by the annotators, in their order; may be empty.
        regions: in the order of the pack; may be empty.
        regions_scope: what was annotated at all, in words, or None.
    """

    key: str
    source: str
    jpeg: bytes
    width: int
    height: int
    captions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    regions: tuple[PackRegion, ...] = ()
    regions_scope: str | None = None

    def rgb(self) -> RGB:
        """The decoded picture, (height, width, 3) uint8, freshly made.

        Raises:
            ImageUnreadable: the bytes are not a picture, or not one of the recorded size.
        """
        from ..ingest.decode import decode

        try:
            pixels = decode(self.jpeg).rgb
        except InputError as error:
            raise ImageUnreadable(f"photo {self.key} of the pack does not decode: {error}") from error
        if pixels.shape != (self.height, self.width, 3):
            raise ImageUnreadable(
                f"photo {self.key} of the pack is {pixels.shape[1]} x {pixels.shape[0]} pixels, "
                f"expected {self.width} x {self.height} as its record says; the pack is damaged"
            )
        return pixels


Photos: TypeAlias = Sequence[PackPhoto]  # in the order of their pack


def read_pack(path: Path) -> Iterator[PackPhoto]:
    """Stream the photos of one pack in their order.

    Args:
        path: a plain tar file.
    Yields:
        one PackPhoto a pair of files; pictures stay encoded until `rgb` is called.
    Raises:
        InputError: the file is missing, is no tar, ends early, holds a picture without its record or
            a record that cannot be understood. Photos before the damage have been given by then.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            yield from _pairs(tar, path)
            _check_end(tar, path)
    except OSError as error:
        raise InputError(f"pack {path} cannot be read: {error.strerror or error}") from error
    except tarfile.TarError as error:
        raise InputError(f"pack {path} is not a whole tar file: {error}; copy it again") from error


def _pairs(tar: tarfile.TarFile, path: Path) -> Iterator[PackPhoto]:
    seen: set[str] = set()
    files = (member for member in tar if member.isfile())
    for picture in files:
        name = PurePosixPath(picture.name)
        if name.suffix != ".jpg":
            raise _out_of_order(path, picture, "where a new KEY.jpg should begin")
        record = next(files, None)
        if record is None:
            raise InputError(f"pack {path} ends after {name.name}, expected {name.stem}.json; copy it again")
        if PurePosixPath(record.name).name != f"{name.stem}.json" or name.stem in seen:
            raise _out_of_order(path, record, f"after {name.name}")
        seen.add(name.stem)
        yield _photo(name.stem, _content(tar, picture, path), _content(tar, record, path), path)


def _out_of_order(path: Path, member: tarfile.TarInfo, where: str) -> InputError:
    expected = "expected KEY.jpg directly followed by KEY.json, each key once"
    return InputError(f"pack {path} holds {member.name} {where}, {expected}")


def _check_end(tar: tarfile.TarFile, path: Path) -> None:
    # tarfile takes a cut or overwritten header for the end of the file without a word
    stream = tar.fileobj
    if stream is not None:
        stream.seek(tar.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise InputError(
                f"pack {path} is damaged at byte {tar.offset}, expected a header or the end mark; copy it again"
            )


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> bytes:
    stream = tar.extractfile(member)
    content = stream.read() if stream else b""
    if len(content) != member.size:
        raise InputError(f"pack {path} ends inside {member.name}, {len(content)} of {member.size} bytes; copy it again")
    return content


def _photo(key: str, jpeg: bytes, text: bytes, path: Path) -> PackPhoto:
    try:
        record: dict[str, Any] = json.loads(text)
        if record["key"] != key:
            raise ValueError(f"key is {record['key']!r}")
        height, width = int(record["height"]), int(record["width"])
        return PackPhoto(
            key=key,
            source=str(record["source"]),
            jpeg=jpeg,
            width=width,
            height=height,
            captions=tuple(map(str, record.get("captions", ()))),
            labels=tuple(map(str, record.get("labels", ()))),
            regions=tuple(_region(region, (height, width)) for region in record.get("regions", ())),
            regions_scope=record.get("regions_scope"),
        )
    except KeyError as error:
        raise InputError(f"pack {path}: record {key}.json has no {error}; see docs/evaluate.md for the form") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"pack {path}: record {key}.json cannot be used: {error}") from error


def _region(region: dict[str, Any], size: Size) -> PackRegion:
    x, y, width, height = (float(value) for value in region["bbox"])
    rle = region.get("rle")
    if rle is not None and tuple(rle["size"]) != size:
        raise ValueError(f"a mask has size {rle['size']}, the photo {list(size)}")
    return PackRegion(
        label=region.get("label"),
        kind=str(region["kind"]),
        box=(x, y, x + width, y + height),
        area=float(region.get("area", width * height)),
        rle=Rle(size, str(rle["counts"])) if rle else None,
        crowd=bool(region.get("iscrowd", 0)),
    )
