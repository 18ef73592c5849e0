"""Training of READ from beginning to end: one process, resumable, with a result that `--model read:DIR` takes.

    interleave-index train --data read DATA --out DIR --start read

Where it differs from the published recipe: semantic segmentation and visual questions, which come with other data sets,
are not among its sources; wordings are fewer; one process trains, so that `accumulate` makes up for several GPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ... import metrics
from ...errors import InputError, InterleaveError
from ...evaluation.published.files import read_photo
from ...evaluation.published.reasonseg import ReasonPhoto, read_reasonseg
from ...geometry import size_of
from ...interface.read.loading import Parts, load_parts
from ...interface.read.model import Read
from ...interface.read.prompts import reasoning_question
from ...interface.read.saving import write_read
from ...interface.registry import find
from ..loop import LINE_SECONDS, LossMeans, named_figures, save_checkpoint
from .lora import attach, merged, recompute_states
from .settings import TrainReadSettings
from .sources import REASON, Source, open_sources
from .step import losses

CHECKPOINT, BEST = "training.pt", "best.pt"


def run(settings: TrainReadSettings, progress: Callable[[str], None] = print) -> Path:
    """Train and write the result.

    Returns:
        `settings.out`, in the form of the release.
    Raises:
        InputError: data that cannot be used, or a checkpoint of other settings.
        InterleaveError: a loss is not finite; the last checkpoint is kept.
        WeightsMissing, BackendMissing: the model that is gone on from cannot be built.
    """
    sources = open_sources(settings.data, settings.mix)
    for name, source in sources.items():
        progress(f"{name}: {source.count} photos, drawn {_share(settings, sources, name):.0%} of the time")
    validation = _validation_photos(settings)
    device = _device(settings)
    torch.manual_seed(settings.seed)
    dtype = torch.bfloat16 if settings.bf16 else torch.float32
    parts = load_parts(find(settings.start).folder, device=str(device), dtype=dtype, sam_file=settings.sam)
    learning = attach(parts, settings.lora)
    if settings.checkpointing:
        recompute_states(parts)
    progress(f"{sum(one.numel() for one in learning.values()):,} parameters are trained on {device.type}")
    training = _Training(settings, parts, learning, sources, validation, progress)
    training.resume()
    training.go_on()
    if (settings.out / BEST).exists():
        _fill(learning, torch.load(settings.out / BEST, weights_only=True, map_location="cpu")["trained"])
    vocabulary = parts.llava.lm_head.weight.shape[0]
    facts = {"architectures": ["READForCausalLM"], "vocab_size": vocabulary, "training": settings.kept()}
    write_read(settings.out, merged(parts), parts, {**parts.config, **facts}, dtype)
    progress(f"wrote {settings.out}")
    return settings.out


class _Training:
    """The state of a training and its loop."""

    def __init__(
        self,
        settings: TrainReadSettings,
        parts: Parts,
        learning: Mapping[str, nn.Parameter],
        sources: Mapping[str, Source],
        validation: Sequence[ReasonPhoto],
        report: Callable[[str], None],
    ) -> None:
        self._settings, self._parts, self._learning = settings, parts, learning
        self._sources, self._validation, self._report = sources, validation, report
        self._device = next(iter(learning.values())).device
        self._optimiser = torch.optim.AdamW(
            learning.values(), lr=settings.rate, betas=(settings.betas[0], settings.betas[1]), weight_decay=0.0
        )
        self._facts = {**settings.kept(), "sources": {name: source.count for name, source in sources.items()}}
        self._done, self._best = 0, -1.0

    # --- the loop -----------------------------------------------------------------------------

    def go_on(self) -> None:
        """Train to the last step; every epoch ends with a measurement, and the best is kept."""
        settings, means = self._settings, LossMeans()
        while self._done < settings.steps:
            means.add(self._step(self._done))
            self._done += 1
            finished = self._done == settings.steps
            if finished or means.seconds >= LINE_SECONDS:
                speed = means.steps * settings.batch * settings.accumulate / means.seconds
                line = f"step {self._done}/{settings.steps} {speed:.1f} photos/s | {named_figures(means.take())}"
                self._report(line)
            if self._done % settings.steps_per_epoch == 0:
                self._end_epoch()
            if finished or self._done % settings.save_every == 0:
                self._save()

    def _step(self, number: int) -> dict[str, float]:
        """One step of the optimiser; what it draws depends on the seed and its number alone."""
        settings = self._settings
        seed = settings.seed * 1_000_003 + number
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        names, shares = list(self._sources), [_share(settings, self._sources, name) for name in self._sources]
        for group in self._optimiser.param_groups:
            group["lr"] = settings.rate * _schedule(number, settings)
        self._train_mode(True)
        self._optimiser.zero_grad(set_to_none=True)
        total: dict[str, float] = {}
        for _ in range(settings.accumulate):
            chosen = rng.choice(len(names), settings.batch, p=shares)
            samples = [self._sources[names[n]].draw(rng, settings.expressions) for n in chosen]
            with torch.autocast(self._device.type, torch.bfloat16, enabled=settings.bf16):
                found = losses(self._parts, samples, settings.points)
            loss = torch.stack([settings.weights[name] * value for name, value in found.items()]).sum()
            if not torch.isfinite(loss):
                raise InterleaveError(
                    f"loss is {float(loss.detach())} at step {number}; the last checkpoint is "
                    f"{settings.out / CHECKPOINT}, lower the learning rate and go on from it"
                )
            (loss / settings.accumulate).backward()
            for name, value in found.items():
                total[name] = total.get(name, 0.0) + float(value.detach()) / settings.accumulate
        nn.utils.clip_grad_norm_(self._learning.values(), settings.clip)
        self._optimiser.step()
        return total

    def _train_mode(self, on: bool) -> None:
        for module in (self._parts.llava, self._parts.sam, self._parts.head):
            module.train(on)

    def _end_epoch(self) -> None:
        if not self._validation:
            return
        self._train_mode(False)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._settings.bf16):
            summary = measure(Read(self._parts, self._settings.points), self._validation)
        epoch = self._done // self._settings.steps_per_epoch
        self._report(f"epoch {epoch} | held out: gIoU {100 * summary.giou:.1f} cIoU {100 * summary.ciou:.1f}")
        if summary.ciou > self._best:
            self._best = summary.ciou
            save_checkpoint(self._settings.out / BEST, {"epoch": epoch, "trained": self._trained()})

    # --- checkpoints --------------------------------------------------------------------------

    def resume(self) -> None:
        """Take over the checkpoint of the same training, if there is one.

        Raises:
            InputError: it is of a training with other settings or other data.
        """
        checkpoint = self._settings.out / CHECKPOINT
        if not checkpoint.exists():
            (self._settings.out / BEST).unlink(missing_ok=True)  # of a training that never came to a checkpoint
            return
        content = torch.load(checkpoint, weights_only=True, map_location=self._device)
        before = content["settings"]
        keys = before.keys() | self._facts.keys()
        differing = sorted(name for name in keys if before.get(name) != self._facts.get(name))
        if differing:
            raise InputError(f"{checkpoint} is of a training with other {', '.join(differing)}; give another --out")
        _fill(self._learning, content["trained"])
        self._optimiser.load_state_dict(content["optimiser"])
        self._done, self._best = int(content["done"]), float(content["best"])
        self._report(f"goes on from step {self._done}")

    def _save(self) -> None:
        content = {"settings": self._facts, "done": self._done, "best": self._best, "trained": self._trained()}
        save_checkpoint(self._settings.out / CHECKPOINT, {**content, "optimiser": self._optimiser.state_dict()})

    def _trained(self) -> dict[str, Any]:
        return {name: parameter.detach() for name, parameter in self._learning.items()}


def measure(read: Read, photos: Sequence[ReasonPhoto]) -> metrics.ReadIou:
    """gIoU and cIoU of ReasonSeg with the answer supplied, as published."""
    counts = []
    for photo in photos:
        pixels = read_photo(photo.file)
        (answer,) = read.supply(pixels, [reasoning_question(photo.text, is_sentence=photo.long)])
        truth = photo.truth(size_of(pixels))[None]
        counts.append(metrics.class_intersection_and_union(answer.segments[0].mask[None], truth))
    intersection, union = (np.concatenate([pair[n] for pair in counts]) for n in (0, 1))
    return metrics.read_iou(intersection, union)


def _validation_photos(settings: TrainReadSettings) -> Sequence[ReasonPhoto]:
    folder = settings.data / REASON.with_name("val")
    if not settings.validate or not folder.is_dir():
        return ()
    return read_reasonseg(folder)[: settings.validation_limit]


def _share(settings: TrainReadSettings, sources: Mapping[str, Source], name: str) -> float:
    """Of the photos that are drawn from one source."""
    return settings.mix[name] / sum(settings.mix[other] for other in sources)


def _schedule(step: int, settings: TrainReadSettings) -> float:
    """Of the learning rate: up over the warm-up, then linearly down to nothing."""
    if step < settings.warm_up:
        return (step + 1) / (settings.warm_up + 1)
    return (settings.steps - step) / max(1, settings.steps - settings.warm_up)


def _fill(learning: Mapping[str, nn.Parameter], trained: Mapping[str, torch.Tensor]) -> None:
    for name, parameter in learning.items():
        parameter.data.copy_(trained[name])


def _device(settings: TrainReadSettings) -> torch.device:
    cuda = torch.cuda.is_available() if settings.device == "auto" else settings.device.startswith("cuda")
    return torch.device("cuda" if cuda else "cpu")
