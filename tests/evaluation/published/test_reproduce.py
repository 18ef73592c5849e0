"""Every command of docs/reproduce.md runs end to end on tiny files in the official forms, with tiny random models.

The tables of the page have the columns system, files, command, published, source and here. A row is added by writing
it there, and nothing here need be changed when its files and its model are known already:

* command: whole, in backticks, so that it can be pasted; run in a folder that holds what `official_files.write_all`
  writes, with the models of `tiny_models.MODELS`. A new data set is a function in the one, a new model a line in the
  other. Rows may share a command, which runs once. ``–`` stands where a system cannot be run; the column *here* says
  why. A command that differs from one before it only by models of the same maker in `tiny_models` is marked slow.
* published: ``names: PQ 51.0, mAP 42.3; visual: PQ 41.8`` – the benchmark as the report calls it, whose first word may
  be left out where it is that of the command, then its figures as the report calls them. Each must stand in the column
  of published figures that `evaluate` prints, in the row of this system, with the sources of the next column. ``–``
  where nothing was published of the system, here and in the next column. A row without a command has the benchmark by
  the name that `figures.json` gives it.
* source: as `figures.json` has it, several by semicolons.

Commands in indented blocks are run too: those that make files or train write elsewhere than the page says, and training
is a trial, a step of a tiny interface over the files of `tests.training.coco.released`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from interleave_index.cli import main
from interleave_index.evaluation.published.figures import published_figures, published_tables
from tests.evaluation.published import official_files
from tests.evaluation.published.tiny_models import MODELS, TinyModels
from tests.training.coco.released import SIDE, Released, write_released

PAGE = Path(__file__).parents[3] / "docs" / "reproduce.md"
COLUMNS = ["system", "files", "command", "published", "source", "here"]
PROGRAM = "interleave-index"
TRIAL = (
    f"--size {SIDE} --steps 1 --batch 2 --width 32 --layers 1 --object-queries 4 --points 32 --set heads=4 "
    "--set ffn=32 --set decoder_width=32 --set decoder_layers=1"
)


@dataclass(frozen=True)
class Row:
    """One row of the page's tables; `published` holds (benchmark as it is written, figure, value)."""

    system: str
    command: str
    published: tuple[tuple[str, str, float], ...]
    sources: tuple[str, ...]


def rows_of(text: str) -> list[Row]:
    """The rows of all tables of the form above."""
    rows, inside = [], False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells == COLUMNS:
            inside = True
        elif inside and set(line) - set("|-: "):
            system, _, command, published, source, _ = cells
            rows.append(_row(system, command.strip("`").strip("–"), published, source))
    return rows


def _row(system: str, command: str, published: str, source: str) -> Row:
    figures = []
    for entry in filter(None, published.strip("–").split(";")):
        benchmark, _, listed = entry.strip().rpartition(":")
        for figure in listed.split(","):
            name, _, value = figure.strip().rpartition(" ")
            figures.append((benchmark, name, float(value)))
    return Row(system, command, tuple(figures), tuple(part.strip() for part in source.split(";")))


TEXT = PAGE.read_text(encoding="utf-8")
ROWS = rows_of(TEXT)


def commands() -> list[Any]:
    """Every command of the page once, for `parametrize`; those that only name other copies of a model are slow."""
    blocks = re.findall(rf"^    ({PROGRAM} (?:.*\\\n)*.*)$", TEXT, flags=re.M)
    written = [row.command for row in ROWS if row.command] + [block.replace("\\\n", " ") for block in blocks]
    seen: set[tuple[str, ...]] = set()
    found: list[Any] = []
    for command in dict.fromkeys(written):
        words = [MODELS[word].__name__ if word in MODELS else word for word in shlex.split(command)]
        form = tuple(words[:2] if words[1] == "train" else words)  # of pairs that are trained, one is quick
        marks = [pytest.mark.slow] if form in seen else []
        found.append(pytest.param(command, id=f"{len(found) + 1} {words[2]}", marks=marks))
        seen.add(form)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("official")
    official_files.write_all(root)
    return root


@pytest.fixture(scope="module")
def models(folder: Path, toys: Any) -> TinyModels:
    return TinyModels(folder / "models", folder, toys)


@pytest.fixture(scope="module")
def released(folder: Path, toys: Any) -> Released:
    return write_released(folder, toys)


@pytest.fixture
def call(
    folder: Path,
    models: TinyModels,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[str], list[dict[str, Any]]]:
    """Runs a command of the page; gives the reports of an evaluation."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("INTERLEAVE_MODELS", str(folder / "models"))

    def run(command: str) -> list[dict[str, Any]]:
        program, *words = shlex.split(command)
        assert program == PROGRAM
        for word in words:
            for name in word.split(","):
                models.provide(name)
        evaluates = words[0] == "evaluate" and not words[1].startswith("make-")
        more = ["--json"] if evaluates else []
        if words[0] == "train":
            request.getfixturevalue("released")
            more = shlex.split(TRIAL)
        if "--out" in words:
            more += ["--out", str(tmp_path / "made")]
        if "make-descriptions" not in words:  # no model takes part
            more += ["--device", "cpu"]
        with pytest.raises(SystemExit) as end:
            main([*words, *more])
        out, err = capsys.readouterr()
        assert not end.value.code, err
        assert "--out" not in words or (tmp_path / "made").exists()
        return json.loads(out)["benchmarks"] if evaluates else []

    return run


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_page_runs_and_prints_its_published_figures(
    command: str, call: Callable[[str], list[dict[str, Any]]]
) -> None:
    reports = call(command)
    assert all(report["n"] > 0 and report["complete"] for report in reports)
    first = shlex.split(command)[2]
    for row in ROWS:
        if row.command != command:
            continue
        for benchmark, figure, value in row.published:
            meant = [one for one in reports if one["benchmark"] in (benchmark, f"{first} {benchmark}")]
            assert meant and all(figure in report["figures"] for report in meant)
            assert value in printed(meant, row, figure), (benchmark, figure)


def printed(reports: list[dict[str, Any]], row: Row, figure: str) -> list[float]:
    """What stands in the published column of some reports for a row of the page, by its system and its sources."""
    values = []
    for published in (one for report in reports for one in report["published"]):
        same = published["model"] == row.system and set(row.sources) & set(published["source"].split("; "))
        if same and figure in published["figures"]:
            values.append(published["figures"][figure]["published"])
    return values


@pytest.mark.parametrize("row", [row for row in ROWS if not row.command], ids=lambda row: row.system)
def test_a_system_that_cannot_be_run_stands_beside_the_others_under_its_mode(row: Row) -> None:
    for benchmark, figure, value in row.published:  # by the name of the published figures
        figures = [one["figures"] for one in published_figures(benchmark) if one["model"] == row.system]
        assert value in [one.get(figure) for one in figures], (benchmark, figure)


@pytest.mark.parametrize("table", published_tables(), ids=lambda table: table["source"])
def test_every_published_figure_stands_on_the_page_in_the_row_of_its_system(table: dict[str, Any]) -> None:
    on_page = {(row.system, figure, value) for row in ROWS for _, figure, value in row.published}
    missing = []
    for system, *cells in table["rows"]:
        for (benchmark, figure), value in zip(table["columns"], cells, strict=True):
            if value is not None and (system, figure, value) not in on_page:
                missing.append((system, benchmark, figure, value))
    assert missing == []


# Typed from the poster itself: a system that stands in every column of its tables, by the mode of each column.
FOCAL_L = {
    "coco-panoptic names": {"PQ": 56.7, "mAP": 50.8, "mIoU": 67.4},
    "coco-panoptic visual": {"PQ": 49.5, "mAP": 38.9, "mIoU": 57.1},
    "coco-panoptic descriptions": {"PQ": 27.0, "mAP": 31.2, "mIoU": 26.8},
    "refcocog val find": {"cIoU": 65.9, "mIoU": 70.5},
    "find-bench grounding text": {"cIoU": 69.7, "mIoU": 64.2},
    "find-bench grounding text long": {"cIoU": 66.6, "mIoU": 61.2},
    "find-bench grounding": {"cIoU": 76.3, "mIoU": 69.7, "P@0.5": 81.7},
    "find-bench grounding long": {"cIoU": 74.7, "mIoU": 68.6, "P@0.5": 79.7},
    "voc-interactive Point": {"mIoU@1": 88.5},
    "voc-interactive Circle": {"mIoU@1": 89.5},
    "voc-interactive Box": {"mIoU@1": 77.4},
    "karpathy test": {"IR@1": 46.3, "TR@1": 61.9},
    "find-bench retrieval text": {"IR@1": 57.2, "TR@1": 58.2},
    "find-bench retrieval text long": {"IR@1": 67.2, "TR@1": 68.6},
    "find-bench retrieval interleaved": {"IR@5": 53.4, "IR@10": 66.7},
    "find-bench retrieval interleaved long": {"IR@5": 62.7, "IR@10": 75.0},
}


@pytest.mark.parametrize("benchmark", FOCAL_L)
def test_the_columns_of_the_poster_belong_to_their_modes(benchmark: str) -> None:
    rows = [row for row in published_figures(benchmark) if row["model"] == "FIND Focal-L" and "poster" in row["source"]]
    assert [row["figures"] for row in rows] == [FOCAL_L[benchmark]]


def test_the_page_has_a_row_of_every_form_and_no_command_is_cut_short() -> None:
    assert len(ROWS) > 20 and all(row.published or row.sources == ("–",) for row in ROWS)
    assert [row.command for row in ROWS if row.command and not row.command.startswith(PROGRAM)] == []
    named = set(re.findall(rf"`({PROGRAM} evaluate [^`]+)`", TEXT))
    assert named == {row.command for row in ROWS if row.command}
    assert "not at hand" not in TEXT and "..." not in " ".join(named)
