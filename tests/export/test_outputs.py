"""The rule for outputs: what is never written over, what is written to, and what is left when something fails."""

import io
import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

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


def through(fifo, send):
    """The bytes that a reader of a new FIFO gets while `send` runs."""
    os.mkfifo(fifo)
    received = []
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()), daemon=True)
    reader.start()
    send()
    reader.join(10)
    assert stat.S_ISFIFO(fifo.stat().st_mode) and os.listdir(fifo.parent) == [fifo.name]
    return received[0]


def test_a_fifo_is_written_to(tmp_path):
    assert through(tmp_path / "pipe", lambda: write(tmp_path / "pipe")) == b"new"


@pytest.mark.parametrize("name", ["mask.png", "painted.jpg"])
def test_a_fifo_takes_a_picture(tmp_path, name):
    data = through(tmp_path / name, lambda: save_picture(PIXELS, tmp_path / name, "mask"))
    with Image.open(io.BytesIO(data)) as received:
        assert received.size == (6, 4)


def test_a_device_is_written_to():
    write("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.fixture
def in_memory():
    """A folder below /dev whose files are files like any other."""
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no /dev/shm here")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_below_dev_a_picture_is_a_picture_and_a_file_a_file(in_memory):
    photo, notes = in_memory / "photo.jpg", in_memory / "notes.json"
    Image.fromarray(PIXELS).save(photo)
    before = photo.read_bytes()
    with pytest.raises(InputError, match="never written over"):
        write(photo, overwrite=True)
    with pytest.raises(InputError, match="never written over"):
        save_picture(PIXELS, photo, "mask", overwrite=True)
    assert photo.read_bytes() == before
    write(notes, "before")
    with pytest.raises(InputError, match="exists already"):
        write(notes)
    write(notes, overwrite=True)
    assert notes.read_text() == "new"


TELL = """
import sys
from interleave_index.export.outputs import whole_file

print("first", flush=True)
with whole_file(sys.argv[1]) as out:
    out.write("second\\n")
print("third", flush=True)
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link", "linked/1", "log"])
def test_the_file_that_our_stdout_goes_to_is_added_to(tmp_path, name):
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "linked").symlink_to("/dev/fd")
    with open(tmp_path / "log", "ab") as log:
        subprocess.run([sys.executable, "-c", TELL, tmp_path / name], stdout=log, check=True)
    assert (tmp_path / "log").read_text().split() == ["first", "second", "third"]


@pytest.mark.parametrize("name", ["/dev/stdout", "log"])
def test_what_is_said_afterwards_is_not_written_over_it(tmp_path, name):
    with open(tmp_path / "log", "wb") as log:  # as a shell's > opens it, not its >>
        told = [sys.executable, "-c", TELL, tmp_path / name]
        subprocess.run(told, stdout=log, stderr=subprocess.STDOUT, check=True)
        subprocess.run([sys.executable, "-c", "print('fourth')"], stdout=log, check=True)
    assert (tmp_path / "log").read_text().split() == ["first", "second", "third", "fourth"]


def test_any_open_file_is_added_to_by_its_number(tmp_path):
    with open(tmp_path / "log", "ab", buffering=0) as log:
        log.write(b"first ")
        write(f"/dev/fd/{log.fileno()}", "second ")
        log.write(b"third")
    assert (tmp_path / "log").read_text() == "first second third"


def test_a_picture_is_not_added_to_either(tmp_path):
    photo = tmp_path / "photo.png"
    Image.fromarray(PIXELS).save(photo)
    before = photo.read_bytes()
    program = "import sys; from interleave_index.export.outputs import check_output; check_output(sys.argv[1])"
    with photo.open("ab") as log:
        done = subprocess.run([sys.executable, "-c", program, photo], stdout=log, stderr=subprocess.PIPE, text=True)
    assert "never written over" in done.stderr and photo.read_bytes() == before


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
