"""The published benchmarks as commands of `evaluate`: segmentation, grounding, interaction and retrieval by text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..errors import InputError
from .measuring import benchmark, files_of_index
from .options import ConfigOption, IndexOption, OverwriteOption, settings


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
    visual: Annotated[
        float | None, typer.Option("--visual", min=0, max=1, help="Chance that a phrase is shown; else 0.5.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Of COCO.")] = "val2017",
    published_protocol: bool = False,
) -> Sequence[Any]:
    """FIND-Bench: interleaved grounding and retrieval on COCO-Entity."""
    from ..evaluation.published import grounding, retrieval
    from ..evaluation.published.coco import read_panoptic
    from ..evaluation.published.entity import read_entities

    parts = list(dict.fromkeys(part or [Part.grounding, Part.text, Part.caption]))
    if interleave and not part:
        parts.append(Part.interleaved)
    _check_used("--interleave", interleave, "--part interleaved", Part.interleaved in parts)
    _check_used("--entity", entity, "--part grounding, text or caption", parts != [Part.interleaved])
    drawn = {Part.grounding, Part.interleaved} & set(parts)
    _check_used("--visual", visual, "--part grounding or interleaved", bool(drawn))
    chance = grounding.VISUAL_CHANCE if visual is None else visual
    photos = read_panoptic(coco, split)
    sentences = {}
    if parts != [Part.interleaved]:
        sentences = read_entities(entity or coco / "annotations" / f"entity_{split}{'_long' if long else ''}.json")
    benchmarks: list[Any] = []
    if Part.grounding in parts:
        benchmarks.append(
            grounding.find_bench_grounding(
                sentences, photos, long=long, visual=chance, published_protocol=published_protocol
            )
        )
    for mode in (Part.text, Part.caption):
        if mode in parts:
            benchmarks.append(retrieval.find_bench_text(sentences, photos, long=long, mode=mode.value))
    if Part.interleaved in parts:
        if interleave is None:
            raise InputError("the part interleaved needs --interleave, a file whose phrases have references")
        linked = read_entities(interleave)
        if not any(phrase.reference for rows in linked.values() for row in rows for phrase in row.phrases):
            raise InputError(
                f"{interleave} has no phrase with a reference, expected a file such as interleave_val2017.json; make "
                "one with: interleave-index evaluate make-references"
            )
        benchmarks.append(
            retrieval.find_bench_interleaved(
                linked, photos, long=long, visual=chance, published_protocol=published_protocol
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
SplitOption = Annotated[
    str,
    typer.Option("--split", help="val, testA, testB or test; one JSON file is a split as a whole: its name."),
]


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
    exemplar_sentences: Annotated[
        Path | None,
        typer.Option(
            "--exemplar-sentences",
            metavar="FILE",
            help="Show classes by the first phrases of this file of FIND-Bench that name them, as published.",
        ),
    ] = None,
    exemplar_count: Annotated[
        int | None,
        typer.Option("--exemplar-count", min=1, help="Exemplars of a class at most, which are averaged; else 30."),
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
    from ..evaluation.published.coco import FOR_PRECISION, read_instances, read_panoptic
    from ..evaluation.published.entity import read_entities

    ways = list(dict.fromkeys(classes or [Classes.names]))
    described, visual = Classes.descriptions in ways, Classes.visual in ways
    _check_used("--descriptions", descriptions, "--classes descriptions", described)
    _check_used("--exemplars", exemplars, "--classes visual", visual)
    _check_used("--exemplar-sentences", exemplar_sentences, "--classes visual", visual)
    _check_used("--exemplar-count", exemplar_count, "--classes visual", visual)
    if described and descriptions is None:
        raise InputError(
            "--classes descriptions needs --descriptions, a JSON object from class names to sentences; make one with: "
            "interleave-index evaluate make-descriptions"
        )
    photos = read_panoptic(coco, split)
    usual = coco / "annotations" / f"instances_{split}.json"
    truth = read_instances(instances or usual, FOR_PRECISION) if instances or usual.exists() else None
    words = generic.read_descriptions(descriptions) if descriptions else None
    shown = read_panoptic(coco, exemplars) if exemplars and exemplars != split else None
    phrases = read_entities(exemplar_sentences) if exemplar_sentences else None
    benchmarks = [
        generic.coco_panoptic(
            photos,
            classes=kind.value,
            descriptions=words,
            exemplars=shown,
            exemplar_sentences=phrases,
            most_exemplars=exemplar_count or generic.MOST_EXEMPLARS,
            instances=truth,
            predictions=predictions and predictions / kind.value,
        )
        for kind in ways
    ]
    if predictions is not None:
        folder, _ = settings(index, config)
        written = [file for opened in benchmarks for file in opened.written]
        _check_predictions(predictions, written, overwrite, files_of_index(folder))
    return benchmarks


def _check_used(option: str, given: object, wanted: str, used: bool) -> None:
    """Refuse an option that would do nothing.

    Raises:
        InputError: it was given, and is not used here.
    """
    if given is not None and not used:
        raise InputError(
            f"{option} is for {wanted}, which is not asked for here; ask for it too, or leave {option} out"
        )


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
