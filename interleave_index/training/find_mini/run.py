"""Strings the stages together: packs in, a bundle out. Everything resumes from the checkpoints in the output folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from ...errors import ConfigError, InputError, ShapeError
from ...interface.find.model import FindModel, MiniConfig
from ...interface.find_mini.bundle import WEIGHTS, load_bundle
from ...models.text.tower import load_tokenizer, train_tokenizer
from ..loop import Progress, Stage, run_stage
from .align_stage import AlignStage, own_places
from .finish import finish, fit_curves, words
from .interface_stage import InterfaceStage
from .pseudo_masks import boxed_regions, pseudo_regions
from .refit_stage import RefitStage
from .region_stage import RegionStage
from .samples import Samples, Views, joined, load_samples, load_views
from .sentences import Sentences, classifier_names, load_sentences, own_sentences, teacher_names
from .space_stage import TEMPLATES, Space, SpaceStage, load_space
from .text_stage import TextStage
from .vision_stage import Anchors, VisionStage

StageName = Literal["space", "text", "vision", "align", "regions", "interface", "refit", "bundle"]
STAGES: tuple[StageName, ...] = ("space", "text", "vision", "align", "regions", "interface", "refit", "bundle")
UNTAUGHT = {"interface", "refit"}  # stages that need no teacher targets
TEACHERS_SHARE = 2.0  # of the teachers' positions to those of a model that goes on learning
LOG_SCALE = 2.3  # where the logit scale starts; the published 1.0 is slow with small batches


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What to train on, and how long.

    Attributes:
        data: folder with `train-*.tar` and `val-*.tar` packs; val packs are only measured.
        out: checkpoints and, in `bundle/`, the finished model.
        targets: teacher targets of the packs and sentences, see tools/cache_*.py; without it all stages before
            `interface` are skipped, nothing is pseudo-labelled, and the interface starts on random features.
        stages: which to run, in their order.
        minutes: of stage `interface`; the other stages have their own.
        more: folder of further packs that only stage `vision` learns from; they need no annotations.
        start: folder of an earlier run whose vocabulary is taken and whose towers and interface the stages start from,
            the interface as far as shapes agree; or of a bundle, which goes on learning in the space it has: then its
            own text vectors take the place of a sentence encoder's. Without it all start at random.
        batch: photos a step of stage `interface`.
        backbone_rate: learning rate of the backbone in stage `interface`, as a share of the stage's; 0 lets it stand.
        seed: of everything that is drawn.
        limit: at most so many training photos, for trials.
        bf16: mixed precision.
        threads: of the network; 0 leaves torch's own choice.
        device: as torch names it; "auto" takes a GPU where there is one.
    """

    data: Path
    out: Path
    targets: Path | None = None
    more: Path | None = None
    start: Path | None = None
    stages: tuple[StageName, ...] = STAGES
    minutes: float = 60.0
    vision_minutes: float = 90.0
    space_minutes: float = 4.0
    text_minutes: float = 20.0
    align_minutes: float = 5.0
    regions_minutes: float = 3.0
    refit_minutes: float = 1.5
    batch: int = 16
    backbone_rate: float = 0.0
    seed: int = 0
    limit: int | None = None
    bf16: bool = True
    threads: int = 0
    device: str = "auto"


def run(settings: TrainSettings, progress: Callable[[Progress | str], None] = print) -> Path:
    """Run the chosen stages and return the folder of the bundle.

    Raises:
        InputError: no packs, or targets are missing.
        InterleaveError: a loss became infinite; the last checkpoint is kept.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    chosen = settings.device if settings.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    with nullcontext() if chosen == "cpu" else torch.device(chosen):  # the context costs a little with every call
        return _run(settings, progress)


def _run(settings: TrainSettings, progress: Callable[[Progress | str], None]) -> Path:
    unknown = set(settings.stages) - set(STAGES)
    if unknown:
        raise ConfigError(f"unknown stage {', '.join(sorted(unknown))}, expected {', '.join(STAGES)}")
    train, held = _load(settings, progress)
    settings.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    finished = settings.start is not None and (settings.start / WEIGHTS).is_file()
    if finished and "text" in settings.stages:
        raise ConfigError(
            f"stage text is chosen and {settings.start} is a bundle, whose words keep their places; "
            "leave text out with --stage, or start from the folder of a run"
        )
    taught = settings.targets is not None and not finished
    sentences = load_sentences(settings.targets / "sentences.npz") if taught and settings.targets else None
    model = FindModel(MiniConfig(), _tokenizer(settings, train, sentences))
    with torch.no_grad():
        model.interface.lang_encoder.logit_scale.fill_(LOG_SCALE)
    model.vision.channels_last()
    school = _Course(settings, model, train, held, sentences, progress)
    if settings.start is not None:
        school.start(settings.start)
    for name in STAGES[:-1]:
        school.take(name)
    if "bundle" in settings.stages:
        with nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu"):
            finish(model.eval().cpu(), train, settings.out / "bundle", _provenance(settings), seed=settings.seed)
            _fit_curves(settings, progress)
        progress(f"wrote {settings.out / 'bundle'}")
    return settings.out / "bundle"


def _fit_curves(settings: TrainSettings, progress: Callable[[Progress | str], None]) -> None:
    """Curves of the judgement; a trial with too few photos leaves them to what each library scores."""
    try:
        fit_curves(
            settings.out / "bundle", sorted(settings.data.glob("train-*.tar")), limit=settings.limit, seed=settings.seed
        )
    except ShapeError as error:
        progress(f"no curves of relevance were fitted: {error}")


class _Course:
    """The stages in their order, each from the checkpoints of those before it."""

    def __init__(
        self,
        settings: TrainSettings,
        model: FindModel,
        train: Samples,
        held: Samples,
        sentences: Sentences | None,
        progress: Callable[[Progress | str], None],
    ) -> None:
        self.settings, self.model, self.train, self.held = settings, model, train, held
        self.sentences, self.progress = sentences, progress
        self.space: Space | None = None
        self._own_texts = False
        self._earlier: FindModel | None = None

    def take(self, name: StageName) -> None:
        """Run a stage if it is chosen, then take up what its checkpoint holds, if there is one."""
        checkpoint = self.settings.out / f"{name}.pt"
        chosen = name in self.settings.stages and (name in UNTAUGHT or self.settings.targets is not None)
        if chosen and name == "refit" and self._earlier is None:
            self.progress("stage refit is left out: it needs --start with a bundle, whose paths are fitted anew")
            chosen = False
        if chosen:
            minutes = {
                "space": self.settings.space_minutes,
                "text": self.settings.text_minutes,
                "vision": self.settings.vision_minutes,
                "align": self.settings.align_minutes,
                "regions": self.settings.regions_minutes,
                "interface": self.settings.minutes,
                "refit": self.settings.refit_minutes,
            }[name]
            stage = getattr(self, f"_{name}")()
            seed, bf16 = self.settings.seed, self.settings.bf16
            run_stage(stage, checkpoint, minutes=minutes, seed=seed, bf16=bf16, progress=self.progress)
        if checkpoint.exists():
            self._take_up(name, _module(checkpoint), checkpoint)

    def _take_up(self, name: StageName, state: dict[str, Tensor], checkpoint: Path) -> None:
        model = self.model
        if name == "space":
            self.space = load_space(checkpoint)
        elif name == "text":
            model.text.load_state_dict(_below("tower.", state))
            model.interface.paths.text.load_state_dict(_below("path.", state))
        elif name == "vision":
            model.vision.load_state_dict(_below("tower.", state))
            model.interface.load_state_dict(_below("interface.", state))
        elif name == "align":
            model.interface.paths.photo.load_state_dict(_below("photo.", state))
            model.interface.paths.region.load_state_dict(_below("photo.", state))
        elif name == "regions":
            model.interface.paths.region.load_state_dict(_below("region.", state))
        elif name == "refit":
            model.interface.paths.load_state_dict(state)
        else:
            model.load_state_dict(state)

    def _space(self) -> Stage:
        _, views = self._views()
        names = teacher_names(views, self._targets / "classifiers.npz")
        return SpaceStage(self.train, views, names, self._sentences, self.held, self._held_vectors())

    def _text(self) -> Stage:
        return TextStage(self.model, self._sentences, self._made_space)

    def _vision(self) -> Stage:
        samples, views = self._views(self.settings.more)
        self.progress(f"{len(samples)} photos and {len(views)} views for the vision tower")
        anchors = self._anchors(self._made_space.of_photos(views.pooled))
        model = self.model
        return VisionStage(model.vision, model.interface, samples, views, self.held, anchors, basis=self.train)

    def _align(self) -> Stage:
        samples, views = self._views(self.settings.more)
        return AlignStage(self.model, samples, views, self._sentences, self._made_space, self.held)

    def _regions(self) -> Stage:
        samples, views = self._views(self.settings.more)
        return RegionStage(self.model, samples, views, self._made_space, *self._names(), self.held)

    def _interface(self) -> Stage:
        anchors, names = None, None
        if self.space is not None and self.sentences is not None and self.train.pooled is not None:
            places, names = self.space.of_photos(self.train.pooled), self._names()
            if self._own_texts:  # what the model says itself of a photo and what the teachers say are best together
                places = F.normalize(TEACHERS_SHARE * places + own_places(self.model, self.train), dim=1)
            anchors = self._anchors(places)
        batch, rate = self.settings.batch, self.settings.backbone_rate
        return InterfaceStage(
            self.model, self.train, self.held, anchors=anchors, names=names, batch=batch, backbone_rate=rate
        )

    def _refit(self) -> Stage:
        if self._earlier is None:
            raise InputError("stage refit needs the paths of an earlier bundle; pass --start")
        return RefitStage(self.model, self._earlier, self.train, seed=self.settings.seed)

    def start(self, folder: Path) -> None:
        """Take an earlier run's towers and what fits of its interface, but for the paths of photos and regions.

        Of a bundle everything is taken, and its own text vectors.
        """
        if (folder / WEIGHTS).is_file():
            self._earlier = load_bundle(folder).model
            self.model.load_state_dict(self._earlier.state_dict())
            if set(self.settings.stages) - {"refit", "bundle"}:
                self.sentences, self._own_texts = self._said(), True
            texts = 0 if self.sentences is None else len(self.sentences.texts)
            self.progress(f"starts from the bundle {folder}, with {texts} texts in its own words")
            return
        tower, text, interface = (folder / f"{name}.pt" for name in ("vision", "text", "interface"))
        if tower.exists():
            self.model.vision.load_state_dict(_below("tower.", _module(tower)))
        if text.exists():
            self.model.text.load_state_dict(_below("tower.", _module(text)))
            self.model.interface.paths.text.load_state_dict(_below("path.", _module(text)))
        own = self.model.interface.state_dict()
        earlier = _below("interface.", _module(interface)) if interface.exists() else {}
        taken = {
            key: value
            for key, value in earlier.items()
            if not key.startswith("paths.") and key in own and own[key].shape == value.shape
        }
        self.model.interface.load_state_dict(taken, strict=False)
        self.progress(
            f"starts from {folder}: tower {tower.exists()}, {len(taken)} of {len(own)} weights of the interface"
        )

    # --- what stages are taught with ----------------------------------------------------------

    def _said(self) -> Sentences:
        """What the model says of all captions and names."""
        names = set(words(self.train))
        if self.settings.targets is not None:
            names |= classifier_names(self.settings.targets / "classifiers.npz")
        captions = [caption for photo in self.train.captions for caption in photo]
        wordings = [template.format(name) for name in sorted(names) for template in TEMPLATES]
        return own_sentences(self.model, {"caption": captions, "name": wordings})

    def _anchors(self, places: Tensor) -> Anchors:
        return Anchors(self._made_space, places, self._sentences, self.held, self._held_vectors())

    def _held_vectors(self) -> NDArray[np.float16]:
        """(n, S) vectors of the first caption of every captioned held-out photo, in order."""
        first = [captions[0] for captions in self.held.captions if captions]
        if self._own_texts:
            sentences = own_sentences(self.model, {"caption": first})
        else:
            sentences = load_sentences(self._targets / "held-sentences.npz")
        return sentences.vectors[[sentences.place[caption] for caption in first]]

    @property
    def _targets(self) -> Path:
        if self.settings.targets is None:
            raise InputError("no teacher targets given; pass --targets")
        return self.settings.targets

    @property
    def _sentences(self) -> Sentences:
        if self.sentences is None:
            raise InputError("no sentence vectors given; pass --targets")
        return self.sentences

    @property
    def _made_space(self) -> Space:
        if self.space is None:
            raise InputError(f"no space at {self.settings.out / 'space.pt'}; run stage space first")
        return self.space

    def _names(self) -> tuple[list[str], Tensor]:
        """All names of masks, with their positions in the space."""
        place = self._sentences.place
        known = sorted({r.label for regions in self.train.regions for r in regions if r.label and r.label in place})
        rows = np.array([place[name] for name in known], np.int64)
        return known, self._made_space.of_texts(self._sentences.vectors[rows])

    def _views(self, more: Path | None = None) -> tuple[Samples, Views]:
        """Photos and views of the training packs, in front of those of a further folder."""
        packs = sorted(self.settings.data.glob("train-*.tar"))
        further = sorted(more.glob("*.tar")) if more is not None else []
        samples = self.train
        if further:
            samples = joined(samples, load_samples(further, targets=self._targets, limit=self.settings.limit))
        return samples, load_views(samples, [*packs, *further], self._targets)


def _module(checkpoint: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(checkpoint, weights_only=True, map_location=torch.get_default_device())[
        "module"
    ]
    return state


def _below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


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
    """Give masks to boxed things, and to captioned photos that nobody outlined, from what the segmenters painted."""
    with np.load(targets) as content:
        voc, ade = (list(map(str, content[name])) for name in ("voc_names", "ade_names"))
    if samples.painted is None:
        return
    for n in range(len(samples)):
        if samples.boxes[n]:
            samples.regions[n] += boxed_regions(samples.painted[n], voc, samples.boxes[n])
        if samples.captions[n] and not samples.regions[n]:
            samples.regions[n] = pseudo_regions(samples.painted[n], voc, ade)


def _tokenizer(settings: TrainSettings, train: Samples, sentences: Sentences | None) -> Tokenizer:
    file = settings.out / "tokenizer.json"
    if settings.start is not None and not file.exists():
        earlier = settings.start / "tokenizer.json"
        if not earlier.is_file():
            raise InputError(f"no tokenizer.json in {settings.start}; give --start the --out folder of an earlier run")
        shutil.copyfile(earlier, file)
    if not file.exists():
        labels = [label for labels in train.labels for label in labels * 3]
        if sentences is None:
            texts, size = [caption for captions in train.captions for caption in captions], 6000
        else:
            texts, size = sentences.texts, 16_000
        train_tokenizer([*texts, *labels], size=size).save(str(file))
    return load_tokenizer(file)


def _provenance(settings: TrainSettings) -> dict[str, object]:
    used = {
        key: value
        for key, value in asdict(settings).items()
        if key.endswith("minutes") or key in ("batch", "backbone_rate", "seed", "limit")
    }
    return {
        "packs": [pack.name for pack in sorted(settings.data.glob("train-*.tar"))],
        "more": [pack.name for pack in sorted(settings.more.glob("*.tar"))] if settings.more else [],
        "distilled": settings.targets is not None,
        **json.loads(json.dumps(used)),
    }
