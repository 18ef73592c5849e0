"""One table of kinds: how a name becomes a model, and what is known of it without building it."""

import json

import pytest

from interleave_index.errors import WeightsMissing
from interleave_index.interface.kinds import KINDS
from interleave_index.interface.registry import describe, find, load, names


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Makes a folder with this config.json; nothing of the user's is looked at."""
    monkeypatch.setenv("INTERLEAVE_MODELS", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))

    def make(config):
        (tmp_path / "config.json").write_text(json.dumps(config))
        return str(tmp_path)

    return make


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"kind": "find-published"}, "find-published"),
        ({"kind": "find-pair"}, "find-pair"),
        ({"model_type": "siglip"}, "dual encoder"),
        ({"model_type": "bert"}, "dual encoder"),
        ({"format": 1}, "find-mini"),
        ({}, "find-mini"),
    ],
)
def test_a_folder_is_of_the_kind_that_its_config_says(folder, config, kind):
    assert find(folder(config)).kind.name == kind


@pytest.mark.parametrize("name", ["find-mini", "toy"])
def test_what_needs_no_download_is_known_by_its_own_name(name):
    assert name in names() and find(name).kind.name == name
    description = describe(name)
    assert description.error is None and description.what


def test_read_is_named_with_or_without_a_folder(folder):
    model = find(f"read:{folder({'model_type': 'llava'})}")
    assert model.kind.name == "read" and model.files is not None
    assert describe(model.name).error is None
    assert "READ is not on this machine" in (describe("read").error or "")


def test_a_model_without_files_says_so_where_files_are_wanted():
    with pytest.raises(WeightsMissing, match="toy has no weights"):
        _ = find("toy").folder


def test_a_folder_that_holds_another_kind_of_model_is_described_as_unusable(folder):
    description = describe(folder({"model_type": "sam2"}))
    assert description.what == "sam2, no dual encoder" and "a part for grounding" in (description.error or "")


DAMAGED = {
    "cut short": '{"kind": "find-pub',
    "no object": "[1, 2]",
    "of another encoding": b"\xff\xfe{\x00",
    "without its sizes": '{"kind": "find-published", "format": 1}',
    "with sizes of another form": '{"kind": "find-published", "format": 1, "sizes": [1]}',
    "of a list of types": '{"model_type": ["clip"]}',
    "of a width that is none": '{"model_type": "clip", "projection_dim": "wide"}',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_config_is_said_of_its_model_and_hides_no_other(content, folder, tmp_path, monkeypatch, capsys):
    from interleave_index.cli import main

    folder({})
    pulled = tmp_path / "home" / "mine"
    pulled.mkdir(parents=True)
    (pulled / "pulled.json").write_text('{"name": "mine"}')
    (pulled / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    description = describe("mine")
    assert description.what == "not here" and "config.json" in (description.error or "")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["models", "list", "--json"])
    assert not end.value.code
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["models"]}
    assert rows["find-mini"]["usable"] and not rows["mine"]["usable"]


@pytest.mark.parametrize("content", [DAMAGED[name] for name in ("cut short", "no object")])
def test_a_damaged_config_is_one_clear_error_when_its_model_is_loaded(content, folder, tmp_path):
    name = folder({})
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(WeightsMissing, match=r"config\.json"):
        load(name, device="cpu")


def test_a_name_that_means_nothing_is_one_error_for_all(folder):
    with pytest.raises(WeightsMissing, match="no model 'nothing', expected one of find-mini, toy"):
        load("nothing", device="cpu")
    assert describe("nothing").what == "not here" and "expected one of" in (describe("nothing").error or "")


def test_only_encoders_of_a_hub_ground_by_points_unless_told_otherwise():
    assert [kind.name for kind in KINDS if kind.by_points] == ["interleaved encoder", "dual encoder"]
