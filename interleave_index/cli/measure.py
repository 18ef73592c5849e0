"""The command `evaluate`: a photo pack by default, or one of the published benchmarks by name."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.text import Text
from typer.core import TyperGroup

from ..errors import InputError
from ..export.table import plain_table
from ..service import build_interface
from ..wording import number_of
from . import show
from .options import (
    ConfigOption,
    DeviceOption,
    DtypeOption,
    GroundersOption,
    IndexOption,
    JsonOption,
    ModelOption,
    OfflineOption,
    OverwriteOption,
    settings,
    understanding_paths,
)

PACK = "pack"


class PackGroup(TyperGroup):
    """Commands of which `pack` may be left out: what is no command's name is its argument."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the left-out word in."""
        named = bool(args) and (args[0] in self.commands or args[0] in ("-h", "--help"))
        return super().parse_args(ctx, args if named else [PACK, *args])


app = typer.Typer(
    cls=PackGroup,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Measure a model: on a photo pack (the word `pack` may be left out), or on a published benchmark. "
    "Figures are in percent.",
)


class Answers(StrEnum):
    """Where the answers of READ come from."""

    supplied = "supplied"
    free = "free"


def _run(
    opens: Callable[[], Sequence[Any]],
    work: Annotated[
        Path | None, typer.Option("--work", metavar="DIR", help="Keep what is measured; a stopped run goes on.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only so many items, for a trial.")] = None,
    published_protocol: Annotated[
        bool, typer.Option("--published-protocol", help="Replay the published evaluation with its oddities.")
    ] = False,
    answers: Annotated[
        list[Answers] | None,
        typer.Option("--answers", help="Of READ: supplied, as published, or free, as it says by itself; else both."),
    ] = None,
    index: IndexOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    grounders: GroundersOption = None,
    proposals: Annotated[
        str | None,
        typer.Option(
            "--proposals", metavar="NAME", help="What finds the regions of a model of a hub; none: no regions."
        ),
    ] = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    offline: OfflineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the benchmarks that `opens` gives, and print their reports. All else are options of every benchmark."""
    from ..evaluation.published import Run
    from ..evaluation.published.opening import open_subjects

    _, effective = settings(
        index,
        config,
        models_interface=model,
        models_grounders=grounders,
        models_proposals=proposals,
        models_device=device,
        models_dtype=dtype,
        models_offline=offline,
    )
    benchmarks = opens()
    subjects = open_subjects(
        effective, published_protocol=published_protocol, answers=[way.value for way in answers or ()]
    )
    reports = []
    with show.progress_bar("evaluate") as update:
        run = Run(work=work, seed=seed, limit=limit, progress=lambda what, done, total: update(done, total, what))
        for opened, subject in _different(benchmarks, subjects):
            reports.append(run(opened, subject))
            if not as_json:
                _print(reports[-1])
    if as_json:
        show.emit_json({"benchmarks": reports})


def _different(benchmarks: Sequence[Any], subjects: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Each benchmark with the subjects that are asked differently in it."""
    pairs = []
    for opened in benchmarks:
        by_protocol = {subject.protocol(presence=opened.presence): subject for subject in subjects}
        pairs += [(opened, subject) for subject in by_protocol.values()]
    return pairs


def benchmark(name: str) -> Callable[[Callable[..., Sequence[Any]]], Callable[..., None]]:
    """Make a command of a function that opens data sets: the options of `_run` are added, and what it gives is run.

    A parameter `published_protocol` of the function is the shared option of that name.
    """

    def register(opens: Callable[..., Sequence[Any]]) -> Callable[..., None]:
        own = dict(inspect.signature(opens, eval_str=True).parameters)
        shared = dict(inspect.signature(_run, eval_str=True).parameters)
        del shared["opens"]

        @understanding_paths()
        @functools.wraps(opens)
        def command(**values: Any) -> None:
            asked = {key: value for key, value in values.items() if key in own}
            common = {key: value for key, value in values.items() if key in shared}
            _run(lambda: opens(**asked), **common)

        parameters = [parameter for key, parameter in own.items() if key not in shared]
        parameters += shared.values()
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name)(command)
        return command

    return register


def _print(report: dict[str, Any]) -> None:
    part = "" if report["complete"] else ", a part of the set: not to be compared"
    asked = f", {report['protocol']}" if "protocol" in report else ""
    show.say(f"{report['benchmark']}: {report['model']['interface']}{asked}, {number_of(report['n'], 'item')}{part}")
    table = plain_table("figure", "here#")
    for name, value in report["figures"].items():
        table.add_row(Text(name), _cell(value))
    show.emit_table(table)
    published = report["published"]
    if published:
        names = [name for name in report["figures"] if any(name in row["figures"] for row in published)]
        table = plain_table("published", *(f"{name}#" for name in names), "source")
        for row in published:
            cells = [_cell(row["figures"].get(name, {}).get("published", "")) for name in names]
            table.add_row(Text(row["model"]), *cells, Text(row["source"]))
        show.emit_table(table)


def _cell(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


@app.command(PACK)
@understanding_paths()
def pack(
    pack: Annotated[Path, typer.Argument(metavar="PACK.tar", help="Photos with captions, labels and masks.")],
    index: IndexOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    offline: OfflineOption = None,
    hard_negatives: Annotated[
        Path | None, typer.Option("--hard-negatives", metavar="FILE", help="JSON lines of true and false captions.")
    ] = None,
    with_texts: Annotated[
        bool, typer.Option("--texts", help="Also what captions in the index are worth to other captions as queries.")
    ] = False,
    dump: Annotated[Path | None, typer.Option("--dump", metavar="FILE", help="Scores and ranks as .npz.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw chances against what came true, as .png.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap intervals.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first photos, for a trial.")] = None,
    exclude_source: Annotated[
        list[str] | None, typer.Option("--exclude-source", metavar="NAME", help="Leave photos of a source out.")
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on a photo pack: retrieval, grounding, labels, what answers claim and miss; in percent."""
    from ..evaluation import evaluate as measure
    from ..export.outputs import check_distinct, check_output

    folder, effective = settings(index, config, models_interface=model, models_device=device, models_offline=offline)
    check_distinct([dump, plot])
    for output in (dump, plot):
        if output is not None:
            check_output(output, overwrite=overwrite, protected=_files_of_index(folder))
    with show.progress_bar("evaluate") as update:
        figures = measure(
            pack,
            interface=build_interface(effective),
            hard_negatives=hard_negatives,
            dump=dump,
            seed=seed,
            limit=limit,
            exclude_sources=exclude_source or (),
            plot=plot,
            with_texts=with_texts,
            progress=lambda what, done, total: update(done, total, what),
        )
    if as_json:
        show.emit_json(figures)
    else:
        show.emit_figures(_lines(figures))


def _files_of_index(folder: Path | str) -> Callable[[Path], bool]:
    """Whether a path lies in the folder of an index, which is not opened."""
    inside = os.path.realpath(folder)
    return lambda path: path.is_relative_to(inside)


def _lines(report: dict[str, Any]) -> dict[str, Any]:
    """A report with a line for every block of figures: tables are left to the JSON, and what lies deep comes up.

    >>> _lines({"judgement": {"words": {"ece": 4.0, "reliability": [[0.1, 0.2]], "things": {"f1": 60.0}},
    ...                       "all": {"ece": 4.0}}, "seed": 0})
    {'judgement': {'all': {'ece': 4.0}}, 'judgement words': {'ece': 4.0, 'things': {'f1': 60.0}}, 'seed': 0}
    """
    lines: dict[str, Any] = {}
    for name, block in report.items():
        if not isinstance(block, dict):
            lines[name] = block
            continue
        lines[name] = {}
        for key, entry in block.items():
            if isinstance(entry, dict) and any(isinstance(inner, dict) for inner in entry.values()):
                lines[f"{name} {key}"] = _without_tables(entry)
            elif not isinstance(entry, list):
                lines[name][key] = _without_tables(entry)
    return lines


def _without_tables(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_tables(entry) for key, entry in value.items() if not isinstance(entry, list)}


# --- the published benchmarks ------------------------------------------------------------------


class Part(StrEnum):
    """What FIND-Bench is asked for."""

    grounding = "grounding"
    text = "text"
    caption = "caption"
    interleaved = "interleaved"


CocoOption = Annotated[Path, typer.Option("--coco", metavar="DIR", help="COCO: annotations/ and folders of photos.")]


@benchmark("find-bench")
def find_bench(
    coco: CocoOption,
    entity: Annotated[
        Path | None, typer.Option("--entity", metavar="FILE", help="Else annotations/entity_val2017[_long].json.")
    ] = None,
    interleave: Annotated[
        Path | None, typer.Option("--interleave", metavar="FILE", help="interleave_val2017[_long].json, for that part.")
    ] = None,
    long: Annotated[bool, typer.Option("--long", help="The long sentences.")] = False,
    part: Annotated[
        list[Part] | None, typer.Option("--part", help="Only these parts; else all whose files are given.")
    ] = None,
    visual: Annotated[float, typer.Option("--visual", min=0, max=1, help="Chance that a phrase is shown.")] = 0.5,
    split: Annotated[str, typer.Option("--split", help="Of COCO.")] = "val2017",
    published_protocol: bool = False,
) -> Sequence[Any]:
    """FIND-Bench: interleaved grounding and retrieval on COCO-Entity."""
    from ..evaluation.published import grounding, retrieval
    from ..evaluation.published.coco import read_panoptic
    from ..evaluation.published.entity import read_entities

    parts = part or [Part.grounding, Part.text, Part.caption]
    if interleave and not part:
        parts.append(Part.interleaved)
    photos = read_panoptic(coco, split)
    sentences = {}
    if set(parts) != {Part.interleaved}:
        sentences = read_entities(entity or coco / "annotations" / f"entity_{split}{'_long' if long else ''}.json")
    benchmarks: list[Any] = []
    if Part.grounding in parts:
        benchmarks.append(
            grounding.find_bench_grounding(
                sentences, photos, long=long, visual=visual, published_protocol=published_protocol
            )
        )
    for mode in (Part.text, Part.caption):
        if mode in parts:
            benchmarks.append(retrieval.find_bench_text(sentences, photos, long=long, mode=mode.value))
    if Part.interleaved in parts:
        if interleave is None:
            raise InputError("the part interleaved needs --interleave, a file whose phrases have references")
        linked = read_entities(interleave)
        benchmarks.append(
            retrieval.find_bench_interleaved(
                linked, photos, long=long, visual=visual, published_protocol=published_protocol
            )
        )
    return benchmarks


RefsOption = Annotated[
    Path,
    typer.Option(
        "--refs", metavar="FILE", help="refs(unc).p, the same as JSON, or one JSON file with images and annotations."
    ),
]
InstancesOption = Annotated[
    Path | None,
    typer.Option(
        "--instances", metavar="FILE", help="Else instances.json beside --refs; not needed for one JSON file."
    ),
]
PhotosOption = Annotated[Path, typer.Option("--photos", metavar="DIR", help="Folder with the photos.")]
SplitOption = Annotated[str, typer.Option("--split", help="val, testA, testB or test.")]


TITLES = {"refcoco": "RefCOCO", "refcoco+": "RefCOCO+", "refcocog": "RefCOCOg"}


def _refer(name: str) -> None:
    def opens(
        refs: RefsOption,
        photos: PhotosOption,
        instances: InstancesOption = None,
        split: SplitOption = "val",
        protocol: Annotated[
            Literal["read", "find"],
            typer.Option(
                "--protocol", help="read: every sentence by itself; find: the first of each thing, in one pass."
            ),
        ] = "read",
    ) -> Sequence[Any]:
        from ..evaluation.published import grounding

        together = protocol == "find"
        sentences = "first" if together else "all"
        referred = _referred(refs, instances, photos, split, sentences=sentences, lower=together)
        return [grounding.refer(name, split, referred, together=together)]

    opens.__doc__ = f"{TITLES[name]}: one mask an expression."
    benchmark(name)(opens)


for _name in TITLES:
    _refer(_name)


@benchmark("fp-refcoco")
def false_premise(
    refs: RefsOption,
    photos: PhotosOption,
    instances: InstancesOption = None,
    split: SplitOption = "val",
    kind: Annotated[
        Literal["refcoco", "refcoco+", "refcocog"], typer.Option("--set", help="Which set the file belongs to.")
    ] = "refcoco",
) -> Sequence[Any]:
    """FP-RefCOCO: expressions that may name what is not there (See, FP accuracy, Segment)."""
    from ..evaluation.published import grounding

    return [grounding.false_premise(kind, split, _referred(refs, instances, photos, split))]


@benchmark("reasonseg")
def reasonseg(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="ReasonSeg, with val/ and test/ inside.")],
    split: Annotated[str, typer.Option("--split", help="val or test.")] = "val",
) -> Sequence[Any]:
    """ReasonSeg: a mask for a question (gIoU, cIoU), of all texts, of short and of long ones."""
    from ..evaluation.published import grounding
    from ..evaluation.published.reasonseg import read_reasonseg

    return [grounding.reasonseg(split, read_reasonseg(folder / split))]


@benchmark("karpathy")
def karpathy(
    annotations: Annotated[Path, typer.Argument(metavar="FILE", help="dataset_coco.json.")],
    photos: PhotosOption,
    split: Annotated[str, typer.Option("--split", help="test, val, train or restval.")] = "test",
) -> Sequence[Any]:
    """Karpathy's split of COCO captions: photos by caption and captions by photo."""
    from ..evaluation.published import retrieval
    from ..evaluation.published.karpathy import read_karpathy

    return [retrieval.karpathy(split, read_karpathy(annotations, photos, split))]


class Prompt(StrEnum):
    """First prompts of interactive segmentation."""

    point = "Point"
    circle = "Circle"
    scribble = "Scribble"
    polygon = "Polygon"
    box = "Box"


@benchmark("voc-interactive")
def voc_interactive(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="VOC2012, with ImageSets/ and JPEGImages/ inside.")],
    prompt: Annotated[list[Prompt] | None, typer.Option("--prompt", help="Only these; else all five.")] = None,
    clicks: Annotated[int, typer.Option("--clicks", min=1, help="Rounds, the first prompt included.")] = 1,
    split: Annotated[str, typer.Option("--split", help="Of ImageSets/Segmentation.")] = "val",
) -> Sequence[Any]:
    """Interactive segmentation of VOC objects: mean IoU and clicks needed."""
    from ..evaluation.published import interactive
    from ..evaluation.published.voc import read_voc

    items = read_voc(folder, split)
    return [interactive.voc_interactive(items, prompt=kind.value, clicks=clicks) for kind in prompt or list(Prompt)]


class Classes(StrEnum):
    """How the classes of generic segmentation are given."""

    names = "names"
    visual = "visual"
    descriptions = "descriptions"


@benchmark("coco-panoptic")
def coco_panoptic(
    coco: CocoOption,
    classes: Annotated[
        list[Classes] | None, typer.Option("--classes", help="How classes are given; else by name.")
    ] = None,
    descriptions: Annotated[
        Path | None, typer.Option("--descriptions", metavar="FILE", help="JSON object: class name to sentence.")
    ] = None,
    exemplars: Annotated[
        str | None, typer.Option("--exemplars", metavar="SPLIT", help="Where classes are shown from; else --split.")
    ] = None,
    instances: Annotated[
        Path | None,
        typer.Option(
            "--instances",
            metavar="FILE",
            help="For AP; else annotations/instances_SPLIT.json if it is there, else the things of the maps.",
        ),
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", metavar="DIR", help="Write maps and JSON as panopticapi reads them.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Of COCO.")] = "val2017",
    overwrite: OverwriteOption = False,
    index: IndexOption = None,
    config: ConfigOption = None,
) -> Sequence[Any]:
    """Generic segmentation of COCO: PQ, mask AP and mIoU, classes by name, by exemplar or by description."""
    from ..evaluation.published import generic
    from ..evaluation.published.coco import read_instances, read_panoptic

    photos = read_panoptic(coco, split)
    usual = coco / "annotations" / f"instances_{split}.json"
    truth = read_instances(instances or usual) if instances or usual.exists() else None
    words = generic.read_descriptions(descriptions) if descriptions else None
    shown = read_panoptic(coco, exemplars) if exemplars and exemplars != split else None
    benchmarks = [
        generic.coco_panoptic(
            photos,
            classes=kind.value,
            descriptions=words,
            exemplars=shown,
            instances=truth,
            predictions=predictions and predictions / kind.value,
        )
        for kind in classes or [Classes.names]
    ]
    if predictions is not None:
        folder, _ = settings(index, config)
        written = [file for opened in benchmarks for file in opened.written]
        _check_predictions(predictions, written, overwrite, _files_of_index(folder))
    return benchmarks


def _check_predictions(folder: Path, files: Iterable[Path], overwrite: bool, protected: Callable[[Path], bool]) -> None:
    """Refuse what must not be written, before anything is measured; folders below the named one are made.

    Raises:
        InputError: see `export.outputs`.
    """
    from ..export.outputs import check_folder, check_output

    check_folder(folder, protected=protected)
    for file in files:
        if file.parent.is_dir():
            check_output(file, overwrite=overwrite, protected=protected)


def _referred(refs: Path, instances: Path | None, photos: Path, split: str, **how: Any) -> Sequence[Any]:
    """Photos of the RefCOCO family; `instances.json` beside `refs` need not be named."""
    from ..evaluation.published.refer import read_refer

    beside = refs.with_name("instances.json")
    if instances is None and beside.exists() and beside != refs:
        instances = beside
    return read_refer(refs, instances, photos, split, **how)
