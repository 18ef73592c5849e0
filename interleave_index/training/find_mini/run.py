"""Strings the stages together: packs in, a bundle out. Everything resumes from the checkpoints in the output folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from ...errors import ConfigError, InputError, ShapeError
from ...interface.find_mini.bundle import WEIGHTS, load_bundle
from ...interface.find_mini.model import MiniConfig, MiniModel
from ...models.text.tower import load_tokenizer, train_tokenizer
from ..loop import Progress, Stage, StageSettings, run_stage
from .align_stage import AlignStage, own_places
from .finish import all_names, finish, fit_curves
from .interface_stage import InterfaceStage
from .pseudo_masks import outline
from .refit_stage import RefitStage
from .region_stage import RegionStage
from .samples import Samples, Views, joined, load_samples, load_views
from .sentences import Sentences, classifier_names, load_sentences, own_sentences, teacher_names
from .settings import FindMiniSettings
from .space_stage import TEMPLATES, Space, SpaceStage, load_space
from .text_stage import TextStage
from .vision_stage import Anchors, VisionStage

Report: TypeAlias = Callable[[Progress | str], None]
TEACHERS_SHARE = 2.0  # of the teachers' positions to those of a model that goes on learning
LOG_SCALE = 2.3  # where the logit scale starts; the published 1.0 is slow with small batches


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
        training = TrainingRun(settings, progress)
        for name in STAGES:
            training.run_stage(name)
    if "bundle" in settings.stages:
        training.write_bundle()
    return settings.out / "bundle"


class TrainingRun:
    """One training: its photos, what it is taught with, and the model that the stages make, one after the other."""

    def __init__(self, settings: FindMiniSettings, progress: Report) -> None:
        self.settings, self.progress = settings, progress
        self.packs, held_packs = (sorted(settings.data.glob(f"{kind}-*.tar")) for kind in ("train", "val"))
        if not self.packs or not held_packs:
            raise InputError(
                f"{settings.data} holds {len(self.packs)} train-*.tar and {len(held_packs)} val-*.tar packs, "
                "expected at least one of each; see docs/evaluate.md for their form"
            )
        targets, start = settings.targets, settings.start
        from_bundle = start is not None and (start / WEIGHTS).is_file()
        if from_bundle and "text" in settings.stages:
            raise ConfigError(
                f"stage text is chosen and {start} is a bundle, whose words keep their places; "
                "leave text out with --stage, or start from the folder of a run"
            )
        self.train = load_samples(self.packs, targets=targets, limit=settings.limit)
        self.held = load_samples(held_packs, targets=targets, limit=settings.limit)
        if targets is not None:
            outline(self.train, targets / f"{self.packs[0].stem}.npz")
        masks = sum(map(len, self.train.regions))
        progress(f"{len(self.train)} photos to train on, {len(self.held)} held out, {masks} masks")
        settings.out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(settings.seed)
        self._sentences: Sentences | None = None
        if targets is not None and not from_bundle:
            self._sentences = load_sentences(targets / "sentences.npz")
        self.model = MiniModel(MiniConfig(), self._tokenizer())
        with torch.no_grad():
            self.model.interface.lang_encoder.logit_scale.fill_(LOG_SCALE)
        self.model.vision.channels_last()
        self._space: Space | None = None
        self.earlier: MiniModel | None = None  # that of the bundle it starts from
        if start is not None and from_bundle:
            self._start_from_bundle(start)
        elif start is not None:
            self._start_from_run(start)

    def run_stage(self, name: str) -> None:
        """Run a stage if it is chosen, then take over the weights of its checkpoint, if there is one."""
        spec, settings = STAGES[name], self.settings
        chosen = name in settings.stages and (settings.targets is not None or not spec.needs_targets)
        if chosen and name == "refit" and self.earlier is None:
            self.progress("stage refit is left out: it needs --start with a bundle, whose paths are fitted anew")
            chosen = False
        checkpoint = settings.out / f"{name}.pt"
        if chosen:
            stage_settings: StageSettings = getattr(settings, name)
            run_stage(
                spec.build(self),
                checkpoint,
                minutes=stage_settings.minutes,
                seed=settings.seed,
                bf16=settings.bf16,
                progress=self.progress,
            )
        if checkpoint.exists():
            if name == "space":
                self._space = load_space(checkpoint)
            for prefix, part in spec.weights:
                self.model.get_submodule(part).load_state_dict(_weights(checkpoint, prefix))

    def write_bundle(self) -> None:
        """The bundle, and the curves of its judgement; a trial with too few photos leaves those to each library."""
        settings, folder = self.settings, self.settings.out / "bundle"
        trained_on = {
            "packs": [pack.name for pack in self.packs],
            "more": [pack.name for pack in self._more_packs()],
            "distilled": settings.targets is not None,
            **settings.kept(),
        }
        finish(self.model.eval().cpu(), self.train, folder, trained_on, seed=settings.seed)
        try:
            fit_curves(folder, self.packs, limit=settings.limit, seed=settings.seed)
        except ShapeError as error:
            self.progress(f"no curves of relevance were fitted: {error}")
        self.progress(f"wrote {folder}")

    # --- where it starts ----------------------------------------------------------------------

    def _tokenizer(self) -> Tokenizer:
        """The vocabulary of this run, of the run that it starts from, or a new one."""
        file, start = self.settings.out / "tokenizer.json", self.settings.start
        if start is not None and not file.exists():
            if not (start / file.name).is_file():
                raise InputError(f"no tokenizer.json in {start}; give --start the --out folder of an earlier run")
            shutil.copyfile(start / file.name, file)
        if not file.exists():
            labels = [label for labels in self.train.labels for label in labels * 3]
            if self._sentences is None:
                texts, size = [caption for captions in self.train.captions for caption in captions], 6000
            else:
                texts, size = self._sentences.texts, 16_000
            train_tokenizer([*texts, *labels], size=size).save(str(file))
        return load_tokenizer(file)

    def _start_from_bundle(self, folder: Path) -> None:
        """Take everything of a bundle, and the vectors that it gives to texts."""
        self.earlier = load_bundle(folder).model
        self.model.load_state_dict(self.earlier.state_dict())
        if set(self.settings.stages) - {"refit", "bundle"}:
            names = set(all_names(self.train))
            if self.settings.targets is not None:
                names |= classifier_names(self.settings.targets / "classifiers.npz")
            captions = [caption for photo in self.train.captions for caption in photo]
            wordings = [template.format(name) for name in sorted(names) for template in TEMPLATES]
            self._sentences = own_sentences(self.model, {"caption": captions, "name": wordings})
        texts = 0 if self._sentences is None else len(self._sentences.texts)
        self.progress(f"starts from the bundle {folder}, with {texts} texts in its own words")

    def _start_from_run(self, folder: Path) -> None:
        """Take an earlier run's towers and what fits of its interface, but for the paths of photos and regions."""
        vision, text, interface = (folder / f"{name}.pt" for name in ("vision", "text", "interface"))
        if vision.exists():
            self.model.vision.load_state_dict(_weights(vision, "tower."))
        if text.exists():
            self.model.text.load_state_dict(_weights(text, "tower."))
            self.model.interface.paths.text.load_state_dict(_weights(text, "path."))
        own = self.model.interface.state_dict()
        fitting = {}
        for key, value in _weights(interface, "interface.").items() if interface.exists() else ():
            if not key.startswith("paths.") and key in own and own[key].shape == value.shape:
                fitting[key] = value
        self.model.interface.load_state_dict(fitting, strict=False)
        self.progress(
            f"starts from {folder}: tower {vision.exists()}, {len(fitting)} of {len(own)} weights of the interface"
        )

    # --- what stages are taught with ----------------------------------------------------------

    @property
    def targets(self) -> Path:
        """Folder of the teacher targets."""
        if self.settings.targets is None:
            raise InputError("no teacher targets given; pass --targets")
        return self.settings.targets

    @property
    def sentences(self) -> Sentences:
        """Texts and their vectors."""
        if self._sentences is None:
            raise InputError("no sentence vectors given; pass --targets")
        return self._sentences

    @property
    def space(self) -> Space:
        """What stage `space` made."""
        if self._space is None:
            raise InputError(f"no space at {self.settings.out / 'space.pt'}; run stage space first")
        return self._space

    @property
    def taught(self) -> bool:
        """Whether photos and names have positions in a space."""
        return self._space is not None and self._sentences is not None and self.train.pooled is not None

    def photo_places(self) -> Tensor:
        """(N, D) positions of the training photos; of a model that goes on learning, its own share in them."""
        places = self.space.of_photos(np.asarray(self.train.pooled))
        if self.sentences.own:  # the model's own vector of a photo and the teachers' are best together
            places = F.normalize(TEACHERS_SHARE * places + own_places(self.model, self.train), dim=1)
        return places

    def anchors(self, places: Tensor) -> Anchors:
        """Positions of photos or views, with texts to measure nearness by."""
        return Anchors(self.space, places, self.sentences, self.held, self.held_vectors())

    def held_vectors(self) -> NDArray[np.float16]:
        """(n, S) vectors of the first caption of every captioned held-out photo, in order."""
        first = [captions[0] for captions in self.held.captions if captions]
        if self.sentences.own:
            sentences = own_sentences(self.model, {"caption": first})
        else:
            sentences = load_sentences(self.targets / "held-sentences.npz")
        return sentences.vectors[[sentences.place[caption] for caption in first]]

    def mask_names(self) -> tuple[list[str], Tensor]:
        """All names of masks, with their positions in the space."""
        place = self.sentences.place
        labels = {region.label for regions in self.train.regions for region in regions if region.label}
        known = sorted(label for label in labels if label in place)
        return known, self.space.of_texts(self.sentences.vectors[[place[name] for name in known]])

    def views(self, *, more: bool) -> tuple[Samples, Views]:
        """Photos and views of the training packs, with `more` those of the further packs behind them."""
        further = self._more_packs() if more else []
        samples = self.train
        if further:
            samples = joined(samples, load_samples(further, targets=self.targets, limit=self.settings.limit))
        return samples, load_views(samples, [*self.packs, *further], self.targets)

    def _more_packs(self) -> list[Path]:
        return sorted(self.settings.more.glob("*.tar")) if self.settings.more is not None else []


# --- the stages --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StageSpec:
    """How one stage fits into a run.

    Attributes:
        build: makes the stage.
        weights: what is taken over from its checkpoint: names that begin so, into this part of the model.
        needs_targets: it is skipped without teacher targets.
    """

    build: Callable[[TrainingRun], Stage]
    weights: tuple[tuple[str, str], ...]
    needs_targets: bool = True


def _build_space(run: TrainingRun) -> Stage:
    _, views = run.views(more=False)
    names = teacher_names(views, run.targets / "classifiers.npz")
    return SpaceStage(run.settings.space, run.train, views, names, run.sentences, run.held, run.held_vectors())


def _build_text(run: TrainingRun) -> Stage:
    return TextStage(run.settings.text, run.model, run.sentences, run.space)


def _build_vision(run: TrainingRun) -> Stage:
    samples, views = run.views(more=True)
    run.progress(f"{len(samples)} photos and {len(views)} views for the vision tower")
    anchors = run.anchors(run.space.of_photos(views.pooled))
    basis = np.asarray(run.train.pooled)
    return VisionStage(run.settings.vision, run.model, samples, views, run.held, anchors, basis)


def _build_align(run: TrainingRun) -> Stage:
    samples, views = run.views(more=True)
    return AlignStage(run.settings.align, run.model, samples, views, run.sentences, run.space, run.held)


def _build_regions(run: TrainingRun) -> Stage:
    samples, views = run.views(more=True)
    names, places = run.mask_names()
    return RegionStage(run.settings.regions, run.model, samples, views, run.space, names, places, run.held)


def _build_interface(run: TrainingRun) -> Stage:
    anchors = run.anchors(run.photo_places()) if run.taught else None
    names = run.mask_names() if run.taught else None
    return InterfaceStage(run.settings.interface, run.model, run.train, run.held, anchors=anchors, names=names)


def _build_refit(run: TrainingRun) -> Stage:
    if run.earlier is None:
        raise InputError("stage refit needs the paths of an earlier bundle; pass --start")
    return RefitStage(run.settings.refit, run.model, run.earlier, run.train, seed=run.settings.seed)


PHOTO_PATH, REGION_PATH, TEXT_PATH = (f"interface.paths.{name}" for name in ("photo", "region", "text"))
STAGES = {
    "space": StageSpec(_build_space, ()),
    "text": StageSpec(_build_text, (("tower.", "text"), ("path.", TEXT_PATH))),
    "vision": StageSpec(_build_vision, (("tower.", "vision"), ("interface.", "interface"))),
    "align": StageSpec(_build_align, (("photo.", PHOTO_PATH), ("photo.", REGION_PATH))),
    "regions": StageSpec(_build_regions, (("region.", REGION_PATH),)),
    "interface": StageSpec(_build_interface, (("", ""),), needs_targets=False),
    "refit": StageSpec(_build_refit, (("", "interface.paths"),), needs_targets=False),
}


def _weights(checkpoint: Path, prefix: str) -> dict[str, Tensor]:
    """Weights of a stage whose names begin so, without the prefix."""
    state = torch.load(checkpoint, weights_only=True, map_location=torch.get_default_device())["module"]
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
