"""A file is replaced whole, by a draft of which nothing is left."""

import json
import os
import stat
import threading

import pytest

from interleave_index.config import Config, keep_config
from interleave_index.ingest.thumbnail import write_thumbnail
from interleave_index.interface.find_mini.bundle import save_curves
from interleave_index.whole_files import replaced


def test_the_old_content_stays_until_the_block_ends(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with replaced(target) as draft:
        draft.write_text("new")
        assert target.read_text() == "old" and draft.parent == tmp_path
    assert target.read_text() == "new" and os.listdir(tmp_path) == ["file"]


def test_permissions_are_kept(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    target.chmod(0o640)
    with replaced(target) as draft:
        draft.write_text("new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_failure_leaves_the_file_and_no_draft(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(KeyError), replaced(target) as draft:
        draft.write_text("half")
        raise KeyError
    with pytest.raises(FileNotFoundError), replaced(target):
        pass  # nothing was written
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_an_exchange_that_fails_leaves_no_draft(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"), replaced(tmp_path / "folder") as draft:
        draft.write_text("new")
    assert os.listdir(tmp_path) == ["folder"]


def test_two_threads_may_write_one_file(tmp_path):
    together = threading.Barrier(2)

    def write(text):
        with replaced(tmp_path / "file") as draft:
            draft.write_text(text)
            together.wait(10)  # both drafts are there now
            assert draft.read_text() == text

    threads = [threading.Thread(target=write, args=(text,)) for text in ("one", "another")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (tmp_path / "file").read_text() in ("one", "another") and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("letter", ["x", "é", "🌊"])
def test_a_name_as_long_as_the_disk_takes_is_written(tmp_path, letter):
    target = tmp_path / (letter * (255 // len(letter.encode())))
    with replaced(target) as draft:
        draft.write_text("new")
    assert target.read_text() == "new"


@pytest.mark.parametrize("name", ["config-1.yaml", "config.yaml"])
def test_settings_that_cannot_be_kept_leave_no_draft(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(OSError, match=name):
        keep_config(tmp_path, Config(), 1, active=True)
    assert set(os.listdir(tmp_path)) <= {"config-1.yaml", "config.yaml"}


def test_a_thumbnail_makes_the_folders_that_it_needs(tmp_path, draw):
    from PIL import Image

    file = tmp_path / "ab" / "cd" / "thumb.jpg"
    for _ in range(2):
        write_thumbnail(file, Image.fromarray(draw.paint({})))
    assert os.listdir(file.parent) == ["thumb.jpg"]


def test_curves_are_put_into_a_bundle_by_a_new_file(tmp_path):
    config, reader = tmp_path / "config.json", tmp_path / "opened-before"
    config.write_text('{"name": "tiny", "calibration": {"caption": {}}}')
    os.link(config, reader)
    save_curves(tmp_path, {})
    assert json.loads(config.read_text()) == {"name": "tiny", "calibration": {}}
    assert json.loads(reader.read_text())["calibration"] == {"caption": {}}
