"""`evaluate pack`, whose word may be left out; importing it makes the published benchmarks commands beside it, and
what makes their files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..building import build_interface
from . import benchmarks, composed, making, show
from .measuring import PACK, app, files_of_index
from .options import (
    ConfigOption,
    DeviceOption,
    IndexOption,
    JsonOption,
    ModelOption,
    OfflineOption,
    OverwriteOption,
    settings,
    understanding_paths,
)

__all__ = ["app", "benchmarks", "composed", "making", "pack"]


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
            check_output(output, overwrite=overwrite, protected=files_of_index(folder))
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
