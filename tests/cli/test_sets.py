"""`models pull` of a set, from folders of tiny models, and an ingest by its word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

pytest.importorskip("transformers")

from interleave_index.building import expand_set
from interleave_index.config import Config, kept_config
from interleave_index.errors import ConfigError, ModelError, WeightsMissing
from interleave_index.models.hub import local, sets
from interleave_index.models.hub.take import take
from interleave_index.service import Index
from tests.models import tiny, tiny_prompted

ENCODER, GROUNDER = "someone/tiny-siglip", "else/tiny-owl"
TABLE = {
    "models": {
        ENCODER: {"mib": 3, "licence": "apache-2.0", "gflop": 2},
        GROUNDER: {"mib": 2, "licence": "mit", "gflop": 3},
    },
    "sets": {"tiny": {"what": "for tests", "encoder": ENCODER, "proposals": "toy", "grounders": [GROUNDER]}},
}


@pytest.fixture(scope="module")
def stick(tmp_path_factory):
    """A folder with the models of the set as a stick may hold them: one as pulled, one by its short name."""
    place = tmp_path_factory.mktemp("stick")
    tiny.save(place / "someone--tiny-siglip", "siglip")
    tiny_prompted.owl(place / "tiny-owl")
    (place / "tiny-owl" / "README.md").write_text("---\nlicense: mit\n---\n# An owl\n")
    (place / "tiny-owl" / "script.py").write_text("raise SystemExit\n")
    return place


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder of models with a table of sets of its own, no settings from outside, and no hub."""
    place = tmp_path / "models"
    place.mkdir()
    (place / "sets.yaml").write_text(yaml.safe_dump(TABLE))
    monkeypatch.setenv(local.HOME_VARIABLE, str(place))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "shared"))
    for variable in ("INTERLEAVE_INDEX", "INTERLEAVE_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    return place


def test_a_set_is_shown_with_sizes_licences_and_costs_before_anything_is_pulled(run, home, tmp_path):
    status, out, err = run("models", "pull", "tiny", "--index", tmp_path / "index")
    assert status == 1 and "nothing was pulled; say --yes" in err and local.pulled() == []
    assert "apache-2.0" in out and "mit" in out and "to be pulled: about 5 MiB" in out
    assert "s a photo at ingest" in out and "a look" in out
    plan = json.loads(run("models", "pull", "tiny", "--index", tmp_path / "index", "--json")[1])
    assert [(row["name"], row["uses"], row["here"]) for row in plan["models"]] == [
        (ENCODER, ["encoder"], False),
        ("toy", ["proposals"], True),
        (GROUNDER, ["grounder"], False),
    ]
    assert plan["download_bytes"] == 5 * 2**20 and plan["pulled"] == [] and plan["kept"] is None
    assert plan["seconds"]["look"] > plan["seconds"]["ingest"] > 0 and plan["free_bytes"] > 0


def test_what_was_not_read_on_a_models_own_page_has_a_question_mark(run, home, tmp_path):
    table = yaml.safe_load((home / "sets.yaml").read_text())
    table["models"][ENCODER]["unread"] = ["size"]
    (home / "sets.yaml").write_text(yaml.safe_dump(table))
    words = ("models", "pull", "tiny", "--index", tmp_path / "index")
    out = run(*words)[1]
    (encoder,) = (line for line in out.splitlines() if ENCODER in line)
    (grounder,) = (line for line in out.splitlines() if GROUNDER in line)
    assert encoder.count("?") == 1 and " ? " in encoder and "?" not in grounder and "own page" in out
    assert [row["unread"] for row in json.loads(run(*words, "--json")[1])["models"]] == [["size"], [], []]
    (home / "sets.yaml").write_text(yaml.safe_dump({**table, "models": {ENCODER: {"mib": 3, "licence": "mit"}}}))
    assert "?" not in run(*words)[1]


@pytest.mark.parametrize("offline", [True, False], ids=["offline", "hub out of reach"])
def test_without_a_hub_every_model_is_told_in_a_line_with_the_remedy(run, home, tmp_path, offline):
    words = ["models", "pull", "tiny", "--yes", "--index", tmp_path / "index", *(["--offline"] if offline else [])]
    status, _, err = run(*words)
    lines = [line for line in err.splitlines() if line.startswith("error: model")]
    assert status == 1 and [name for name in (ENCODER, GROUNDER) for line in lines if name in line] == [
        ENCODER,
        GROUNDER,
    ]
    assert all("--from FOLDER" in line for line in lines) and "Traceback" not in err
    assert "2 of 3 models of the set tiny are lacking" in err.splitlines()[-1]


def test_a_set_from_a_folder_is_kept_by_a_new_index_and_ingest_works(run, home, stick, drawn_photos, tmp_path):
    index = tmp_path / "index"
    with Index.open(index, create=True):
        pass
    status, out, err = run("models", "pull", "tiny", "--yes", "--from", stick, "--index", index)
    assert status == 0, err
    assert f"the index {index} keeps these models from now on" in out
    assert local.pulled() == [GROUNDER, ENCODER]
    owl = local.folder_of(GROUNDER)
    assert not (owl / "script.py").exists() and local.describe(owl).licence == "mit"
    kept = kept_config(index)
    assert kept is not None
    assert (kept.models.interface, kept.models.proposals, kept.models.grounders) == (ENCODER, "toy", GROUNDER)
    assert run("ingest", drawn_photos.folder, "--index", index, "--workers", 0)[0] == 0
    hit = json.loads(run("search", "[a red disc]", "-k", 1, "--ground", "exact", "--index", index, "--json")[1])[
        "hits"
    ][0]
    assert hit["entities"][0]["grounding"]["rung"] in ("detector", "absent")  # the grounder was asked
    again = json.loads(run("models", "pull", "tiny", "--json", "--index", index)[1])  # nothing to ask about
    assert again["pulled"] == [] and again["kept"] == "all" and again["download_bytes"] == 0


def test_an_index_of_another_encoder_takes_the_grounders_and_the_word_fills_a_second_space(
    run, home, stick, drawn_photos, tmp_path
):
    index = tmp_path / "index"
    assert run("ingest", drawn_photos.folder, "--index", index, "--model", "toy", "--workers", 0)[0] == 0
    status, out, _ = run("models", "pull", "tiny", "--yes", "--from", stick, "--index", index)
    assert status == 0 and "asks these grounders from now on" in out and "ingest PHOTOS --model tiny" in out
    kept = kept_config(index)
    assert kept is not None and (kept.models.interface, kept.models.grounders) == ("toy", GROUNDER)
    assert run("search", "[red]", "--index", index)[0] == 0  # still by the model of its photos
    assert run("ingest", drawn_photos.folder, "--index", index, "--model", "tiny", "--workers", 0)[0] == 0
    assert run("activate", 2, "--index", index)[0] == 0
    kept = kept_config(index)
    assert kept is not None and (kept.models.interface, kept.models.grounders) == (ENCODER, GROUNDER)
    assert run("search", "[red]", "--index", index)[0] == 0


def test_a_flag_wins_over_the_model_of_a_set(home, stick):
    for name in (ENCODER, GROUNDER):
        take(name, stick)
    from interleave_index.cli.options import settings

    _, effective = settings("nowhere", None, models_interface="tiny", models_grounders="mine")
    assert (effective.models.interface, effective.models.grounders) == (ENCODER, "mine")
    _, effective = settings("nowhere", None, models_interface="tiny")
    assert effective.models.grounders == GROUNDER


def test_a_set_that_is_not_whole_is_told_where_it_is_asked_for(run, home, stick, drawn_photos, tmp_path):
    take(ENCODER, stick)
    status, _, err = run("ingest", drawn_photos.folder, "--index", tmp_path / "index", "--model", "tiny")
    assert status == 1 and f"it lacks {GROUNDER}; get it with: interleave-index models pull tiny" in err
    assert run("models", "pull", "tiny", "--revision", "main", "--yes")[0] == 2
    status, _, err = run("models", "pull", "larger", "--yes")
    assert status == 1 and "expected owner/name" in err and "small, recommended, best" in err


def test_without_an_index_the_next_command_is_told(run, home, stick, tmp_path):
    status, out, _ = run("models", "pull", "tiny", "--yes", "--from", stick, "--index", tmp_path / "none")
    assert status == 0 and f"there is no index at {tmp_path / 'none'} yet" in out and not (tmp_path / "none").exists()


# --- one model from a folder ------------------------------------------------------------------


def test_a_model_from_a_folder_is_as_one_that_was_pulled(run, home, stick, tmp_path):
    status, out, _ = run("models", "pull", ENCODER, "--from", stick, "--json")
    told = json.loads(out)
    assert status == 0 and told["name"] == ENCODER and told["folder"] == str(local.folder_of(ENCODER))
    found = local.describe(local.find(ENCODER))
    assert "model.safetensors" in found.files and local.damaged(found) == []
    assert take(ENCODER, stick / "someone--tiny-siglip").folder == found.folder  # the folder itself, again
    (found.folder / "model.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match="is not what was pulled from the hub; copy the model again"):
        take(ENCODER, home)


@pytest.mark.parametrize("name", ["someone/other", "someone/tiny-owls"])
def test_a_model_that_is_not_in_the_folder_is_a_line(name, home, stick):
    with pytest.raises(WeightsMissing, match=rf"model {name} is not in .*, expected it as someone--"):
        take(name, stick)


def test_a_folder_without_weights_is_told(home, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text("{}")
    with pytest.raises(WeightsMissing, match="holds no weights"):
        take("someone/tiny", tmp_path)


# --- the table --------------------------------------------------------------------------------


def test_every_set_of_the_package_names_models_that_the_settings_take(home):
    assert sets.names() == ["small", "recommended", "best", "tiny"]
    for word in ("small", "recommended", "best"):
        chosen = sets.find_set(word)
        assert chosen is not None and chosen.what
        for member in chosen.members:
            assert member.name == "find-mini" or (member.mib > 0 and member.licence), member
            assert set(member.unread) <= {"size", "licence"}, member
            assert member.name == "find-mini" or all(member.operations(use) > 1e9 for use in member.uses), member
        expanded = expand_set(Config().with_flags(models_interface=word))
        assert expanded.models.interface == chosen.members[0].name and expanded.models.grounders


@pytest.mark.parametrize("text", ["sets: [1]", "sets: {bad: 3}", "}", "sets: {bad: {grounders: 1, encoder: a/b}}"])
def test_a_damaged_table_is_one_line(text, home):
    (home / "sets.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"sets\.yaml"):
        sets.find_set("bad")


def test_a_set_of_ones_own_takes_the_place_of_one_of_the_package(home):
    (home / "sets.yaml").write_text(yaml.safe_dump({"sets": {"small": {"encoder": "a/b"}}}))
    chosen = sets.find_set("small")
    assert chosen is not None and chosen.settings() == {
        "interface": "a/b",
        "proposals": "find-mini",
        "grounders": "",
        "reranker": "",
    }
    assert Path(sets.TABLE).is_file()
