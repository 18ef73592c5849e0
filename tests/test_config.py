"""Settings: one truth for defaults, order default < file < flag, errors that help."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from interleave_index.config import Config, IngestSettings, ModelSettings, QuerySettings, named_index
from interleave_index.errors import ConfigError

ROOT = Path(__file__).parents[1]


def test_the_commented_file_holds_exactly_the_defaults_of_the_code():
    assert yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")) == Config().to_mapping()


def test_every_setting_has_a_comment_above_it():
    lines = (ROOT / "config.yaml").read_text(encoding="utf-8").splitlines()
    bare = [
        line
        for before, line in pairwise(lines)
        if line.strip()
        and not line.lstrip().startswith("#")
        and not line.endswith(":")
        and not before.lstrip().startswith("#")
    ]
    assert bare == []


def test_what_is_dumped_loads_back_equal(tmp_path):
    config = Config(
        index="here",
        models=ModelSettings(device="cuda", offline=True),
        ingest=IngestSettings(workers=0, batch=7),
        query=QuerySettings(cutoff=0.25),
    )
    (tmp_path / "config.yaml").write_text(config.dump(), encoding="utf-8")
    assert Config.load(tmp_path / "config.yaml") == config


def test_an_empty_file_gives_the_defaults(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    assert Config.load(tmp_path / "empty.yaml") == Config()


def test_flags_win_over_the_file_and_none_leaves_it_alone():
    base = Config.from_mapping({"query": {"top_k": 3, "cutoff": 0.9}})
    flagged = base.with_flags(query_top_k=7, query_cutoff=None, ingest_max_pixels=1000, index="there")
    assert (flagged.query.top_k, flagged.query.cutoff) == (7, 0.9)
    assert (flagged.ingest.max_pixels, flagged.index) == (1000, "there")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"querry": {}}, ["my.yaml", "unknown setting querry", "query"]),
        ({"query": {"topk": 3}}, ["my.yaml", "query.topk", "query.top_k"]),
        ({"query": {"top_k": "ten"}}, ["my.yaml", "query.top_k", "'ten'", "whole number"]),
        ({"query": {"top_k": True}}, ["query.top_k", "whole number"]),
        ({"query": {"top_k": 0}}, ["my.yaml", "query.top_k is 0", "expected 1 to"]),
        ({"query": {"entity_weight": float("nan")}}, ["query.entity_weight is nan"]),
        ({"query": {"cutoff": 1.5}}, ["query.cutoff is 1.5", "expected 0 to 1"]),
        ({"query": 3}, ["query is 3", "expected keys"]),
        ({"models": {"device": "gpu"}}, ["models.device", "'gpu'", "cuda"]),
        ({"models": {"dtype": "int8"}}, ["models.dtype", "'int8'", "bfloat16"]),
        ({"models": {"regions": "boxes"}}, ["models.regions", "'boxes'", "patches"]),
        ({"models": {"proposals": ""}}, ["models.proposals is empty", "find-mini"]),
        ({"models": {"offline": 1}}, ["models.offline", "true or false"]),
        ({"models": {"interface": " "}}, ["models.interface is empty"]),
        ({"ingest": {"batch": 257}}, ["ingest.batch is 257", "256"]),
        ([1, 2], ["my.yaml", "the file is [1, 2]"]),
    ],
)
def test_a_bad_setting_names_file_key_and_what_was_expected(values, words):
    with pytest.raises(ConfigError) as error:
        Config.from_mapping(values, "my.yaml")
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_file_that_is_no_yaml_or_is_not_there_is_one_line(tmp_path):
    (tmp_path / "broken.yaml").write_text("query: [1,\n")
    for name in ("broken.yaml", "absent.yaml"):
        with pytest.raises(ConfigError, match=name) as error:
            Config.load(tmp_path / name)
        assert "\n" not in str(error.value)


def test_the_index_is_named_by_flag_then_variable_then_file(monkeypatch):
    monkeypatch.delenv("INTERLEAVE_INDEX", raising=False)
    assert named_index(None, Config(index="from-file")) == "from-file"
    monkeypatch.setenv("INTERLEAVE_INDEX", "from-variable")
    assert named_index(None, Config(index="from-file")) == "from-variable"
    assert named_index("from-flag", Config(index="from-file")) == "from-flag"
    assert named_index("sqlite:////srv/photos.index", Config()) == "/srv/photos.index"
