"""`segment`: what is printed, the statuses, and the index that no output may touch."""

import json

import pytest


@pytest.fixture
def here(tmp_path, monkeypatch, draw):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERLEAVE_INDEX", str(tmp_path / "photos.index"))
    monkeypatch.delenv("INTERLEAVE_CONFIG", raising=False)
    draw.save(draw.paint({"red": draw.disc(40, 40, 25)}), tmp_path / "photos" / "disc.png")
    (tmp_path / "colours.txt").write_text("red\nblue\nstuff:\nwhite\n")
    return tmp_path


TOY = ("--model", "toy", "--classes", "colours.txt")


def test_photos_are_told_one_by_one_and_counted(here, run):
    status, out, _ = run("segment", "photos", "--out", "found", *TOY)
    first, last = out.splitlines()
    assert status == 0 and first == f"{here / 'photos' / 'disc.png'}: 2 segments: white, red"
    assert last == "1 photo segmented; in found"
    status, out, _ = run("segment", "photos", "--out", "found", *TOY)
    assert (status, out) == (0, "0 photos segmented, 1 already there; in found\n")


def test_json_is_one_object_and_an_unreadable_file_is_status_3(here, run):
    (here / "photos" / "broken.jpg").write_bytes(b"no picture")
    status, out, _ = run("segment", here / "photos", "--json", *TOY)
    found = json.loads(out)
    assert status == 3 and found["failed"][0]["reason"] == "ImageUnreadable"
    assert (found["segmented"], found["before"], found["segments"], found["classes"]) == (1, 0, 2, 3)
    assert found["folder"] == "segments" and found["model"].startswith("toy ")
    status, out, _ = run("segment", "photos", *TOY)
    assert status == 3 and "broken.jpg" in out and "1 failed" in out


def test_the_folder_of_an_index_takes_no_segments(here, run):
    run("ingest", "photos", "--model", "toy")
    status, _, err = run("segment", "photos", "--out", "photos.index", *TOY)
    assert status == 1 and "belongs to the index" in err
    status, _, err = run("segment", "photos", "--out", "photos/disc.png", *TOY)
    assert status == 1 and err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("none.jpg",), 2, "does not exist"),
        ((), 2, "Missing argument"),
        (("photos", "--classes", "none.txt"), 1, "classes none.txt cannot be read"),
        (("photos", "--out", "none/found"), 1, "there is no folder"),
        (("photos", "--model", "no/such"), 1, "no/such"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(here, run, words, status, said):
    found, _, err = run("segment", *words)
    assert found == status and said in err
    assert "Traceback" not in err and not (here / "segments").exists()
