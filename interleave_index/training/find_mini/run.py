"""Strings the stages together: packs in, a bundle out. Everything resumes from the checkpoints in the output folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ConfigError, InputError, ShapeError
from ...interface.find_mini.bundle import WEIGHTS, load_bundle
from ...interface.find_mini.model import MiniConfig, MiniModel
from ...models.text.tower import load_tokenizer, train_tokenizer
from ..loop import Progress, Stage, StageSettings, run_stage
from .align_stage import AlignStage
from .finish import all_names, finish, fit_curves
from .interface_stage import InterfaceStage
from .material import Material
from .pseudo_masks import outline
from .region_stage import RefitStage, RegionStage
from .samples import Sample, load_samples
from .sentences import Sentences, classifier_names, load_sentences, own_sentences
from .settings import FindMiniSettings
from .space import OwnSpace, Space
from .space_stage import TEMPLATES, SpaceStage
from .text_stage import TextStage
from .vision_stage import VisionStage

Report: TypeAlias = Callable[[Progress | str], None]
LOG_SCALE = 2.3  # where the logit scale starts; the published 1.0 is slow with small batches


@dataclass(frozen=True, slots=True)
class StageSpec:
    """How one stage fits into a run.

    Attributes:
        build: makes the stage out of its settings and what there is to learn from.
        weights: what is taken over from its checkpoint: names that begin so, into this part of the model.
        needs_targets: it is skipped without teacher targets.
    """

    build: Callable[[Any, Material], Stage]
    weights: Mapping[str, tuple[str, ...]]
    needs_targets: bool = True


PHOTO_PATH, REGION_PATH, TEXT_PATH = (f"interface.paths.{name}" for name in ("photo", "region", "text"))
STAGES = {
    "space": StageSpec(SpaceStage, {}),
    "text": StageSpec(TextStage, {"tower.": ("text",), "path.": (TEXT_PATH,)}),
    "vision": StageSpec(VisionStage, {"tower.": ("vision",), "interface.": ("interface",)}),
    "align": StageSpec(AlignStage, {"photo.": (PHOTO_PATH, REGION_PATH)}),
    "regions": StageSpec(RegionStage, {"region.": (REGION_PATH,)}),
    "interface": StageSpec(InterfaceStage, {"": ("",)}, needs_targets=False),
    "refit": StageSpec(RefitStage, {"": ("interface.paths",)}, needs_targets=False),
}


def run(settings: FindMiniSettings, progress: Report = print) -> Path:
    """Run the chosen stages and return the folder of the bundle.

    Raises:
        ConfigError: the settings do not go together.
        InputError: no packs, or targets are missing.
        InterleaveError: a loss became infinite; the last checkpoint is kept.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    with nullcontext() if device == "cpu" else torch.device(device):  # the context costs a little with every call
        material = _material(settings, progress)
        for name in STAGES:
            _run_stage(name, material, settings, progress)
    if "bundle" in settings.stages:
        _write_bundle(material, settings, progress)
    return settings.out / "bundle"


def _run_stage(name: str, material: Material, settings: FindMiniSettings, progress: Report) -> None:
    """Run a stage if it is chosen, then take over the weights of its checkpoint, if there is one."""
    spec, checkpoint = STAGES[name], settings.out / f"{name}.pt"
    chosen = name in settings.stages and (settings.targets is not None or not spec.needs_targets)
    if chosen and name == "refit" and material.earlier is None:
        progress("stage refit is left out: it needs --start with a bundle, whose paths are fitted anew")
        chosen = False
    if chosen:
        stage_settings: StageSettings = getattr(settings, name)
        stage = spec.build(stage_settings, material)
        minutes, seed, bf16 = stage_settings.minutes, settings.seed, settings.bf16
        run_stage(stage, checkpoint, minutes=minutes, seed=seed, bf16=bf16, progress=progress)
    _take(material.model, checkpoint, spec.weights)
    if name == "space" and checkpoint.exists():
        material.space = Space.load(checkpoint)


def _write_bundle(material: Material, settings: FindMiniSettings, progress: Report) -> None:
    """The bundle, and the curves of its judgement; a trial with too few photos leaves those to each library."""
    folder, packs = settings.out / "bundle", material.packs
    trained_on = {
        "packs": [pack.name for pack in packs],
        "more": [pack.name for pack in material.more],
        "distilled": settings.targets is not None,
        **settings.kept(),
    }
    finish(material.model.eval().cpu(), material.train, folder, trained_on, seed=settings.seed)
    try:
        fit_curves(folder, packs, limit=settings.limit, seed=settings.seed)
    except ShapeError as error:
        progress(f"no curves of relevance were fitted: {error}")
    progress(f"wrote {folder}")


# --- where it starts --------------------------------------------------------------------------


def _material(settings: FindMiniSettings, progress: Report) -> Material:
    """Photos, texts, and a model as it starts: at random, as a bundle, or with the towers of an earlier run."""
    packs, held_packs = (sorted(settings.data.glob(f"{kind}-*.tar")) for kind in ("train", "val"))
    if not packs or not held_packs:
        raise InputError(
            f"{settings.data} holds {len(packs)} train-*.tar and {len(held_packs)} val-*.tar packs, "
            "expected at least one of each; see docs/evaluate.md for their form"
        )
    targets, start, limit = settings.targets, settings.start, settings.limit
    from_bundle = start is not None and (start / WEIGHTS).is_file()
    if from_bundle and "text" in settings.stages:
        raise ConfigError(
            f"stage text is chosen and {start} is a bundle, whose words keep their places; "
            "leave text out with --stage, or start from the folder of a run"
        )
    train, held = (load_samples(own, targets=targets, limit=limit) for own in (packs, held_packs))
    if targets is not None:
        outline(train, targets / f"{packs[0].stem}.npz")
    masks = sum(len(sample.regions) for sample in train)
    progress(f"{len(train)} photos to train on, {len(held)} held out, {masks} masks")
    settings.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    sentences = None
    if targets is not None and not from_bundle:
        sentences = load_sentences(targets / "sentences.npz")
    earlier = load_bundle(start).model if start is not None and from_bundle else None
    model = MiniModel(_sizes(settings, earlier), _tokenizer(settings, train, sentences))
    with torch.no_grad():
        model.interface.lang_encoder.logit_scale.fill_(LOG_SCALE)
    model.vision.channels_last()
    more = sorted(settings.more.glob("*.tar")) if settings.more is not None else []
    material = Material(model, train, held, packs, more, targets, sentences, limit=limit, seed=settings.seed)
    if earlier is not None:
        material.earlier = earlier
        model.load_state_dict(grown(earlier.state_dict(), model))
        if set(settings.stages) - {"refit", "bundle"}:
            material.sentences = _own_sentences(material)
        if targets is None:
            material.space = OwnSpace(model.interface.scale.detach().log())
        texts = 0 if material.sentences is None else len(material.sentences.texts)
        progress(f"starts from the bundle {start}, with {texts} texts in its own words")
    elif start is not None:
        _start_from_run(model, start, progress)
    return material


def _sizes(settings: FindMiniSettings, earlier: MiniModel | None) -> MiniConfig:
    """Those of a new model; what an earlier one has of cells and octaves stays."""
    fine_cells, octaves = settings.fine_cells, settings.octaves
    if earlier is not None:
        had = earlier.interface.config
        fine_cells, octaves = fine_cells or had.fine_cells, max(octaves, had.octaves)
    sizes = MiniConfig()
    return replace(sizes, interface={**sizes.interface, "fine_cells": fine_cells, "octaves": octaves})


def grown(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Weights of an earlier model in the sizes of a new one: cells of mask features start at random, finer octaves of
    the sinusoids at 0.
    """
    weights = {name: value for name, value in model.state_dict().items() if name.startswith("interface.seeds.fine.")}
    for name, value in state.items():
        if name.endswith(("seeds.where.weight", "seeds.waves.weight")):  # by y and x, each by sines and cosines
            more = (model.get_parameter(name).shape[1] - value.shape[1]) // 4
            value = F.pad(value.unflatten(1, (4, -1)), (0, more)).flatten(1)
        weights[name] = value
    return weights


def _tokenizer(settings: FindMiniSettings, train: list[Sample], sentences: Sentences | None) -> Tokenizer:
    """The vocabulary of this run, of the run that it starts from, or a new one."""
    file, start = settings.out / "tokenizer.json", settings.start
    if start is not None and not file.exists():
        if not (start / file.name).is_file():
            raise InputError(f"no tokenizer.json in {start}; give --start the --out folder of an earlier run")
        shutil.copyfile(start / file.name, file)
    if not file.exists():
        labels = [label for sample in train for label in sample.labels * 3]
        if sentences is None:
            texts, size = [caption for sample in train for caption in sample.captions], 6000
        else:
            texts, size = sentences.texts, 16_000
        train_tokenizer([*texts, *labels], size=size).save(str(file))
    return load_tokenizer(file)


def _own_sentences(material: Material) -> Sentences:
    """The vectors that a bundle's model gives to captions and names."""
    names = set(all_names(material.train))
    if material.targets is not None:
        names |= classifier_names(material.targets / "classifiers.npz")
    captions = [caption for sample in material.train for caption in sample.captions]
    wordings = [template.format(name) for name in sorted(names) for template in TEMPLATES]
    return own_sentences(material.model, {"caption": captions, "name": wordings})


def _start_from_run(model: MiniModel, folder: Path, progress: Report) -> None:
    """Take an earlier run's towers and what fits of its interface, but for the paths of photos and regions."""
    has_tower = _take(model, folder / "vision.pt", {"tower.": ("vision",)})
    _take(model, folder / "text.pt", STAGES["text"].weights)
    own = model.interface.state_dict()
    fitting = {}
    for key, value in _weights(folder / "interface.pt", "interface.").items():
        if not key.startswith("paths.") and key in own and own[key].shape == value.shape:
            fitting[key] = value
    model.interface.load_state_dict(fitting, strict=False)
    progress(f"starts from {folder}: tower {has_tower}, {len(fitting)} of {len(own)} weights of the interface")


def _take(model: MiniModel, checkpoint: Path, weights: Mapping[str, tuple[str, ...]]) -> bool:
    """Take over weights of a stage, see `StageSpec`; whether it has a checkpoint."""
    for prefix, parts in weights.items() if checkpoint.exists() else ():
        for part in parts:
            model.get_submodule(part).load_state_dict(_weights(checkpoint, prefix))
    return checkpoint.exists()


def _weights(checkpoint: Path, prefix: str) -> dict[str, Tensor]:
    """Weights of a stage whose names begin so, without the prefix; none where there is no checkpoint."""
    if not checkpoint.exists():
        return {}
    state = torch.load(checkpoint, weights_only=True, map_location=torch.get_default_device())["module"]
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
