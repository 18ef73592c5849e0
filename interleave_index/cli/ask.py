"""Commands that ask an index, and show what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from ..building import build_interface, build_marker, check_grounders
from ..config import Config
from ..errors import IndexNotFound, InputError
from ..grammar import Query, is_mark
from ..paths import is_url, user_path
from ..records import Answer, Hit
from ..service import Index, check_pictures, ground_picture, load_picture
from . import many, served, show
from .options import (
    AfterOption,
    BeforeOption,
    CameraOption,
    ConfigOption,
    Depth,
    DeviceOption,
    DtypeOption,
    FolderOption,
    GroundersOption,
    GroundOption,
    HeatmapOption,
    IndexOption,
    JsonOption,
    LikeOption,
    MissingOption,
    ModelOption,
    NearOption,
    NoServerOption,
    OfflineOption,
    OverwriteOption,
    RerankerOption,
    RerankOption,
    SelfOption,
    StacksOption,
    Target,
    TargetOption,
    TopOption,
    UnlikeOption,
    depth_of,
    filters_of,
    photo_argument,
    settings,
    text_kinds_of,
)
from .outputs import OutputOptions, Outputs
from .viewer import open_files, system_viewer

MOST_OPENED = 10  # windows by --open


class Mode(StrEnum):
    """How candidates are found."""

    auto = "auto"
    exact = "exact"
    ann = "ann"


QUERY = typer.Argument(metavar="QUERY", help="Words and parts such as [a dog] [image:dog.jpg] -[a person].")
QueryWords = Annotated[list[str], QUERY]
PassagesOption = Annotated[
    str | None, typer.Option(metavar="KINDS", help="Passages only of these kinds of texts, as for ingest.")
]
PathsOption = Annotated[bool, typer.Option("--paths", help="Print only the paths of the hits, one a line.")]
NullOption = Annotated[bool, typer.Option("--null", "-0", help="As --paths, with a NUL behind each, for xargs -0.")]
CopiesOption = Annotated[bool, typer.Option("--copies", help="List all paths of every hit's photo.")]
OpenOption = Annotated[
    bool, typer.Option("--open", help="Open what was found, or the page of --html, in the system's viewer.")
]
QueriesOption = Annotated[
    Path | None,
    typer.Option("--queries", metavar="FILE", help="Answer the queries of a file, one a line; - is standard input."),
]
ModeOption = Annotated[Mode, typer.Option("--mode", help="Score every photo, or candidates of FAISS; auto chooses.")]
HtmlOption = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the masks painted.")]


def search(
    query: Annotated[list[str] | None, QUERY] = None,
    index: IndexOption = None,
    config: ConfigOption = None,
    top_k: TopOption = None,
    ground: GroundOption = Depth.stored,
    mode: ModeOption = Mode.auto,
    target: TargetOption = Target.photos,
    text: PassagesOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
    camera: CameraOption = None,
    near: NearOption = None,
    folder: FolderOption = None,
    include_missing: MissingOption = False,
    exclude_self: SelfOption = False,
    stacks: StacksOption = None,
    like: LikeOption = None,
    unlike: UnlikeOption = None,
    rerank: RerankOption = None,
    reranker: RerankerOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    grounders: GroundersOption = None,
    offline: OfflineOption = None,
    html: HtmlOption = None,
    heatmap: HeatmapOption = None,
    overwrite: OverwriteOption = False,
    no_server: NoServerOption = False,
    paths: PathsOption = False,
    null: NullOption = False,
    copies: CopiesOption = False,
    show_files: OpenOption = False,
    queries: QueriesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank photos, or texts, for a query of words and pictures. Shows what each bracketed part found."""
    form = AnswerForm(as_json, paths, null, copies, show_files, html)
    if query and queries:
        raise typer.BadParameter("a query and --queries FILE were given, expected one of them", param_hint="QUERY")
    if not query and not queries:
        raise typer.BadParameter("expected a query, or --queries FILE", param_hint="QUERY")
    filters = filters_of(after, before, camera, near, folder, include_missing)
    _refuse_contradictions(form, target, text=text, heatmap=heatmap, rerank=rerank)
    text_kinds = _kinds_of_passages(text)
    file = None if queries is None else many.QueryFile.read(queries)
    asked = Query.parse(" ".join(query)) if query else None
    viewer = system_viewer() if show_files else []
    place, effective = settings(
        index,
        config,
        models_interface=model,
        models_device=device,
        models_dtype=dtype,
        models_grounders=grounders,
        models_reranker=reranker,
        models_offline=offline,
    )
    if ground is Depth.exact:
        check_grounders(effective)
    options: dict[str, Any] = {"top_k": top_k, "ground": depth_of(ground), "mode": mode.value}
    if file is not None:
        many.refuse_others(
            {
                "--target": target is not Target.photos,
                "--ground exact": ground is Depth.exact,
                "--exclude-self": exclude_self,
                "--stacks": bool(stacks),
                "--like": bool(like),
                "--unlike": bool(unlike),
                "--rerank": bool(rerank),
                "--html": html is not None,
                "--heatmap": heatmap is not None,
                "--paths": paths or null,
                "--copies": copies,
                "--open": show_files,
            }
        )
        many.answer_all(place, effective, file, {**options, "filters": filters}, as_json=as_json)
    if asked is not None:
        options |= {
            "target": target.value,
            "text_kinds": text_kinds,
            "exclude_self": exclude_self,
            "stacks": not form.is_data if stacks is None else stacks,
            "rerank": rerank,
        }
        outputs = OutputOptions(html, heatmap, overwrite)
        answer = None
        if not (no_server or html or heatmap or like or unlike):  # outputs want pixels, and the model
            answer = served.search(place, effective, asked, filters, options)
        if answer is None:
            options |= {"filters": filters, "like": like or (), "unlike": unlike or ()}
            answer = _search_here(place, effective, asked, options, outputs)
        _show_answer(answer, form, place, effective)
        if show_files:
            open_files(viewer, [Path(user_path(html))] if html else _files_to_show(answer))


class AnswerForm(NamedTuple):
    """How an answer is printed, as the options say."""

    as_json: bool
    paths: bool
    null: bool
    copies: bool
    show_files: bool
    page: Path | None

    @property
    def is_data(self) -> bool:
        """Whether programs are to read it, so that nothing of it is folded unless they ask."""
        return self.as_json or self.paths or self.null


def _refuse_contradictions(
    form: AnswerForm, target: Target, *, text: str | None, heatmap: Path | None, rerank: int | None
) -> None:
    """A usage error where one option leaves nothing to another."""
    if form.as_json and (form.paths or form.null):
        raise typer.BadParameter("--json and --paths are two forms of one answer, expected one of them")
    if target is Target.texts and (heatmap or form.copies):
        raise typer.BadParameter("--heatmap and --copies are about photos, expected --target photos or both")
    if target is Target.texts and rerank:
        raise typer.BadParameter("--rerank is about photos, expected --target photos or both")
    if target is Target.photos and text is not None:
        raise typer.BadParameter("--text is about passages, expected --target texts or both")


def _kinds_of_passages(text: str | None) -> tuple[str, ...]:
    """The kinds of texts that --text names; none of them stands for all."""
    if text is None:
        return ()
    kinds = text_kinds_of(text)
    if not kinds:
        raise typer.BadParameter("--text names no kind, expected kinds of texts, or all")
    return kinds


def _search_here(
    place: Path | str, config: Config, query: Query, options: dict[str, Any], outputs: OutputOptions
) -> Answer:
    """Search in this process, and write what is to be written of the answer."""
    with Index.open(place, config=config) as found:
        checked = Outputs(*outputs, protected=found.owns)
        rerank = options["rerank"]
        with _rerank_progress(shown=bool(config.query.rerank if rerank is None else rerank)) as progress:
            answer = found.search(query, **options, progress=progress)
        checked.write(answer, query, lambda: found.interface, found.pixels, found.load_picture)
    return answer


def _show_answer(answer: Answer, form: AnswerForm, place: Path | str, config: Config) -> None:
    """Print an answer in the form that was asked for, its notes on stderr."""
    all_paths = _all_paths(place, config, answer) if form.copies else None
    show.emit_notes(answer.notes)
    if form.as_json:
        show.emit_json(_as_json(answer, all_paths))
    elif form.is_data:
        show.emit_paths(answer, b"\0" if form.null else b"\n", all_paths)
    else:
        show.emit_answer(answer, all_paths)


@contextmanager
def _rerank_progress(*, shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """How many photos were reranked, where any are to be."""
    if not shown:
        yield None
        return
    with show.progress_bar("rerank") as update:
        yield lambda done, total: update(done, total, "")


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
    """The photos that match and are there, then the sources of the passages, best first."""
    named = [hit.photo.path for hit in answer if answer.meant(hit)]
    named += [hit.passage.path for hit in answer.texts or ()]
    there = [Path(path) for path in dict.fromkeys(named) if path is not None and Path(path).is_file()]
    if not there:
        show.note(f"nothing to open: no {'photo' if answer.texts is None else 'text'} matches")
    if len(there) > MOST_OPENED:
        files = "photos" if answer.texts is None else "files"
        show.note(f"the first {MOST_OPENED} of {len(there)} {files} are opened; --html FILE --open shows all on a page")
    return there[:MOST_OPENED]


def ground(
    photo: Annotated[str, typer.Argument(metavar="PHOTO", help="A picture file, a URL, or an indexed photo's id.")],
    query: Annotated[
        list[str],
        typer.Argument(
            metavar="QUERY",
            help="Words and parts as for search, or marks on this photo such as #point=40,60;-5,6.",
        ),
    ],
    index: IndexOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    grounders: GroundersOption = None,
    offline: OfflineOption = None,
    html: HtmlOption = None,
    heatmap: HeatmapOption = None,
    masks: Annotated[
        Path | None, typer.Option("--masks", metavar="DIR", help="Write a PNG an entity, and the photo painted.")
    ] = None,
    overwrite: OverwriteOption = False,
    no_server: NoServerOption = False,
    as_json: JsonOption = False,
) -> None:
    """Mask what each part of a query means in one photo. Any picture file will do; no index is needed."""
    named = photo_argument(photo)
    folder, effective = settings(
        index,
        config,
        models_interface=model,
        models_device=device,
        models_dtype=dtype,
        models_grounders=grounders,
        models_offline=offline,
    )
    asked = _asked_of(query, named, folder, effective)
    hit = None
    if not (no_server or html or heatmap or masks):
        hit = served.ground(folder, effective, named, asked)
    if hit is None:
        outputs = OutputOptions(html, heatmap, overwrite, masks)
        hit = _ground_here(folder, effective, named, asked, outputs, index_is_named=index is not None)
    show.emit_notes(hit.notes)
    if as_json:
        show.emit_json(hit.to_json())
    else:
        show.emit_grounding(hit)


def _asked_of(words: Sequence[str], photo: int | str, folder: Path | str, config: Config) -> Query:
    """The query; marks without brackets are parts of the photo itself."""
    if not any(is_mark(word) for word in words):
        return Query.parse(" ".join(words))
    if isinstance(photo, str):
        return Query.on_picture(words, photo)
    with Index.open(folder, config=config) as found:
        path = found.photo(photo).path
    if path is None or not (is_url(path) or Path(path).is_file()):
        raise InputError(f"the file of photo {photo} is not there, expected it for marks on it; connect its disk")
    return Query.on_picture(words, path)


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
    load = partial(load_picture, config=config)
    check_pictures(query, load)  # what is wrong with them is said before a model is built
    check_grounders(config)
    marker = build_marker(config)
    try:
        with Index.open(folder, config=config, interface=marker) as found:
            checked = Outputs(*outputs, protected=found.owns)
            hit = found.ground(photo, query)
            interface = partial(getattr, found, "interface")
            checked.write(_alone(hit, query), query, interface, found.pixels, found.load_picture, named=True)
            return hit
    except IndexNotFound:
        if index_is_named or isinstance(photo, int):
            raise
    checked = Outputs(*outputs)
    built = cache(lambda: marker or build_interface(config))
    hit = ground_picture(photo, query, config=config, build=built)  # a picture file needs no index
    checked.write(_alone(hit, query), query, built, lambda _: load(photo), load, named=True)
    return hit


def _alone(hit: Hit, query: Query) -> Answer:
    return Answer(str(query), "exact", (hit,))
