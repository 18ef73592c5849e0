"""The reader of photo packs, on packs made here byte by byte."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interleave_index.errors import ImageUnreadable, InputError
from interleave_index.evaluation.packs import read_pack
from interleave_index.geometry import encode_rle

MASK = np.zeros((4, 6), bool)
MASK[1:3, 2:5] = True


def _jpeg(width: int = 6, height: int = 4) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (220, 40, 40)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def _record(key: str = "one") -> dict[str, object]:
    return {
        "key": key,
        "source": "drawn",
        "orig": "x.jpg",
        "width": 6,
        "height": 4,
        "aspect": "squashed",
        "captions": ["A red thing."],
        "labels": ["thing"],
        "regions_scope": "everything",
        "regions": [
            {
                "label": "thing",
                "kind": "instance",
                "bbox": [2, 1, 3, 2],
                "area": 6,
                "iscrowd": 1,
                "rle": encode_rle(MASK).to_json(),
            },
            {"label": "thing", "kind": "box", "bbox": [0, 0, 2.5, 2]},
        ],
    }


def _tar(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def _whole(path: Path) -> Path:
    return _tar(
        path,
        ("one.jpg", _jpeg()),
        ("one.json", json.dumps(_record()).encode()),
        ("two.jpg", _jpeg()),
        ("two.json", json.dumps(_record("two")).encode()),
    )


def test_a_pair_becomes_one_photo_with_half_open_boxes_masks_and_crowd_flags(tmp_path: Path) -> None:
    photo, other = read_pack(_whole(tmp_path / "p.tar"))
    assert (photo.key, other.key, photo.source, photo.captions, photo.labels) == (
        "one",
        "two",
        "drawn",
        ("A red thing.",),
        ("thing",),
    )
    assert photo.regions_scope == "everything"
    thing, box = photo.regions
    assert thing.box == (2, 1, 5, 3) and thing.area == 6 and thing.crowd and thing.rle is not None
    assert np.array_equal(thing.rle.decode(), MASK)
    assert box.box == (0, 0, 2.5, 2) and box.area == 5 and box.rle is None and not box.crowd
    assert photo.rgb().shape == (4, 6, 3) and abs(int(photo.rgb()[0, 0, 0]) - 220) < 6


def test_a_pack_is_read_as_a_stream_so_the_first_photo_comes_before_the_damage(tmp_path: Path) -> None:
    whole = _whole(tmp_path / "p.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 3])
    photos = read_pack(tmp_path / "cut.tar")
    assert next(photos).key == "one"
    with pytest.raises(InputError, match="copy it again"):
        list(photos)


@pytest.mark.parametrize("share", np.linspace(0.01, 0.55, 23))
def test_a_pack_cut_anywhere_before_its_end_is_an_error(tmp_path: Path, share: float) -> None:
    pairs = [
        (f"{key}.{kind}", _jpeg() if kind == "jpg" else json.dumps(_record(key)).encode())
        for key in "abcdefgh"
        for kind in ("jpg", "json")
    ]
    whole = _tar(tmp_path / "p.tar", *pairs).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError):
        list(read_pack(tmp_path / "cut.tar"))


@pytest.mark.parametrize(
    "members, words",
    [
        ([("one.jpg", b"x")], "ends after one.jpg"),
        ([("one.json", b"{}")], "KEY.jpg directly followed by KEY.json"),
        ([("one.jpg", b"x"), ("two.json", b"{}")], "two.json after one.jpg"),
        ([("one.jpg", b"x"), ("one.json", b"{")], "one.json cannot be used"),
        ([("one.jpg", b"x"), ("one.json", b'{"key": "one"}')], "has no 'height'"),
        ([("one.jpg", b"x"), ("one.json", b'{"key": "other"}')], "key is 'other'"),
        ([("one.jpg", b"x"), ("one.json", json.dumps({**_record(), "height": 5}).encode())], "a mask has size"),
        ([("one.jpg", b"x"), ("one.json", json.dumps(_record()).encode())] * 2, "each key once"),
    ],
)
def test_a_pack_out_of_order_says_which_file_is_wrong(
    tmp_path: Path, members: list[tuple[str, bytes]], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        list(read_pack(_tar(tmp_path / "p.tar", *members)))


def test_a_missing_file_and_a_file_that_is_no_tar_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        list(read_pack(tmp_path / "none.tar"))
    (tmp_path / "text.tar").write_text("hello" * 300)
    with pytest.raises(InputError, match="not a whole tar"):
        list(read_pack(tmp_path / "text.tar"))


def test_a_picture_that_is_damaged_or_of_another_size_is_unreadable(tmp_path: Path) -> None:
    record = json.dumps(_record()).encode()
    (broken,) = read_pack(_tar(tmp_path / "a.tar", ("one.jpg", _jpeg()[:60]), ("one.json", record)))
    with pytest.raises(ImageUnreadable, match="does not decode"):
        broken.rgb()
    (other,) = read_pack(_tar(tmp_path / "b.tar", ("one.jpg", _jpeg(8, 4)), ("one.json", record)))
    with pytest.raises(ImageUnreadable, match="8 x 4 pixels"):
        other.rgb()
