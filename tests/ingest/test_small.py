"""Thumbnails and perceptual hashes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from interleave_index.errors import ImageUnreadable
from interleave_index.ingest.decode import decode
from interleave_index.ingest.phash import distance, phash
from interleave_index.ingest.thumbnail import ensure_thumbnail, shrink, thumbnail_file, write_thumbnail
from interleave_index.storage.store import Store


def by_hand(rgb):
    """The hash by its definition: a DCT-II written out, 8 x 8 lowest frequencies against their median."""
    grey = np.asarray(Image.fromarray(rgb).convert("L").resize((32, 32), Image.Resampling.LANCZOS, reducing_gap=2.0))
    bits = []
    waves = [
        [
            sum(
                float(grey[y, x]) * np.cos(np.pi * v * (2 * y + 1) / 64) * np.cos(np.pi * u * (2 * x + 1) / 64)
                for y in range(32)
                for x in range(32)
            )
            for u in range(8)
        ]
        for v in range(8)
    ]
    middle = np.median(waves)
    for row in waves:
        bits += [int(value > middle) for value in row]
    return int("".join(map(str, bits)), 2)


def test_the_hash_is_the_one_of_its_definition(pictures):
    for number in (1, 2):
        assert phash(pictures.drawn(number)) == by_hand(pictures.drawn(number))


def blurred_noise(seed):
    """(480, 640, 3): as rich in low frequencies as a photo."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC))


def test_a_smaller_recompressed_copy_has_nearly_the_same_hash_and_another_picture_has_not():
    picture, other = (blurred_noise(seed) for seed in (1, 2))
    file = io.BytesIO()
    Image.fromarray(picture).resize((200, 150)).save(file, "JPEG", quality=40)
    copy = np.asarray(Image.open(file))
    assert distance(phash(picture), phash(copy)) <= 4
    assert distance(phash(picture), phash(other)) > 12
    assert 0 <= phash(picture) < 2**64


def test_a_thumbnail_keeps_the_aspect_and_is_never_larger_than_the_photo(pictures, tmp_path):
    file = tmp_path / "ab" / "abc.jpg"
    small = shrink(pictures.smooth((300, 600)), 128)
    assert small.size == (120, 60)
    write_thumbnail(file, small)
    written = decode(file).rgb.astype(int)
    assert np.abs(written - np.asarray(small)).mean() < 3
    assert [path.name for path in file.parent.iterdir()] == ["abc.jpg"]
    assert shrink(pictures.smooth(), 128).size == (64, 48)


def test_thumbnails_lie_where_the_store_looks_for_them(tmp_path):
    with Store.open(tmp_path / "index", create=True) as store:
        assert thumbnail_file(store.folder / "thumbnails", "ab" * 32) == store.thumbnail_path("ab" * 32)


def test_a_lost_thumbnail_is_made_again_from_the_original_and_one_that_is_there_is_not_touched(pictures, tmp_path):
    original = tmp_path / "photo.png"
    original.write_bytes(pictures.encoded(pictures.smooth((300, 600)), "PNG"))
    file = thumbnail_file(tmp_path / "thumbnails", "ab" * 32)
    assert decode(ensure_thumbnail(file, original, max_pixels=10**6, long_side=100)).rgb.shape == (50, 100, 3)
    original.unlink()
    assert ensure_thumbnail(file, original, max_pixels=10**6, long_side=100) == file
    file.unlink()
    with pytest.raises(ImageUnreadable, match="no such file"):
        ensure_thumbnail(file, original, max_pixels=10**6, long_side=100)
