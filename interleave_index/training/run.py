"""Strings the stages together: packs in, a bundle out. Everything resumes from the checkpoints in the output folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tokenizers import Tokenizer

from ..errors import ConfigError, InputError
from ..interface.bundle import save_bundle
from ..interface.find import tasks
from ..interface.find.model import FindModel, MiniConfig
from ..models.text import load_tokenizer, train_tokenizer
from .align_stage import AlignStage
from .calibrate import calibrate
from .interface_stage import InterfaceStage
from .loop import Progress, Stage, run_stage
from .pseudo import pseudo_regions
from .samples import Samples, held_out, load_samples
from .vision_stage import VisionStage

StageName = Literal["vision", "align", "interface", "bundle"]
STAGES: tuple[StageName, ...] = ("vision", "align", "interface", "bundle")
TABLE_NAMES = 200  # most frequent label names of the masks, for the class table
LOG_SCALE = 2.3  # where the logit scale starts; the published 1.0 is slow with small batches


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What to train on, and how long.

    Attributes:
        data: folder with `train-*.tar` and `val-*.tar` packs; val packs are only measured.
        out: checkpoints and, in `bundle/`, the finished model.
        targets: teacher targets of the packs, see tools/cache_teachers.py; without it stages `vision`
            and `align` are skipped, nothing is pseudo-labelled, and the interface starts on random features.
        stages: which to run, in their order.
        minutes: of stage `interface`; `vision` takes `vision_minutes`, `align` takes `align_minutes`.
        batch: photos a step of stage `interface`.
        seed: of everything that is drawn.
        limit: at most so many training photos, for trials.
        bf16: mixed precision.
        threads: of the network; 0 leaves torch's own choice.
    """

    data: Path
    out: Path
    targets: Path | None = None
    stages: tuple[StageName, ...] = STAGES
    minutes: float = 60.0
    vision_minutes: float = 40.0
    align_minutes: float = 15.0
    batch: int = 16
    seed: int = 0
    limit: int | None = None
    bf16: bool = True
    threads: int = 0


def run(settings: TrainSettings, progress: Callable[[Progress | str], None] = print) -> Path:
    """Run the chosen stages and return the folder of the bundle.

    Raises:
        InputError: no packs, or targets are missing.
        InterleaveError: a loss became infinite; the last checkpoint is kept.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    unknown = set(settings.stages) - set(STAGES)
    if unknown:
        raise ConfigError(f"unknown stage {', '.join(sorted(unknown))}, expected {', '.join(STAGES)}")
    train, held = _load(settings, progress)
    settings.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    model = FindModel(MiniConfig(), _tokenizer(settings, train))
    with torch.no_grad():
        model.interface.lang_encoder.logit_scale.fill_(LOG_SCALE)
    model.vision.channels_last()
    _vision(model, train, held, settings, progress)
    for stage, minutes in _stages(model, train, held, settings):
        checkpoint = settings.out / f"{stage.name}.pt"
        if stage.name in settings.stages:
            run_stage(stage, checkpoint, minutes=minutes, seed=settings.seed, bf16=settings.bf16, progress=progress)
        elif checkpoint.exists():
            model.load_state_dict(torch.load(checkpoint, weights_only=True)["module"])
    if "bundle" in settings.stages:
        _bundle(model.eval(), train, settings)
        progress(f"wrote {settings.out / 'bundle'}")
    return settings.out / "bundle"


def _vision(
    model: FindModel, train: Samples, held: Samples, settings: TrainSettings, progress: Callable[[Progress | str], None]
) -> None:
    checkpoint = settings.out / "vision.pt"
    if "vision" in settings.stages and settings.targets is not None:
        run_stage(
            VisionStage(model.vision, train, held),
            checkpoint,
            minutes=settings.vision_minutes,
            seed=settings.seed,
            bf16=settings.bf16,
            progress=progress,
        )
    elif checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)["module"]
        model.vision.load_state_dict({key[6:]: value for key, value in state.items() if key.startswith("tower.")})


def _stages(model: FindModel, train: Samples, held: Samples, settings: TrainSettings) -> Iterator[tuple[Stage, float]]:
    """The stages of the interface with their minutes; a resumed one takes up where its checkpoint stands."""
    if settings.targets is not None:
        yield AlignStage(model, train, held), settings.align_minutes
    yield InterfaceStage(model, train, held, batch=settings.batch), settings.minutes


def _load(settings: TrainSettings, progress: Callable[[Progress | str], None]) -> tuple[Samples, Samples]:
    packs, held_packs = (sorted(settings.data.glob(f"{kind}-*.tar")) for kind in ("train", "val"))
    if not packs or not held_packs:
        raise InputError(
            f"{settings.data} holds {len(packs)} train-*.tar and {len(held_packs)} val-*.tar packs, "
            "expected at least one of each; see docs/evaluate.md for their form"
        )
    train = load_samples(packs, targets=settings.targets, limit=settings.limit)
    held = load_samples(held_packs, targets=settings.targets, limit=settings.limit)
    if settings.targets is not None:
        _outline(train, settings.targets / f"{packs[0].stem}.npz")
    progress(f"{len(train)} photos to train on, {len(held)} held out, {sum(map(len, train.regions))} masks")
    return train, held


def _outline(samples: Samples, targets: Path) -> None:
    """Give captioned photos that nobody outlined what the segmenters painted."""
    with np.load(targets) as content:
        voc, ade = (list(map(str, content[name])) for name in ("voc_names", "ade_names"))
    if samples.painted is not None:
        for n in range(len(samples)):
            if samples.captions[n] and not samples.regions[n]:
                samples.regions[n] = pseudo_regions(samples.painted[n], voc, ade)


def _tokenizer(settings: TrainSettings, train: Samples) -> Tokenizer:
    file = settings.out / "tokenizer.json"
    if not file.exists():
        sentences = [caption for captions in train.captions for caption in captions]
        tokenizer = train_tokenizer(
            [*sentences, *(label for labels in train.labels for label in labels * 3)], size=6000
        )
        tokenizer.save(str(file))
    return load_tokenizer(file)


def _bundle(model: FindModel, train: Samples, settings: TrainSettings) -> None:
    counts = Counter(r.label for regions in train.regions for r in regions if r.label and r.kind != "pseudo")
    names = [name for name, _ in counts.most_common(TABLE_NAMES)]
    with torch.inference_mode():
        table = tasks.encode_names(model, [*names, "background"])
    rows = train.where(lambda n: held_out(train.keys[n]))
    calibration = calibrate(model, table, train, rows, seed=settings.seed)
    facts = {"name": "find-mini", "class_names": [*names, "background"], "trained_on": _provenance(settings)}
    save_bundle(settings.out / "bundle", model, table, calibration, facts)


def _provenance(settings: TrainSettings) -> dict[str, object]:
    used = {
        key: value
        for key, value in asdict(settings).items()
        if key in ("minutes", "vision_minutes", "align_minutes", "batch", "seed", "limit")
    }
    return {
        "packs": [pack.name for pack in sorted(settings.data.glob("train-*.tar"))],
        "distilled": settings.targets is not None,
        **json.loads(json.dumps(used)),
    }
