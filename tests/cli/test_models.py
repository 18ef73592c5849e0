"""The commands `models`, and dual encoders in the whole program: ingest, search, ground, activate, verify."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

import torch

from interleave_index.interface.measure import CAPABLE
from interleave_index.interface.registry import load
from interleave_index.models.hub import local
from interleave_index.regular import sha256_of
from tests.models import tiny, tiny_universal

NAME = "someone/tiny-siglip"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with one model as a pull leaves it, and one in a folder of its own."""
    place, patch = tmp_path_factory.mktemp("home"), pytest.MonkeyPatch()
    patch.setenv(local.HOME_VARIABLE, str(place))
    folder = tiny.save(local.folder_of(NAME), "siglip")
    (folder / "pulled.json").write_text(
        json.dumps(
            {
                "name": NAME,
                "revision": "b" * 40,
                "licence": "apache-2.0",
                "files": {"model.safetensors": sha256_of(folder / "model.safetensors")},
            }
        )
    )
    tiny.save(place.parent / "my-clip", "clip")
    patch.delenv("INTERLEAVE_INDEX", raising=False)
    patch.delenv("INTERLEAVE_CONFIG", raising=False)
    yield place
    patch.undo()


@pytest.fixture(scope="module")
def settings(home):
    """Proposals of the toy, which need no weights."""
    file = home / "settings.yaml"
    file.write_text("models: {proposals: toy}\ningest: {workers: 0}\n")
    return file


def test_list_tells_size_licence_width_and_checkpoint_of_a_pulled_model(run, home, settings):
    status, out, _ = run("models", "list", "--json", "--config", settings, "--index", home / "none")
    rows = {row["name"]: row for row in json.loads(out)["models"]}
    assert status == 0 and {"find-mini", "toy", NAME} <= set(rows)
    row = rows[NAME]
    assert (row["usable"], row["dim"], row["licence"], row["speeds"]) == (True, 32, "apache-2.0", [])
    assert row["checkpoint"] == sha256_of(local.folder_of(NAME) / "model.safetensors")
    assert row["bytes"] > (local.folder_of(NAME) / "model.safetensors").stat().st_size
    assert "a dual encoder (siglip)" in run("models", "list", "--config", settings)[1]


def test_a_model_in_force_that_is_not_here_is_listed_with_the_remedy(run, home, tmp_path):
    (tmp_path / "other.yaml").write_text("models: {interface: someone/else}\n")
    status, out, _ = run("models", "list", "--json", "--config", tmp_path / "other.yaml")
    (row,) = (row for row in json.loads(out)["models"] if row["name"] == "someone/else")
    assert status == 0 and row["in_force"] and not row["usable"]
    assert "interleave-index models pull someone/else" in row["error"]


def test_measured_speeds_are_shown_afterwards(run, home, settings, monkeypatch):
    monkeypatch.setattr("interleave_index.interface.measure.SECONDS", 0.0)
    monkeypatch.setattr("interleave_index.interface.measure.BATCH", 2)
    monkeypatch.setattr("interleave_index.interface.registry.names", list)
    status, out, _ = run("models", "list", "--measure", "--json", "--config", settings)
    (row,) = (row for row in json.loads(out)["models"] if row["name"] == NAME)
    precisions = ["float32", "bfloat16"] if torch.backends.cpu.get_cpu_capability() in CAPABLE else ["float32"]
    assert status == 0 and [(speed["device"], speed["dtype"]) for speed in row["speeds"]] == [
        ("cpu", dtype) for dtype in precisions
    ]
    assert all(speed["photos_per_s"] > 0 for speed in row["speeds"])
    assert all(0.5 < speed["cosine"] < 1 for speed in row["speeds"][1:])  # a tiny random model rounds badly
    assert row["speeds"][0]["cosine"] is None
    again = json.loads(run("models", "list", "--json", "--config", settings)[1])["models"]
    assert next(row for row in again if row["name"] == NAME)["speeds"] == row["speeds"]


def test_a_segmenter_is_timed_by_its_proposals(run, home, settings, monkeypatch):
    monkeypatch.setattr("interleave_index.interface.measure.SECONDS", 0.0)
    monkeypatch.setattr("interleave_index.interface.measure.BATCH", 1)
    monkeypatch.setattr("interleave_index.interface.registry.names", list)
    monkeypatch.setattr(local, "pulled", lambda: ["someone/tiny-mask2former"])
    tiny_universal.mask2former(local.folder_of("someone/tiny-mask2former"))
    (local.folder_of("someone/tiny-mask2former") / "pulled.json").write_text('{"name": "someone/tiny-mask2former"}')
    rows = json.loads(run("models", "list", "--measure", "--json", "--config", settings)[1])["models"]
    (row,) = (row for row in rows if row["name"] == "someone/tiny-mask2former")
    assert not row["usable"] and "name it in models.proposals" in row["error"]
    (speed,) = row["speeds"]
    assert speed["photos_per_s"] > 0 and speed["dtype"] == "float32"
    shutil.rmtree(local.folder_of("someone/tiny-mask2former"))


@pytest.mark.parametrize(
    ("rate", "cosine", "dtype"),
    [(13.0, 0.999, "bfloat16"), (12.9, 1.0, "float32"), (30.0, 0.9989, "float32"), (30.0, None, "float32")],
)
def test_auto_takes_bfloat16_on_a_processor_where_it_was_measured_to_win_at_the_same_vectors(
    run, home, settings, rate, cosine, dtype
):
    checkpoint = local.checkpoint_of(local.folder_of(NAME))
    try:
        local.keep_speed(local.Speed(checkpoint, "cpu", "float32", 10.0, "2026-01-01T00:00:00"))
        local.keep_speed(local.Speed(checkpoint, "cpu", "bfloat16", rate, "2026-01-01T00:00:00", cosine))
        assert load(NAME, device="cpu", proposals="toy").capabilities.dtype == dtype
        assert load(NAME, device="cpu", proposals="toy", dtype="float32").capabilities.dtype == "float32"
    finally:
        (home / "speeds.json").unlink()
    assert load(NAME, device="cpu", proposals="toy").capabilities.dtype == "float32"  # nothing was measured


def test_pulling_offline_is_one_line_and_asks_nobody(run, home, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    status, _, err = run("models", "pull", "someone/else", "--offline")
    assert status == 1 and err.startswith("error: model someone/else cannot be pulled offline") and err.count("\n") == 1


def test_a_model_by_name_and_one_by_folder_fill_spaces_of_one_index(run, home, settings, drawn_photos, tmp_path):
    index = ("--index", tmp_path / "index", "--config", settings)
    folder = home.parent / "my-clip"
    status, out, _ = run("ingest", drawn_photos.folder, "--model", NAME, "--offline", "--json", *index)
    assert status == 0 and json.loads(out)["added"] == 6
    asked = ("--model", NAME, "--device", "cpu", "--dtype", "float32", "--json", *index)
    hits = json.loads(run("search", "[a red dog] on a beach", *asked)[1])["hits"]
    assert len(hits) == 6 and hits[0]["entities"][0]["regions"]
    part = f"[image:{drawn_photos.red_disc.path}]"
    best = json.loads(run("search", part, *asked)[1])["hits"][0]
    assert Path(best["path"]).name == Path(drawn_photos.red_disc.path).name

    status, out, _ = run("ingest", drawn_photos.folder, "--model", folder, "--json", *index)
    assert status == 0 and json.loads(out)["present"] == 6
    spaces = json.loads(run("spaces", "--json", "--index", tmp_path / "index")[1])["spaces"]
    assert [(row["interface"], row["dim"], row["state"], row["encodings"]) for row in spaces] == [
        (NAME, 32, "active", 6),
        ("my-clip", 24, "building", 6),
    ]

    status, _, err = run("search", "a dog", "--model", folder, *index)
    assert status == 1 and "SpaceMismatch" not in err and NAME in err and "my-clip" in err
    assert run("activate", 2, "--index", tmp_path / "index")[0] == 0
    kept = json.loads(run("search", "a dog", "--json", "--index", tmp_path / "index")[1])
    assert len(kept["hits"]) == 6
    assert run("verify", "--index", tmp_path / "index")[0] == 0
    found = json.loads(run("ground", drawn_photos.red_disc.path, "[a dog]", "--model", folder, "--json", *index)[1])
    assert found["entities"][0]["grounding"]["source"]


def test_every_photo_of_a_dual_encoder_keeps_its_patch_grid(run, home, settings, drawn_photos, tmp_path):
    from interleave_index import Index
    from interleave_index.grounding.record import unpack

    run("ingest", drawn_photos.folder, "--model", NAME, "--index", tmp_path / "index", "--config", settings)
    with Index.open(tmp_path / "index") as index:
        store: Any = index._store
        space_id, space = store.active_space()
        for photo_id in store.encoded(space_id).tolist():
            photo, record = index.photo(photo_id), unpack(store.grounding(space_id, photo_id))
            assert record.grid.size == (photo.height, photo.width) and record.encoder == space.checkpoint[:16]
            assert len(record.coverage) == len(store.masks(space_id, photo_id))
