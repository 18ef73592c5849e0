"""Which files count as photos, and what is said of folders that could not be listed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from interleave_index.errors import InputError
from interleave_index.ingest.scan import Scanner

PNG = b"\x89PNG\r\n\x1a\n"


def put(folder, **contents):
    for name, data in contents.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def names(scanner, folder, *roots):
    found = [file.path for file in scanner.files(roots or [folder])]
    assert len(found) == len(set(found))
    return sorted(os.path.relpath(path, folder) for path in found)


def test_a_photo_is_what_has_the_name_or_the_content_of_one(tmp_path):
    put(
        tmp_path,
        a_dot_jpg=b"not a picture",
        b_dot_png=PNG,
        IMG_1234=PNG,
        c_dot_txt=PNG,
        e_dot_NEF=b"",
        d_dot_xmp=b"<x:xmpmeta/>",
        f_dot_json=b"{}",
        g_dot_txt=b"notes",
        h_dot_mp4=b"\0\0\0\x18ftypisom",
        i_dot_xmp=b"",
        sub__deeper__j_dot_jpeg=PNG,
    )
    assert names(Scanner(), tmp_path) == ["IMG_1234", "a.jpg", "b.png", "c.txt", "e.NEF", "sub/deeper/j.jpeg"]


def test_hidden_things_system_folders_and_indexes_are_passed_over_unless_they_are_roots(tmp_path):
    put(tmp_path, _dot_hidden_dot_jpg=PNG, _dot_trash__a_dot_jpg=PNG, __MACOSX=PNG)
    put(tmp_path, photos_dot_index__catalog_dot_sqlite=b"SQLite", photos_dot_index__thumbnails__a_dot_jpg=PNG)
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / "@eaDir" / "thumb.jpg").write_bytes(PNG)
    assert [n for n in names(Scanner(), tmp_path) if "MACOSX" not in n] == []
    assert names(Scanner(), tmp_path, tmp_path / ".trash", tmp_path / ".hidden.jpg") == [".hidden.jpg", ".trash/a.jpg"]


def test_links_are_followed_once_and_loops_end(tmp_path):
    put(tmp_path, a_folder__x_dot_jpg=PNG, z_folder__y_dot_jpg=PNG)
    (tmp_path / "a_folder" / "up").symlink_to(tmp_path)
    (tmp_path / "a_folder" / "other").symlink_to(tmp_path / "z_folder")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "broken.jpg").symlink_to("nowhere")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "z_folder" / "y.jpg")
    assert names(Scanner(), tmp_path) == ["a_folder/x.jpg", "z_folder/y.jpg"]


def test_what_lies_behind_a_link_is_listed_under_its_own_path_and_told_of(tmp_path):
    put(tmp_path, away__x_dot_jpg=PNG, far_dot_jpg=PNG)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "away")
    (tmp_path / "root" / "link.jpg").symlink_to(tmp_path / "far.jpg")
    outside: list[str] = []
    assert names(Scanner(on_outside=outside.append), tmp_path, tmp_path / "root") == ["away/x.jpg", "far.jpg"]
    assert outside == [str(tmp_path / "away"), str(tmp_path / "far.jpg")]


def test_a_root_that_is_a_link_gives_the_paths_behind_it_once(tmp_path):
    put(tmp_path, away__x_dot_jpg=PNG)
    (tmp_path / "link").symlink_to(tmp_path / "away")
    (tmp_path / "x.jpg").symlink_to(tmp_path / "link" / "x.jpg")
    roots = [tmp_path / "link", tmp_path / "away", tmp_path / "x.jpg"]
    outside: list[str] = []
    assert names(Scanner(on_outside=outside.append), tmp_path, *roots) == ["away/x.jpg"] and outside == []


def test_folders_are_listed_where_files_have_no_numbers(tmp_path, monkeypatch):
    put(tmp_path, a__x_dot_jpg=PNG, b__y_dot_jpg=PNG)
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    real = os.stat

    def unnumbered(path, **more):
        facts = real(path, **more)
        return os.stat_result((facts.st_mode, 0, *facts[2:]))

    monkeypatch.setattr(os, "stat", unnumbered)
    assert names(Scanner(), tmp_path) == ["a/x.jpg", "b/y.jpg"]


def test_roots_within_roots_give_each_path_once(tmp_path):
    put(tmp_path, a__x_dot_jpg=PNG, a__b__y_dot_jpg=PNG)
    roots = [tmp_path / "a" / "x.jpg", tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "y.jpg"]
    assert names(Scanner(), tmp_path, *roots) == ["a/b/y.jpg", "a/x.jpg"]
    assert names(Scanner(), tmp_path, *reversed(roots)) == ["a/b/y.jpg", "a/x.jpg"]


def test_a_root_that_is_a_file_counts_whatever_it_is_called(tmp_path):
    put(tmp_path, notes_dot_txt=b"text")
    assert names(Scanner(), tmp_path, tmp_path / "notes.txt") == ["notes.txt"]


def test_a_root_that_does_not_exist_is_an_error_before_anything_is_walked(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.*does not exist"):
        list(Scanner().files([tmp_path, tmp_path / "nowhere"]))


def test_a_folder_that_cannot_be_listed_is_remembered_with_the_systems_words(tmp_path, monkeypatch):
    put(tmp_path, a__x_dot_jpg=PNG, b__y_dot_jpg=PNG)
    real = os.scandir

    def refuse(folder):
        if os.fspath(folder).endswith("/a"):
            raise PermissionError(13, "Permission denied", folder)
        return real(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    scanner = Scanner()
    assert names(scanner, tmp_path) == ["b/y.jpg"]
    assert scanner.unlisted == {str(tmp_path / "a"): "permission denied"}


def test_names_of_any_kind_come_back_as_the_system_has_them(tmp_path):
    raw = [b"caf\xe9.jpg", "日本 🐕.jpg".encode(), b"x" * 246 + b".jpg", b"new\nline.jpg"]
    for name in raw:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(PNG)
    found = [os.path.basename(os.fsencode(file.path)) for file in Scanner().files([tmp_path])]
    assert sorted(found) == sorted(raw)


def test_pipes_and_sockets_are_no_photos(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert names(Scanner(), tmp_path) == []


def test_size_and_time_are_those_of_the_file(tmp_path):
    put(tmp_path, a_dot_jpg=PNG)
    os.utime(tmp_path / "a.jpg", ns=(5, 123456789))
    (file,) = Scanner().files([tmp_path])
    assert (file.bytes, file.mtime_ns) == (8, 123456789)


def test_what_an_index_keeps_is_never_a_photo_but_photos_beside_it_are(tmp_path):
    put(tmp_path, catalog_dot_sqlite=b"SQLite", thumbnails__ab__a_dot_jpg=PNG, faiss__b_dot_jpg=PNG, c_dot_jpg=PNG)
    put(tmp_path, in__catalog_dot_sqlite=b"SQLite", in__thumbnails__d_dot_jpg=PNG, in__e_dot_jpg=PNG)
    assert names(Scanner(), tmp_path) == ["c.jpg", "in/e.jpg"]
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "in")
    assert names(Scanner(), tmp_path / "root") == ["../in/e.jpg"]


def test_a_root_that_leads_nowhere_or_is_no_file_is_remembered_and_the_rest_is_listed(tmp_path):
    put(tmp_path, a__x_dot_jpg=PNG)
    (tmp_path / "drive").symlink_to(tmp_path / "not mounted")
    os.mkfifo(tmp_path / "pipe")
    scanner = Scanner()
    assert names(scanner, tmp_path, tmp_path / "a", tmp_path / "drive", tmp_path / "pipe") == ["a/x.jpg"]
    assert scanner.unlisted == {
        str(tmp_path / "drive"): "no such file",
        str(tmp_path / "pipe"): "neither a folder nor a regular file",
    }


class Shut:
    """An entry of a folder that may be listed but not entered."""

    name = "x.jpg"

    def __init__(self, path: Path, link: bool) -> None:
        self.path, self.link = str(path), link

    def is_symlink(self) -> bool:
        return self.link

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return False

    def stat(self) -> os.stat_result:
        raise PermissionError(13, "Permission denied", self.path)


@pytest.mark.parametrize(("link", "where"), [(False, "a"), (True, "a/x.jpg")])
def test_a_folder_whose_files_cannot_be_looked_at_counts_as_not_listed(link, where, tmp_path, monkeypatch):
    put(tmp_path, a__x_dot_jpg=PNG, b__y_dot_jpg=PNG)
    real = os.scandir

    def scandir(folder):
        if not os.fspath(folder).endswith("/a"):
            return real(folder)
        return contextlib.nullcontext([Shut(tmp_path / "a" / "x.jpg", link)])

    monkeypatch.setattr(os, "scandir", scandir)
    scanner = Scanner()
    assert names(scanner, tmp_path) == ["b/y.jpg"]
    assert scanner.unlisted == {str(tmp_path / where): "permission denied"}
