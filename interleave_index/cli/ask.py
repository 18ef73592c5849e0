"""Commands that ask an index, and write what it answers."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import IndexNotFound
from ..grammar import Query
from ..records import RGB, Answer, Filters, Hit, Photo
from ..service import Index, build_interface, ground_picture, load_picture
from . import show
from .heat import HeatMaps
from .options import (
    AfterOption,
    BeforeOption,
    CameraOption,
    ConfigOption,
    DeviceOption,
    DtypeOption,
    FolderOption,
    GroundersOption,
    HeatmapOption,
    IndexOption,
    JsonOption,
    MissingOption,
    ModelOption,
    NearOption,
    OfflineOption,
    filters_of,
    opened,
    photo_argument,
    settings,
)


class Depth(StrEnum):
    """How masks are found."""

    stored = "stored"
    exact = "exact"
    none = "none"


class Mode(StrEnum):
    """How candidates are found."""

    auto = "auto"
    exact = "exact"
    ann = "ann"


QueryWords = Annotated[
    list[str], typer.Argument(metavar="QUERY", help="Words and parts such as [a dog] [image:dog.jpg] -[a person].")
]
TopOption = Annotated[int | None, typer.Option("--top-k", "-k", min=1, help="Hits to show.")]
GroundOption = Annotated[
    Depth, typer.Option("--ground", help="Masks from stored regions, by a second look at every hit, or none.")
]
ModeOption = Annotated[Mode, typer.Option("--mode", help="Score every photo, or candidates of FAISS; auto chooses.")]
SelfOption = Annotated[
    bool, typer.Option("--exclude-self", help="Leave out the photos that the query names by [photo:] and [region:].")
]
HtmlOption = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the masks painted.")]


def search(
    query: QueryWords,
    index: IndexOption = None,
    config: ConfigOption = None,
    top_k: TopOption = None,
    ground: GroundOption = Depth.stored,
    mode: ModeOption = Mode.auto,
    after: AfterOption = None,
    before: BeforeOption = None,
    camera: CameraOption = None,
    near: NearOption = None,
    folder: FolderOption = None,
    include_missing: MissingOption = False,
    exclude_self: SelfOption = False,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    grounders: GroundersOption = None,
    offline: OfflineOption = None,
    html: HtmlOption = None,
    heatmap: HeatmapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank photos for a query of words and pictures. Shows what each bracketed part found."""
    filters = filters_of(after, before, camera, near, folder, include_missing)
    asked = Query.parse(" ".join(query))
    with opened(
        index,
        config,
        models_interface=model,
        models_device=device,
        models_dtype=dtype,
        models_grounders=grounders,
        models_offline=offline,
    ) as found:
        answer = found.search(
            asked, top_k, filters=filters, ground=_depth(ground), mode=mode.value, exclude_self=exclude_self
        )
        heat = HeatMaps(heatmap, found.interface, asked, found.pixels, found.load_picture) if heatmap else None
        _write_pictures(answer, asked, html, heat, found.pixels, found.load_picture)
    _tell_notes(answer)
    if as_json:
        show.emit_json(answer.to_json())
    else:
        show.emit_answer(answer)


def ground(
    photo: Annotated[str, typer.Argument(metavar="PHOTO", help="A picture file, a URL, or an indexed photo's id.")],
    query: QueryWords,
    index: IndexOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    grounders: GroundersOption = None,
    offline: OfflineOption = None,
    html: HtmlOption = None,
    heatmap: HeatmapOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mask what each part of a query means in one photo. Any picture file will do; no index is needed."""
    asked, named = Query.parse(" ".join(query)), photo_argument(photo)
    folder, effective = settings(
        index,
        config,
        models_interface=model,
        models_device=device,
        models_dtype=dtype,
        models_grounders=grounders,
        models_offline=offline,
    )
    try:
        with Index.open(folder, config=effective) as found:
            hit = found.ground(named, asked)
            heat = HeatMaps(heatmap, found.interface, asked, found.pixels, found.load_picture) if heatmap else None
            _write_pictures(_alone(hit, asked), asked, html, heat, found.pixels, found.load_picture, named=True)
    except IndexNotFound:
        if index is not None or isinstance(named, int):
            raise
        interface, load = build_interface(effective), partial(load_picture, config=effective)
        hit = ground_picture(named, asked, config=effective, interface=interface)  # a picture file needs no index
        heat = HeatMaps(heatmap, interface, asked, lambda _: load(named), load) if heatmap else None
        _write_pictures(_alone(hit, asked), asked, html, heat, lambda _: load(named), load, named=True)
    _tell_notes(hit)
    if as_json:
        show.emit_json(hit.to_json())
    else:
        show.emit_grounding(hit)


def export(
    query: Annotated[
        list[str] | None, typer.Argument(metavar="QUERY", help="Hits of a query; else all photos.")
    ] = None,
    coco: Annotated[Path | None, typer.Option(metavar="FILE", help="COCO instances, for pycocotools.")] = None,
    masks: Annotated[Path | None, typer.Option(metavar="DIR", help="One PNG a mask.")] = None,
    jsonl: Annotated[Path | None, typer.Option(metavar="FILE", help="One JSON line a hit, or a photo.")] = None,
    index: IndexOption = None,
    config: ConfigOption = None,
    top_k: TopOption = None,
    ground: GroundOption = Depth.stored,
    after: AfterOption = None,
    before: BeforeOption = None,
    camera: CameraOption = None,
    near: NearOption = None,
    folder: FolderOption = None,
    include_missing: MissingOption = False,
    exclude_self: SelfOption = False,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    offline: OfflineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write hits, or all photos, as COCO JSON, PNGs or JSON lines. Without a query, all photos and regions."""
    if not (coco or masks or jsonl):
        raise typer.BadParameter("export has nothing to write, expected --coco FILE, --masks DIR or --jsonl FILE")
    filters = filters_of(after, before, camera, near, folder, include_missing)
    with opened(
        index, config, models_interface=model, models_device=device, models_dtype=dtype, models_offline=offline
    ) as found:
        if query:
            answer = found.search(
                " ".join(query), top_k, filters=filters, ground=_depth(ground), exclude_self=exclude_self
            )
            _tell_notes(answer)
            counts = _export_answer(answer, coco, masks, jsonl)
        else:
            counts = _export_library(found, filters, coco, masks, jsonl)
    if as_json:
        show.emit_json(counts)
    else:
        show.say(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()))


def _export_answer(answer: Answer, coco: Path | None, masks: Path | None, jsonl: Path | None) -> dict[str, int]:
    from ..export.coco import answer_to_coco, write_coco
    from ..export.jsonl import write_jsonl
    from ..export.masks import write_masks

    counts = {"hits": len(answer)}
    if coco:
        write_coco(answer, coco)
        counts["coco_annotations"] = len(answer_to_coco(answer)["annotations"])  # empty masks are left out
    if masks:
        counts["mask_files"] = len(write_masks(answer, masks))
    if jsonl:
        counts["json_lines"] = write_jsonl(answer, jsonl)
    return counts


def _export_library(
    found: Index, filters: Filters, coco: Path | None, masks: Path | None, jsonl: Path | None
) -> dict[str, int]:
    from ..export.coco import write_library_coco
    from ..export.jsonl import write_library_jsonl
    from ..export.masks import write_library_masks

    counts: dict[str, int] = {}
    if coco:
        counts["coco_images"], counts["coco_annotations"] = write_library_coco(found.library(filters), coco)
    if masks:
        counts["mask_files"] = sum(1 for _ in write_library_masks(found.library(filters), masks))
    if jsonl:
        counts["json_lines"] = write_library_jsonl(found.library(filters), jsonl)
    return counts


def _write_pictures(
    answer: Answer,
    query: Query,
    file: Path | None,
    heat: HeatMaps | None,
    load_pixels: Callable[[Photo], RGB],
    load: Callable[[str | Path | RGB], RGB],
    *,
    named: bool = False,
) -> None:
    """The page and the heat maps that were asked for."""
    if heat is not None:
        for hit in answer:
            heat(hit)
    if file is None:
        return
    from ..export.asked import query_pictures
    from ..export.page import write_page

    write_page(answer, file, load_pixels=load_pixels, pictures=query_pictures(query, load), heat=heat, named=named)
    show.note(f"page written to {file}")


def _tell_notes(answer: Answer | Hit) -> None:
    for line in answer.notes:
        show.note(f"note: {line}")


def _alone(hit: Hit, query: Query) -> Answer:
    return Answer(str(query), "exact", (hit,))


def _depth(chosen: Depth) -> Literal["stored", "exact"] | None:
    depths: dict[Depth, Literal["stored", "exact"]] = {Depth.stored: "stored", Depth.exact: "exact"}
    return depths.get(chosen)
