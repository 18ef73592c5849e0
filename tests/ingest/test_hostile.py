"""A folder of everything that has ever broken an indexer: the run ends well, and every failure says why."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from interleave_index.ingest.decode import read_file

NAMES = [
    b"caf\xe9.png",
    b"-[quoted].png",
    b"#;%20.png",
    "日本 🐕 \u202e.png".encode(),
    b"x" * 246 + b".png",
    b"new\nline.png",
]


def path_of(folder, name):
    return Path(os.fsdecode(os.fsencode(folder) + b"/" + name))


def header_of_a_monster():
    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + b"IHDR"
        + head
        + struct.pack(">I", zlib.crc32(b"IHDR" + head))
        + struct.pack(">I", 10)
        + b"IDAT"
        + bytes(14)
    )


def test_hostile_files_become_failures_with_reasons_and_the_rest_is_taken_in(library, pictures, monkeypatch):
    jpeg = pictures.encoded(pictures.drawn(1, (240, 320)), "JPEG")
    hostile = {
        "empty.jpg": (b"", "ImageUnreadable", "empty"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "ImageUnreadable", "cut off"),
        "monster.png": (header_of_a_monster(), "ImageTooLarge", "50000 x 50000"),
        "text.jpg": (b"Dear diary, today I was a picture.", "ImageUnreadable", "not a picture"),
        "noise.heic": (np.random.default_rng(0).bytes(4000), "ImageUnreadable", "not a picture"),
        "zeros.png": (b"\x89PNG\r\n\x1a\n" + bytes(500), "ImageUnreadable", "PNG"),
    }
    for name, (data, _, _) in hostile.items():
        library.put(name, data)
    library.put("secret.jpg", jpeg + b"different content")
    real = read_file

    def refuse(path):
        if path.endswith("secret.jpg"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    # Tests may run as root, whom no file refuses.
    monkeypatch.setattr("interleave_index.ingest.decode_task.read_file", refuse)
    library.put("broken exif.jpg", pictures.encoded(pictures.drawn(2), "JPEG", exif=b"Exif\0\0MM\0*" + b"\xff" * 60))
    (library.folder / "loop").symlink_to(library.folder)
    (library.folder / "self.jpg").symlink_to("self.jpg")
    for sidecar in ("a.xmp", "b.json", "c.txt", "d.mp4"):
        library.put(sidecar, b"\0\0\0\x18ftypisom" if sidecar == "d.mp4" else b"beside a photo")
    for number, odd in enumerate(NAMES):
        path_of(library.folder, odd).write_bytes(pictures.encoded(pictures.drawn(100 + number), "PNG"))
    report = library.ingest()
    assert library.counts(report) == {"added": 1 + len(NAMES), "failed": len(hostile) + 1}
    failures = {os.path.basename(failure.path): failure for failure in report.failed}
    for name, (_, reason, words) in hostile.items():
        assert failures[name].reason == reason and words in failures[name].detail
    assert failures["secret.jpg"].detail == "file cannot be read: permission denied"
    monkeypatch.undo()
    again = library.ingest()
    assert (again.added, again.present, len(again.failed)) == (1, 1 + len(NAMES), len(hostile))
    assert all(check.ok for check in library.store.verify())
    for odd in NAMES:
        photo = library.store.photo_by_path(path_of(library.folder, odd))
        assert os.path.basename(os.fsencode(photo.path)) == odd


def test_the_same_hostile_files_do_no_harm_to_worker_processes(library, pictures):
    jpeg = pictures.encoded(pictures.drawn(1, (240, 320)), "JPEG")
    for name, data in {"empty.jpg": b"", "cut.jpg": jpeg[:900], "monster.png": header_of_a_monster()}.items():
        library.put(name, data)
    path_of(library.folder, b"caf\xe9.png").write_bytes(pictures.encoded(pictures.drawn(3), "PNG"))
    report = library.ingest(workers=1)
    assert library.counts(report) == {"added": 1, "failed": 3}


def test_one_photo_in_all_eight_orientations_gives_one_embedding(library, pictures):
    upright = pictures.drawn(4, (240, 320))
    turns = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    for orientation, turn in turns.items():
        image = Image.fromarray(upright)
        exif = Image.Exif()
        exif[0x0112] = orientation
        (image if turn is None else image.transpose(turn)).save(
            library.put(f"{orientation}.jpg", b""), "JPEG", quality=92, exif=exif
        )
    library.ingest()
    space_id, _ = library.store.active_space()
    ids = [library.store.photo_by_path(library.folder / f"{n}.jpg").id for n in turns]
    vectors = library.store.vectors(space_id, ids)
    assert len(set(vectors.photo_ids.tolist())) == 8
    assert (vectors.image @ vectors.image.T).min() >= 0.999
