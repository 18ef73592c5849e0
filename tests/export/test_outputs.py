"""The rule for outputs: what is never written over, what is written to, and what is left when something fails."""

import os
import stat
import threading

import numpy as np
import pytest
from PIL import Image

from interleave_index.errors import InputError
from interleave_index.export.outputs import check_folder, check_output, made_folder, save_picture, whole_file
from interleave_index.marks import is_marked_file

PIXELS = np.zeros((4, 6, 3), np.uint8)


def write(path, text="new", **options):
    with whole_file(path, **options) as out:
        out.write(text)


def test_a_file_appears_only_when_its_block_ends_well(tmp_path):
    target = tmp_path / "out.json"
    with whole_file(target) as out:
        out.write("one")
        assert not target.exists()
    with pytest.raises(KeyError), whole_file(target, overwrite=True) as out:
        out.write("two")
        raise KeyError
    assert target.read_text() == "one"
    assert os.listdir(tmp_path) == ["out.json"]


def test_a_file_that_is_there_is_written_over_only_when_asked_and_keeps_its_permissions(tmp_path):
    target = tmp_path / "own.json"
    target.write_text("before")
    target.chmod(0o600)
    with pytest.raises(InputError, match=r"exists already.*overwrite"):
        write(target)
    assert target.read_text() == "before"
    write(target, overwrite=True)
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.tif", "photo-without-ending"])
def test_a_picture_is_never_written_over(tmp_path, name):
    target = tmp_path / name
    Image.fromarray(PIXELS).save(target, format="TIFF" if name.endswith("tif") else "PNG")
    before = target.read_bytes()
    with pytest.raises(InputError, match="never written over"):
        write(target, overwrite=True)
    with pytest.raises(InputError, match="never written over"):
        save_picture(PIXELS, target, "mask", overwrite=True)
    assert target.read_bytes() == before


def test_a_link_to_a_picture_protects_the_picture(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    (tmp_path / "link").symlink_to("photo.png")
    with pytest.raises(InputError, match="never written over"):
        write(tmp_path / "link", overwrite=True)


def test_a_link_stays_a_link_and_what_it_points_to_is_written(tmp_path):
    (tmp_path / "real.json").write_text("before")
    (tmp_path / "link").symlink_to("real.json")
    (tmp_path / "dangling").symlink_to("later.json")
    write(tmp_path / "link")
    write(tmp_path / "dangling")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "dangling").is_symlink()
    assert (tmp_path / "real.json").read_text() == (tmp_path / "later.json").read_text() == "new"


def test_a_fifo_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_text()))
    reader.start()
    write(tmp_path / "pipe")
    reader.join(10)
    assert received == ["new"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_device_is_written_to():
    write("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_folder_is_no_file_and_no_parent_folder_is_made(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        write(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        write(tmp_path / "absent" / "out.json")
    with pytest.raises(InputError, match="no folder"):
        made_folder(tmp_path / "absent" / "masks")
    assert os.listdir(tmp_path) == []


def test_the_folder_that_is_named_for_pictures_is_made(tmp_path):
    assert made_folder(tmp_path / "masks").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        check_folder(tmp_path / "file")


def test_what_belongs_to_the_index_is_refused_by_either_name(tmp_path):
    (tmp_path / "link").symlink_to("secret")
    for name in ("secret", "link"):
        with pytest.raises(InputError, match="belongs to the index"):
            check_output(tmp_path / name, overwrite=True, protected=lambda path: path.name == "secret")


@pytest.mark.parametrize("name", ["mask.png", "painted.jpg"])
def test_pictures_of_ours_carry_a_mark_and_may_be_written_over_when_asked(tmp_path, name):
    assert is_marked_file(save_picture(PIXELS, tmp_path / name, "mask"))
    with pytest.raises(InputError, match="exists already"):
        save_picture(PIXELS, tmp_path / name, "mask")
    save_picture(PIXELS, tmp_path / name, "mask", overwrite=True)
    with Image.open(tmp_path / name) as written:
        assert written.size == (6, 4)


def test_the_home_folder_is_meant_by_its_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write("~/out.json")
    assert (tmp_path / "out.json").read_text() == "new"
