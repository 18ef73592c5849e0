"""Groups of photos of a library that look the same at a glance, found by their perceptual hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..records.duplicates import Copy, Duplicates
from ..storage.backend import load_faiss
from ..storage.copies import PhotoCopies
from .stacks import ALIKE, ASPECT

AT_A_TIME = 4096  # photos that are looked up at a time
_TABLES, _BITS = 4, 16  # of 64 bits in four blocks of which at most 6 differ, one block differs in at most one bit


def exact(photos: Sequence[PhotoCopies]) -> list[Duplicates]:
    """Photos with several files, by the path of the one to keep."""
    groups = [Duplicates("exact", photo.copies[0], photo.copies[1:]) for photo in photos if len(photo.copies) > 1]
    return sorted(groups, key=lambda group: group.kept.path)


def near(photos: Sequence[PhotoCopies], progress: Callable[[int, int], None] | None = None) -> list[Duplicates]:
    """Photos that look like another one, which is to be kept, by the path of that one.

    Hashes differ in at most `ALIKE` bits and aspects by at most a share of `ASPECT`, as in stacks of hits; no photo is
    in two groups. Photos without a hash take no part.

    Args:
        photos: with at least one file each.
        progress: called with photos done and photos in all.
    Raises:
        BackendMissing: faiss is not installed.
    """
    hashed = [photo for photo in photos if photo.phash is not None]
    hashed.sort(key=lambda photo: _worth(photo.copies[0]), reverse=True)
    files = [photo.copies[0] for photo in hashed]
    aspects = np.log([max(file.width, 1) / max(file.height, 1) for file in files])
    taken = np.zeros(len(files), bool)
    groups = []
    hashes = np.array([photo.phash for photo in hashed], np.uint64)
    for number, alike in enumerate(_neighbours(hashes)):
        if progress is not None and number % AT_A_TIME == 0:
            progress(number, len(files))
        if taken[number]:
            continue
        taken[number] = True
        alike = alike[~taken[alike] & (np.abs(aspects[alike] - aspects[number]) <= ASPECT)]
        if alike.size:
            taken[alike] = True
            others = sorted((files[other] for other in alike.tolist()), key=lambda file: file.path)
            groups.append(Duplicates("near", files[number], tuple(others)))
    return sorted(groups, key=lambda group: group.kept.path)


def _worth(file: Copy) -> tuple[int, int, int]:
    return file.width * file.height, file.bytes, -file.photo_id


def _neighbours(hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """For each hash in order the places of all hashes that differ from it in at most `ALIKE` bits."""
    if not hashes.size:
        return
    index = load_faiss().IndexBinaryMultiHash(64, _TABLES, _BITS)
    index.nflip = 1
    codes = np.ascontiguousarray(hashes).view(np.uint8).reshape(-1, 8)
    index.add(codes)
    for start in range(0, len(codes), AT_A_TIME):
        limits, _, found = index.range_search(codes[start : start + AT_A_TIME], ALIKE + 1)  # the radius is exclusive
        for begin, end in zip(limits[:-1].tolist(), limits[1:].tolist(), strict=True):
            yield found[begin:end]
