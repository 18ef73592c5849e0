"""The command that writes hits, or the whole library, in forms that other tools read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..records import Answer, Filters
from ..records.texts import Passage, TextHit
from ..service import Index
from ..wording import number_of
from . import show
from .options import (
    AfterOption,
    BeforeOption,
    CameraOption,
    ConfigOption,
    Depth,
    DeviceOption,
    DtypeOption,
    FolderOption,
    GroundOption,
    IndexOption,
    JsonOption,
    MissingOption,
    ModelOption,
    NearOption,
    OfflineOption,
    OverwriteOption,
    SelfOption,
    TopOption,
    depth_of,
    filters_of,
    opened,
)


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
    texts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One JSON line a passage of the texts; - is stdout.")
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
    """Write hits, photos or texts as COCO JSON, PNGs or JSON lines. Without a query, all of them."""
    if not (coco or masks or jsonl or texts):
        raise typer.BadParameter(
            "export has nothing to write, expected --coco FILE, --masks DIR, --jsonl FILE or --texts FILE"
        )
    if (min_relevance is not None or all_masks) and not (query and (coco or masks or jsonl)):
        raise typer.BadParameter("--min-relevance and --all-masks are about the photos of a query, expected one")
    filters = filters_of(after, before, camera, near, folder, include_missing)
    with opened(
        index, config, models_interface=model, models_device=device, models_dtype=dtype, models_offline=offline
    ) as found:
        targets = _checked_targets(found, coco, masks, jsonl, texts, overwrite)
        if query:
            answer = found.search(
                " ".join(query),
                top_k,
                filters=filters,
                ground=depth_of(ground),
                exclude_self=exclude_self,
                target=targets.kinds,
            )
            show.emit_notes(answer.notes)
            hits = [hit for hit in answer if min_relevance is None or hit.relevance >= min_relevance]
            counts = _export_answer(found, replace(answer, hits=tuple(hits)), targets, all_masks)
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
    texts: Path | None
    overwrite: bool

    @property
    def wants_photos(self) -> bool:
        """Whether photos are written, and not passages alone."""
        return any((self.coco, self.masks, self.jsonl))

    @property
    def kinds(self) -> Literal["photos", "texts", "both"]:
        """What is to be searched for."""
        if self.texts is None:
            return "photos"
        return "both" if self.wants_photos else "texts"

    @property
    def on_stdout(self) -> bool:
        """Whether one of them is our own stdout, where nothing else may then be said."""
        return any(file is not None and show.is_stdout(file) for file in (self.coco, self.jsonl, self.texts))


def _checked_targets(
    found: Index, coco: Path | None, masks: Path | None, jsonl: Path | None, texts: Path | None, overwrite: bool
) -> ExportTargets:
    """The outputs, checked before anything is searched; ``-`` is stdout.

    Raises:
        InputError: one of them must not be written.
    """
    from ..export.outputs import check_distinct, check_folder, check_output

    targets = ExportTargets(_or_stdout(coco), masks, _or_stdout(jsonl), _or_stdout(texts), overwrite)
    check_distinct([targets.coco, masks, targets.jsonl, targets.texts])
    for file in (targets.coco, targets.jsonl, targets.texts):
        if file is not None:
            check_output(file, overwrite=overwrite, protected=found.owns)
    if masks is not None:
        check_folder(masks, protected=found.owns)
    return targets


def _export_answer(found: Index, answer: Answer, targets: ExportTargets, absent: bool) -> dict[str, int]:
    from ..export.coco import write_coco
    from ..export.jsonl import write_jsonl
    from ..export.masks import write_masks

    counts = {"hits": len(answer)} if targets.wants_photos else {}
    if targets.coco:
        _, counts["coco_annotations"] = write_coco(answer, targets.coco, absent=absent, overwrite=targets.overwrite)
    if targets.masks:
        counts["mask_files"] = len(write_masks(answer, targets.masks, absent=absent, overwrite=targets.overwrite))
    if targets.jsonl:
        counts["json_lines"] = write_jsonl(answer, targets.jsonl, overwrite=targets.overwrite)
    if targets.texts:
        counts["passages"] = _write_texts(found, answer.texts or (), targets.texts, targets.overwrite, answer.query)
    return counts


def _export_library(found: Index, filters: Filters, targets: ExportTargets) -> dict[str, int]:
    from ..export.coco import write_library_coco
    from ..export.jsonl import write_library_jsonl
    from ..export.masks import write_library_masks

    counts: dict[str, int] = {"photos": len(found.ids(filters))} if targets.wants_photos else {}
    overwrite = targets.overwrite
    if targets.coco:
        images, annotations = write_library_coco(found.library(filters), targets.coco, overwrite=overwrite)
        counts |= {"coco_images": images, "coco_annotations": annotations}
    if targets.masks:
        files = write_library_masks(found.library(filters), targets.masks, overwrite=overwrite)
        counts["mask_files"] = sum(1 for _ in files)
    if targets.jsonl:
        counts["json_lines"] = write_library_jsonl(found.library(filters), targets.jsonl, overwrite=overwrite)
    if targets.texts:
        counts["passages"] = _write_texts(found, _passages(found, filters), targets.texts, overwrite)
    return counts


def _passages(found: Index, filters: Filters) -> list[Passage]:
    """Passages that belong to a photo which passes; all of them where no filter was given."""
    passages = found.texts()
    if replace(filters, include_missing=False) == Filters():
        return passages
    passing = set(found.ids(filters).tolist())
    return [passage for passage in passages if not passing.isdisjoint(passage.photos)]


def _write_texts(
    found: Index, texts: Sequence[Passage | TextHit], file: Path, overwrite: bool, query: str | None = None
) -> int:
    from ..export.jsonl import write_texts_jsonl

    passages = [text.passage if isinstance(text, TextHit) else text for text in texts]
    photos = found.photos(sorted({photo_id for passage in passages for photo_id in passage.photos}))
    paths = {photo_id: photo.path for photo_id, photo in photos.items()}
    return write_texts_jsonl(texts, file, photo_paths=paths, query=query, overwrite=overwrite)
