"""The script that gives broken files and queries to the program: some dozen cases of each kind, faults it must find."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import zipfile
from pathlib import Path

import pytest

from benchmarks import fuzz
from benchmarks.fuzz_answers import WrongAnswer
from benchmarks.fuzz_kinds import KINDS
from benchmarks.fuzz_models import FIND, MINI, PAIR, READ, XDECODER, Checkpoints


def run(counts, keep, processes=2):
    return fuzz.run(counts, 7, keep, print, processes=processes)


def test_broken_pictures_queries_and_texts_are_taken_in_or_refused(tmp_path):
    report = run({"images": 60, "queries": 60, "sidecars": 40}, tmp_path)
    assert report["faults"] == []
    assert all(row["taken"] and row["refused"] for row in report["kinds"].values())
    assert sum(row["taken"] + row["refused"] for row in report["kinds"].values()) == 160


def test_broken_files_of_models_are_loaded_or_refused(tmp_path):
    report = run({"checkpoints": 24}, tmp_path, processes=1)  # each has to import the libraries
    assert report["faults"] == []
    row = report["kinds"]["checkpoints"]
    assert row["taken"] and row["refused"] and row["taken"] + row["refused"] == 24


def test_a_seed_gives_the_same_cases_again():
    cases = [fuzz.Case("images", number, 3) for number in range(20)]
    assert [case.make() for case in cases] == [case.make() for case in cases]
    assert len({case.make()[1] for case in cases}) > 15


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The tiny models that are broken."""
    kind = Checkpoints()
    shared = tmp_path_factory.mktemp("fuzz") / "models"
    kind.prepare(shared)
    kind.start_from(shared)
    return kind


def with_pickle(file, pickle):
    """A file of torch with another pickle in it."""
    written = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            new.writestr(name, pickle if name.endswith("data.pkl") else old.read(name))
    return written.getvalue()


@pytest.mark.parametrize("pickle", [b"\x80\x02.", b"\x80\x02h\x0a.", b"\x80\x02Nt.", b"\x80\x02N}s."])
@pytest.mark.parametrize("file", ["find.pt", "find-old.pt"])
def test_a_damaged_pickle_is_refused_in_words(file, pickle, models, tmp_path):
    content = with_pickle(models.shared / file, pickle) if file == "find.pt" else pickle
    assert models.give(file, content, tmp_path) == "refused"


@pytest.mark.parametrize("model", [FIND, XDECODER, PAIR, READ, MINI])
def test_a_damaged_config_is_refused_in_words(model, models, tmp_path):
    config = json.loads((models.shared / model / "config.json").read_text())
    sizes = config.get("sizes", config)
    deep = b"[" * 100_000
    for content in (deep, json.dumps(config | {"architectures": 5, "model_type": None}).encode()):
        assert models.give(f"{model}/config.json", content, tmp_path) == "refused"
    for layers in (5000, 10**40):
        text = re.sub(r'("(?:num_hidden_layers|layers)": )\d+', rf"\g<1>{layers}", json.dumps(config))
        assert models.give(f"{model}/config.json", text.encode(), tmp_path) == "refused"
    for key in ("hidden_size", "interface", "backbone", "text_config", "decoder"):
        if key in sizes:
            broken = json.dumps(config | {"sizes": sizes | {key: None}} | {key: None}).encode()
            assert models.give(f"{model}/config.json", broken, tmp_path) == "refused"


def test_a_size_that_would_fill_the_memory_is_refused_before_it_does(models, tmp_path):
    text = (models.shared / MINI / "config.json").read_text().replace('"width": 64', '"width": 64000000')
    before = fuzz.memory_mark("VmHWM")
    assert models.give(f"{MINI}/config.json", text.encode(), tmp_path) == "refused"
    assert fuzz.memory_mark("VmHWM") - before < 100 << 20


@pytest.mark.parametrize(
    "name",
    [
        f"{XDECODER}/language/model.safetensors",
        f"{XDECODER}/prepared.safetensors",
        *(f"{model}/model.safetensors" for model in (FIND, PAIR, READ, MINI)),
        "find.safetensors",
    ],
)
def test_a_damaged_file_of_tensors_is_refused_in_words(name, models, tmp_path):
    long = json.dumps({"é" * 5000: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    whole = struct.pack("<Q", len(long)) + long + bytes(4)
    for content in (b"", whole, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 2**63) + b"{}"):
        assert models.give(name, content, tmp_path) == "refused"


def die(name, content, scratch):
    os.abort()


def raise_a_foreign_error(name, content, scratch):
    raise KeyError("in the middle")


def answer_wrongly(name, content, scratch):
    raise WrongAnswer("half a place")


def hang(name, content, scratch):
    while True:
        pass


def eat(name, content, scratch):
    held = []
    while True:
        held.append(bytearray(16 << 20))


@pytest.mark.parametrize(
    ("give", "words"),
    [
        (die, "ended with status -6"),
        (raise_a_foreign_error, "KeyError: 'in the middle' (test_fuzz.py:"),
        (answer_wrongly, "WrongAnswer: half a place"),
        (hang, "s, at most 0.5 are allowed"),
        (eat, "MiB of memory, at most 64 are allowed"),
    ],
)
def test_a_program_that_breaks_is_found_out_and_the_rest_is_done(give, words, tmp_path, monkeypatch):
    real = KINDS["queries"].give
    monkeypatch.setattr(fuzz, "SECONDS", 0.5)
    monkeypatch.setattr(fuzz, "MEMORY", 64 << 20)
    bad = fuzz.Case("queries", 2, 7).make()[1]
    monkeypatch.setattr(
        KINDS["queries"],
        "give",
        lambda name, content, scratch: (give if content == bad else real)(name, content, scratch),
    )
    report = run({"queries": 5}, tmp_path)
    (fault,) = report["faults"]
    assert (fault["kind"], fault["number"], fault["seed"]) == ("queries", 2, 7) and words in fault["words"]
    assert Path(fault["file"]).read_bytes() == bad
    assert report["kinds"]["queries"]["cases"] == 5 and report["kinds"]["queries"]["fault"] == 1
