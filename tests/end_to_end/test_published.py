"""A released checkpoint's whole way: imported by command, photos taken in with it, found again, masks on the hits."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from interleave_index.cli import main
from interleave_index.interface.importing import import_released
from interleave_index.interface.published.folder import load_published
from interleave_index.interface.published.importing import prepare
from interleave_index.interface.published.network import PRESETS, PublishedNetwork


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run one command with a folder of models of its own; gives status, what it printed, and stderr."""
    monkeypatch.setenv("INTERLEAVE_MODELS", str(tmp_path / "models"))
    monkeypatch.delenv("INTERLEAVE_CONFIG", raising=False)

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return run


def test_a_checkpoint_with_every_released_key_is_imported_ingested_searched_and_grounded(
    run, toys, tmp_path, drawn_photos
):
    state = toys.random_state(toys.small_sizes())
    torch.save(state, tmp_path / "released.pt")
    toys.llama_state(tmp_path / "llama")
    status, out, _ = run("models", "import", tmp_path / "released.pt", "--name", "find-small", "--language",
                         tmp_path / "llama", "--short-side", 64, "--long-side", 96, "--json")  # fmt: skip
    facts = json.loads(out)
    assert status == 0 and (facts["tensors"], facts["language"]) == (504 + 97 + 182, "referred")
    status, out, _ = run("models", "info", "find-small", "--json")
    assert status == 0 and json.loads(out)["tensors"]["model.safetensors: backbone"].startswith("504 tensors")
    status, out, _ = run("models", "list", "--json")
    assert {"find-small"} <= {row["name"] for row in json.loads(out)["models"] if row["usable"]}
    index = tmp_path / "photos.index"
    words = ("--index", index, "--json")
    status, out, _ = run("ingest", drawn_photos.folder, "--model", "find-small", "--workers", 0, *words)
    assert (status, json.loads(out)["added"]) == (0, 6)
    status, out, _ = run("search", "[a dog] on the beach", *words)
    hits = json.loads(out)["hits"]
    assert status == 0 and len(hits) == 6 and hits[0]["score"] >= hits[-1]["score"]
    part = f"[image:{drawn_photos.red_disc.path}#box=10,10,90,80] near a dog"
    status, out, _ = run("search", part, "--ground", "exact", *words)
    assert status == 0 and all(hit["entities"] for hit in json.loads(out)["hits"])
    status, out, _ = run("search", f"[image:{drawn_photos.red_disc.path}]", *words)
    assert json.loads(out)["hits"][0]["path"] == drawn_photos.red_disc.path  # a photo finds itself
    status, out, _ = run("verify", *words)
    assert (status, json.loads(out)["ok"]) == (0, True)


def test_a_checkpoint_that_does_not_fit_lists_every_key_and_leaves_with_status_1(run, toys, tmp_path):
    state = toys.random_state(toys.tiny_sizes())
    del state["backbone.norm3.bias"]
    torch.save(state | {"stranger": torch.zeros(2)}, tmp_path / "spoilt.pt")
    status, out, err = run("models", "import", tmp_path / "spoilt.pt", "--name", "spoilt")
    assert (status, out) == (1, "")
    assert "backbone.norm3.bias is missing" in err.splitlines() and "stranger is unknown" in err.splitlines()
    assert err.splitlines()[-1].startswith("error: 2 keys of spoilt.pt do not fit")
    assert not (tmp_path / "models" / "spoilt").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "tensors", "millions"), [("find-focal-t", 579, 103.3), ("find-focal-l", 783, 279.9)]
)
def test_a_checkpoint_of_the_true_size_is_imported_and_answers(preset, tensors, millions, toys, tmp_path):
    """With LLaMA's true width and few weights behind it; Focal-L wants about 4 GiB of memory and of disk."""
    torch.manual_seed(0)
    with torch.device("meta"):
        network = PublishedNetwork(PRESETS[preset])
    network = network.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.uniform_(-0.03, 0.03) if parameter.ndim > 1 else parameter.fill_(float(name.endswith("weight")))
    torch.save(network.state_dict(), tmp_path / "released.pt")
    del network
    toys.llama_state(tmp_path / "llama", width=4096, head_width=8)
    found = import_released(tmp_path / "released.pt", preset, language=str(tmp_path / "llama"), home=tmp_path)
    assert (found.preset, found.tensors) == (preset, tensors)
    assert found.parameters / 1e6 == pytest.approx(millions, abs=0.1)
    photo = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    prepare(found.folder, ["a dog"], [photo])
    model = load_published(found.folder)
    view = model.view(photo)
    assert (view.resized, view.padded) == ((640, 853), (640, 864))
    image, objects = model.encode_image(view)
    assert image.shape == (512,) and objects.shape == (100, 512) and np.isfinite(objects).all()
    assert model.ground(view, ["a dog"])[0].mask.shape == (480, 640)
