"""The benchmarks of composed retrieval as commands of `evaluate`: a photo and a text ask for another photo."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..errors import InputError
from .measuring import benchmark, files_of_index
from .options import ConfigOption, IndexOption, OverwriteOption, settings

NO_USE = ("seed", "grounders", "published_protocol", "answers")  # nothing is drawn, no mask is asked for

SubmissionOption = Annotated[
    Path | None,
    typer.Option(
        "--submission", metavar="FILE.json", help="Write the best photos as the server of the set takes them."
    ),
]


@benchmark("cirr", without=NO_USE)
def cirr(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="CIRR, with cirr/ and folders of photos inside.")],
    split: Annotated[Literal["val", "train", "test1"], typer.Option("--split", help="Of CIRR.")] = "val",
    submission: SubmissionOption = None,
    overwrite: OverwriteOption = False,
    index: IndexOption = None,
    config: ConfigOption = None,
) -> Sequence[Any]:
    """CIRR: photos by a photo and a text that changes it (R@K, R_subset@K)."""
    from ..evaluation.published import composed
    from ..evaluation.published.composed_files import read_cirr

    opened = composed.cirr(split, read_cirr(folder, split), submission)
    return _submitted(opened, submission, overwrite, index, config)


@benchmark("circo", without=NO_USE)
def circo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="CIRCO, with annotations/ and COCO2017_unlabeled/.")],
    split: Annotated[Literal["val", "test"], typer.Option("--split", help="Of CIRCO.")] = "val",
    submission: SubmissionOption = None,
    overwrite: OverwriteOption = False,
    index: IndexOption = None,
    config: ConfigOption = None,
) -> Sequence[Any]:
    """CIRCO: photos by a photo and a text that changes it, several of them right (mAP@K)."""
    from ..evaluation.published import composed
    from ..evaluation.published.composed_files import read_circo

    opened = composed.circo(split, read_circo(folder, split), submission)
    return _submitted(opened, submission, overwrite, index, config)


def _submitted(
    opened: Any, submission: Path | None, overwrite: bool, index: str | None, config: Path | None
) -> Sequence[Any]:
    """A benchmark whose submission may be written, and is where nothing else can be told.

    Raises:
        InputError: the split has no truths and no submission was named, or its files must not be written.
    """
    from ..export.outputs import check_output

    if submission is None and not opened.judged:
        raise InputError(f"{opened.name} has no truths but on its server; name a file for it with --submission")
    folder, _ = settings(index, config)
    for file in opened.written:
        check_output(file, overwrite=overwrite, protected=files_of_index(folder))
    return [opened]


class Garment(StrEnum):
    """Kinds of garments of FashionIQ."""

    dress = "dress"
    shirt = "shirt"
    toptee = "toptee"


@benchmark("fashioniq", without=NO_USE)
def fashioniq(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="FashionIQ: captions/, image_splits/, images/.")],
    kind: Annotated[list[Garment] | None, typer.Option("--kind", help="Only these; else all three.")] = None,
    split: Annotated[Literal["val", "train"], typer.Option("--split", help="Of FashionIQ.")] = "val",
) -> Sequence[Any]:
    """FashionIQ: garments by a garment and two captions (R@10, R@50), over both galleries that are in use."""
    from ..evaluation.published import composed
    from ..evaluation.published.composed_files import read_fashioniq

    kinds = {one.value: read_fashioniq(folder, one.value, split) for one in kind or list(Garment)}
    return [composed.fashioniq(split, kinds)]
