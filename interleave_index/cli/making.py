"""Commands of `evaluate` that make files of a benchmark which are not among the released ones."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from ..errors import InputError
from ..wording import number_of
from . import show
from .measuring import app, files_of_index
from .options import (
    ConfigOption,
    DeviceOption,
    DtypeOption,
    IndexOption,
    JsonOption,
    ModelOption,
    OfflineOption,
    OverwriteOption,
    settings,
    understanding_paths,
)

OutOption = Annotated[Path, typer.Option("--out", metavar="FILE", help="The file that is made.")]


@app.command("make-references")
@understanding_paths()
def make_references(
    coco: Annotated[Path, typer.Option("--coco", metavar="DIR", help="COCO: annotations/ and folders of photos.")],
    sentences: Annotated[Path, typer.Option("--entity", metavar="FILE", help="entity_val2017[_long].json.")],
    out: OutOption,
    split: Annotated[str, typer.Option("--split", help="Of COCO.")] = "val2017",
    work: Annotated[
        Path | None, typer.Option("--work", metavar="DIR", help="Keep the vectors; a stopped run goes on.")
    ] = None,
    overwrite: OverwriteOption = False,
    index: IndexOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    offline: OfflineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make interleave_val2017.json: tie phrases of FIND-Bench to segments of other photos that are alike to a model."""
    from ..evaluation.published.coco import read_panoptic
    from ..evaluation.published.opening import open_subjects
    from ..evaluation.published.references import link_references
    from ..export.outputs import check_output

    folder, effective = settings(
        index, config, models_interface=model, models_device=device, models_dtype=dtype, models_offline=offline
    )
    check_output(out, overwrite=overwrite, protected=files_of_index(folder))
    photos = read_panoptic(coco, split)
    (subject, *_) = open_subjects(effective)
    with show.progress_bar("references") as update, TemporaryDirectory() as temporary:
        linked = link_references(
            sentences,
            photos,
            subject,
            work or Path(temporary),
            lambda what, done, total: update(done, total, what),
        )
    _write(out, linked.content, overwrite)
    if as_json:
        show.emit_json({"file": str(out), "phrases": linked.phrases, "linked": linked.linked})
        return
    show.say(f"{out}: {linked.linked} of {number_of(linked.phrases, 'phrase')} have a reference")


@app.command("make-descriptions")
@understanding_paths()
def make_descriptions(
    out: OutOption,
    constants: Annotated[
        Path | None, typer.Option("--constants", metavar="FILE", help="utils/constants.py of FIND's repository.")
    ] = None,
    wordnet: Annotated[
        Path | None, typer.Option("--wordnet", metavar="DIR", help="Folder dict of WordNet 3.0, instead.")
    ] = None,
    overwrite: OverwriteOption = False,
    index: IndexOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the sentences that stand for COCO's panoptic classes, from FIND's own file or from WordNet's glosses."""
    from ..evaluation.published import descriptions
    from ..export.outputs import check_output

    folder, _ = settings(index, config)
    check_output(out, overwrite=overwrite, protected=files_of_index(folder))
    if constants is not None and wordnet is None:
        made = descriptions.published_descriptions(constants)
    elif wordnet is not None and constants is None:
        made = descriptions.wordnet_descriptions(wordnet)
    else:
        raise InputError("descriptions come from one of --constants FILE and --wordnet DIR; name one of them")
    _write(out, made, overwrite)
    named = descriptions.named_in(made)
    if as_json:
        show.emit_json({"file": str(out), "classes": len(made), "named": named})
        return
    show.say(f"{out}: sentences of {len(made)} classes")
    if named:
        show.say(f"{len(named)} of them hold a word of the name of their class: {', '.join(named)}")


def _write(out: Path, content: object, overwrite: bool) -> None:
    from ..export.outputs import whole_file

    with whole_file(out, overwrite=overwrite) as file:
        json.dump(content, file, ensure_ascii=False, indent=1)
        file.write("\n")
