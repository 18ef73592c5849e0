"""Commands that ask an index, and write what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from ..config import Config
from ..errors import IndexNotFound
from ..grammar import Query
from ..interface.protocol import Interface
from ..paths import user_path
from ..records import RGB, Answer, Filters, Hit, Photo
from ..service import Index, build_interface, ground_picture, load_picture
from ..wording import number_of
from . import served, show
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
    NoServerOption,
    OfflineOption,
    OverwriteOption,
    filters_of,
    opened,
    photo_argument,
    settings,
)
from .viewer import open_files, system_viewer

MOST_OPENED = 10  # windows by --open


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
    overwrite: OverwriteOption = False,
    no_server: NoServerOption = False,
    paths: Annotated[bool, typer.Option("--paths", help="Print only the paths of the hits, one a line.")] = False,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="As --paths, with a NUL behind each, for xargs -0.")
    ] = False,
    copies: Annotated[bool, typer.Option("--copies", help="List all paths of every hit's photo.")] = False,
    show_files: Annotated[
        bool, typer.Option("--open", help="Open the photos that match, or the page of --html, in the system's viewer.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Rank photos for a query of words and pictures. Shows what each bracketed part found."""
    filters = filters_of(after, before, camera, near, folder, include_missing)
    if as_json and (paths or null):
        raise typer.BadParameter("--json and --paths are two forms of one answer, expected one of them")
    asked = Query.parse(" ".join(query))
    viewer = system_viewer() if show_files else []
    place, effective = settings(
        index,
        config,
        models_interface=model,
        models_device=device,
        models_dtype=dtype,
        models_grounders=grounders,
        models_offline=offline,
    )
    options: dict[str, Any] = {
        "top_k": top_k,
        "ground": _depth(ground),
        "mode": mode.value,
        "exclude_self": exclude_self,
    }
    answer = None
    if not (no_server or html or heatmap):  # these want pixels, and the model
        answer = served.search(place, effective, asked, filters, options)
    if answer is None:
        with Index.open(place, config=effective) as found:
            outputs = Outputs(html, heatmap, overwrite, found.owns)
            answer = found.search(asked, filters=filters, **options)
            outputs.write(answer, asked, lambda: found.interface, found.pixels, found.load_picture)
    all_paths = _all_paths(place, effective, answer) if copies else None
    _tell_notes(answer)
    if as_json:
        show.emit_json(_as_json(answer, all_paths))
    elif paths or null:
        show.emit_paths(answer, b"\0" if null else b"\n", all_paths)
    else:
        show.emit_answer(answer, all_paths)
    if show_files:
        open_files(viewer, [Path(user_path(html))] if html else _files_to_show(answer))


def _all_paths(place: Path | str, config: Config, answer: Answer) -> dict[int, list[str]]:
    """By photo id the paths of the hits' photos that are there, the shown one first; of a lost photo those it had."""
    found: dict[int, list[str]] = {}
    with Index.open(place, config=config) as index:
        for hit in answer:
            places = index.locations(hit.photo)
            there = [place.path for place in places if place.present]
            found[hit.photo.id] = there or [place.path for place in places]
    return found


def _as_json(answer: Answer, all_paths: dict[int, list[str]] | None) -> dict[str, Any]:
    form = answer.to_json()
    if all_paths is not None:
        for hit in form["hits"]:
            hit["paths"] = all_paths[hit["photo_id"]]
    return form


def _files_to_show(answer: Answer) -> list[Path]:
    """The photos that match and are there, best first."""
    matching = [Path(hit.photo.path) for hit in answer if answer.meant(hit) and hit.photo.path is not None]
    there = [file for file in matching if file.is_file()]
    if not there:
        show.note("nothing to open: no photo matches")
    if len(there) > MOST_OPENED:
        show.note(f"the first {MOST_OPENED} of {len(there)} photos are opened; --html FILE --open shows all on a page")
    return there[:MOST_OPENED]


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
    overwrite: OverwriteOption = False,
    no_server: NoServerOption = False,
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
    hit = None
    if not (no_server or html or heatmap):
        hit = served.ground(folder, effective, named, asked)
    if hit is None:
        outputs = OutputOptions(html, heatmap, overwrite)
        hit = _ground_here(folder, effective, named, asked, outputs, index_is_named=index is not None)
    _tell_notes(hit)
    if as_json:
        show.emit_json(hit.to_json())
    else:
        show.emit_grounding(hit)


def _ground_here(
    folder: Path | str,
    config: Config,
    photo: int | str,
    query: Query,
    outputs: OutputOptions,
    *,
    index_is_named: bool,
) -> Hit:
    """Look at a photo in this process, by the index if there is one."""
    try:
        with Index.open(folder, config=config) as found:
            checked = Outputs(*outputs, found.owns)
            hit = found.ground(photo, query)
            interface = partial(getattr, found, "interface")
            checked.write(_alone(hit, query), query, interface, found.pixels, found.load_picture, named=True)
            return hit
    except IndexNotFound:
        if index_is_named or isinstance(photo, int):
            raise
    checked = Outputs(*outputs)
    built, load = build_interface(config), partial(load_picture, config=config)
    hit = ground_picture(photo, query, config=config, interface=built)  # a picture file needs no index
    checked.write(_alone(hit, query), query, lambda: built, lambda _: load(photo), load, named=True)
    return hit


def export(
    query: Annotated[
        list[str] | None, typer.Argument(metavar="QUERY", help="Hits of a query; else all photos.")
    ] = None,
    coco: Annotated[
        Path | None, typer.Option(metavar="FILE", help="COCO instances, for pycocotools; - is stdout.")
    ] = None,
    masks: Annotated[Path | None, typer.Option(metavar="DIR", help="One PNG a mask.")] = None,
    jsonl: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One JSON line a hit, or a photo; - is stdout.")
    ] = None,
    index: IndexOption = None,
    config: ConfigOption = None,
    top_k: TopOption = None,
    min_relevance: Annotated[
        float | None, typer.Option("--min-relevance", min=0, max=1, help="Leave out hits whose relevance is lower.")
    ] = None,
    all_masks: Annotated[
        bool, typer.Option("--all-masks", help="Also masks of what is judged not to be there.")
    ] = False,
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
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write hits, or all photos, as COCO JSON, PNGs or JSON lines. Without a query, all photos and regions."""
    if not (coco or masks or jsonl):
        raise typer.BadParameter("export has nothing to write, expected --coco FILE, --masks DIR or --jsonl FILE")
    if not query and (min_relevance is not None or all_masks):
        raise typer.BadParameter("--min-relevance and --all-masks are about the hits of a query, expected one")
    filters = filters_of(after, before, camera, near, folder, include_missing)
    coco, jsonl = _or_stdout(coco), _or_stdout(jsonl)
    with opened(
        index, config, models_interface=model, models_device=device, models_dtype=dtype, models_offline=offline
    ) as found:
        targets = _export_targets(found, coco, masks, jsonl, overwrite)
        if query:
            answer = found.search(
                " ".join(query), top_k, filters=filters, ground=_depth(ground), exclude_self=exclude_self
            )
            _tell_notes(answer)
            hits = [hit for hit in answer if min_relevance is None or hit.relevance >= min_relevance]
            counts = _export_answer(replace(answer, hits=tuple(hits)), targets, all_masks)
        else:
            counts = _export_library(found, filters, targets)
    say = show.note if targets.on_stdout else show.say
    if as_json and not targets.on_stdout:
        show.emit_json(counts)
    else:
        say(", ".join(number_of(count, name.replace("_", " ").removesuffix("s")) for name, count in counts.items()))


def _or_stdout(file: Path | None) -> Path | None:
    return Path("/dev/stdout") if file == Path("-") else file


@dataclass(frozen=True, slots=True)
class ExportTargets:
    """What an export writes, each named by the user and known to be allowed."""

    coco: Path | None
    masks: Path | None
    jsonl: Path | None
    overwrite: bool

    @property
    def on_stdout(self) -> bool:
        """Whether one of them is our own stdout, where nothing else may then be said."""
        return any(file is not None and show.is_stdout(file) for file in (self.coco, self.jsonl))


def _export_targets(
    found: Index, coco: Path | None, masks: Path | None, jsonl: Path | None, overwrite: bool
) -> ExportTargets:
    """The outputs, checked before anything is searched.

    Raises:
        InputError: one of them must not be written.
    """
    from ..export.outputs import check_distinct, check_folder, check_output

    check_distinct([coco, masks, jsonl])
    for file in (coco, jsonl):
        if file is not None:
            check_output(file, overwrite=overwrite, protected=found.owns)
    if masks is not None:
        check_folder(masks, protected=found.owns)
    return ExportTargets(coco, masks, jsonl, overwrite)


def _export_answer(answer: Answer, targets: ExportTargets, absent: bool) -> dict[str, int]:
    from ..export.coco import write_coco
    from ..export.jsonl import write_jsonl
    from ..export.masks import write_masks

    counts = {"hits": len(answer)}
    if targets.coco:
        _, counts["coco_annotations"] = write_coco(answer, targets.coco, absent=absent, overwrite=targets.overwrite)
    if targets.masks:
        counts["mask_files"] = len(write_masks(answer, targets.masks, absent=absent, overwrite=targets.overwrite))
    if targets.jsonl:
        counts["json_lines"] = write_jsonl(answer, targets.jsonl, overwrite=targets.overwrite)
    return counts


def _export_library(found: Index, filters: Filters, targets: ExportTargets) -> dict[str, int]:
    from ..export.coco import write_library_coco
    from ..export.jsonl import write_library_jsonl
    from ..export.masks import write_library_masks

    counts: dict[str, int] = {"photos": len(found.ids(filters))}
    overwrite = targets.overwrite
    if targets.coco:
        images, annotations = write_library_coco(found.library(filters), targets.coco, overwrite=overwrite)
        counts |= {"coco_images": images, "coco_annotations": annotations}
    if targets.masks:
        files = write_library_masks(found.library(filters), targets.masks, overwrite=overwrite)
        counts["mask_files"] = sum(1 for _ in files)
    if targets.jsonl:
        counts["json_lines"] = write_library_jsonl(found.library(filters), targets.jsonl, overwrite=overwrite)
    return counts


class OutputOptions(NamedTuple):
    """The options about the page and the heat maps, as they were given."""

    page: Path | None
    heatmap: Path | None
    overwrite: bool


class Outputs:
    """The page and the heat maps that a command was asked for, checked before anything is searched.

    Args:
        page: file of the page, or None.
        heatmap: folder of the heat maps, or None.
        overwrite: whether files that are there may be written over.
        protected: whether a path must not be written.
    Raises:
        InputError: one of them must not be written.
    """

    def __init__(
        self, page: Path | None, heatmap: Path | None, overwrite: bool, protected: Callable[[Path], bool] | None = None
    ) -> None:
        self._page, self._heatmap, self._overwrite = page, heatmap, overwrite
        if page is not None or heatmap is not None:
            from ..export.outputs import check_distinct, check_folder, check_output

            check_distinct([page, heatmap])
            if page is not None:
                check_output(page, overwrite=overwrite, protected=protected)
            if heatmap is not None:
                check_folder(heatmap, protected=protected)

    def write(
        self,
        answer: Answer,
        query: Query,
        interface: Callable[[], Interface],
        load_pixels: Callable[[Photo], RGB],
        load: Callable[[str | Path | RGB], RGB],
        *,
        named: bool = False,
    ) -> None:
        """Write what was asked for.

        Args:
            answer: the hits to show.
            query: what was asked.
            interface: gives the model, which only heat maps need.
            load_pixels: gives the upright (H, W, 3) uint8 pixels of a photo.
            load: gives upright RGB for a path, a URL or an array.
            named: whether the photos were named by hand.
        """
        heat = None
        if self._heatmap is not None:
            heat = HeatMaps(self._heatmap, interface(), query, load_pixels, load, self._overwrite)
            for hit in answer:
                heat(hit)
        if self._page is None:
            return
        from ..export.asked import query_pictures
        from ..export.page import write_page

        write_page(
            answer,
            self._page,
            load_pixels=load_pixels,
            pictures=query_pictures(query, load),
            heat=heat,
            named=named,
            overwrite=self._overwrite,
        )
        show.note(f"page written to {self._page}")


def _tell_notes(answer: Answer | Hit) -> None:
    for line in answer.notes:
        show.note(f"note: {line}")


def _alone(hit: Hit, query: Query) -> Answer:
    return Answer(str(query), "exact", (hit,))


def _depth(chosen: Depth) -> Literal["stored", "exact"] | None:
    depths: dict[Depth, Literal["stored", "exact"]] = {Depth.stored: "stored", Depth.exact: "exact"}
    return depths.get(chosen)
