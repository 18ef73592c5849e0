"""Steps, checkpoints and progress of a training; and the loop of one stage by the clock. Knows no data or losses."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InterleaveError
from ..whole_files import replaced

CHECKPOINT_SECONDS, LINE_SECONDS, MEASURE_SECONDS = 120.0, 20.0, 300.0
WARM_UP = 0.03  # share of the time
CLIP = 1.0  # largest norm of a gradient


@dataclass(frozen=True, slots=True)
class StageSettings:
    """How long one stage learns, and how fast.

    Attributes:
        minutes: of its own clock, which the learning rate follows.
        batch: photos, or texts, a step.
        rate: learning rate of AdamW; decay: weight decay.
    """

    minutes: float
    batch: int
    rate: float
    decay: float


class Stage(ABC):
    """What is trained on what: a part of a training that `run_stage` runs.

    Attributes:
        name: of the stage.
        module: everything that is kept in the checkpoint.
        learning: how the names of those of its parameters begin that are trained.
        bare: parts of names whose parameters are not decayed, as norms and biases are not; None decays everything.
        photos_per_step: photos, or texts, of one batch.
    """

    name: str
    module: nn.Module
    learning: ClassVar[tuple[str, ...]] = ("",)
    bare: ClassVar[tuple[str, ...] | None] = None

    def __init__(self, settings: StageSettings) -> None:
        self.settings, self.photos_per_step = settings, settings.batch

    def rate(self, name: str) -> float:
        """Learning rate of the parameter of that name."""
        return self.settings.rate

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for AdamW, each with `lr` and `weight_decay`."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
        for name, parameter in self.module.named_parameters():
            if parameter.requires_grad and name.startswith(self.learning):
                bare = parameter.ndim <= 1 or any(part in name for part in self.bare or ())
                decay = 0.0 if bare and self.bare is not None else self.settings.decay
                groups[self.rate(name), decay].append(parameter)
        ordered = sorted(groups, key=lambda group: (group[0], -group[1]))  # as checkpoints have them
        return [{"params": groups[rate, decay], "lr": rate, "weight_decay": decay} for rate, decay in ordered]

    @abstractmethod
    def losses(self, rng: np.random.Generator, share: float = 0.0) -> dict[str, Tensor]:
        """Weighted losses of one freshly drawn batch; their sum is what is minimised.

        Args:
            share: of the stage's time that is used, 0 to 1.
        """

    def measure(self) -> dict[str, float]:
        """Figures on held-out photos, for the progress line; may be empty."""
        return {}


@dataclass(frozen=True, slots=True)
class Progress:
    """One progress line: share of the time, photos seen, speed, mean losses since the last line, measured figures."""

    stage: str
    done: float
    step: int
    photos: int
    photos_per_s: float
    losses: dict[str, float]
    measured: dict[str, float]

    def __str__(self) -> str:
        line = (
            f"{self.stage} {self.done:4.0%} step {self.step} photos {self.photos} {self.photos_per_s:.0f}/s"
            f" | {named_figures(self.losses)}"
        )
        return f"{line} | held out: {named_figures(self.measured)}" if self.measured else line


def run_stage(
    stage: Stage,
    checkpoint: Path,
    *,
    minutes: float,
    seed: int = 0,
    bf16: bool = True,
    progress: Callable[[Progress], None] = print,
) -> None:
    """Train until `minutes` of this stage's own clock are used up; resumes from `checkpoint` when it is there.

    The learning rate follows the clock (short warm-up, then a half cosine to zero), so that a slower machine
    does fewer steps of the same schedule. Every checkpoint replaces the last one atomically.

    Raises:
        InterleaveError: a loss is not finite, with the last checkpoint kept; or the checkpoint is of another stage.
    """
    budget = minutes * 60
    optimiser = torch.optim.AdamW(stage.parameter_groups(), betas=(0.9, 0.98), fused=True)
    rates = [float(group["lr"]) for group in optimiser.param_groups]
    used, step = 0.0, 0
    if checkpoint.exists():
        used, step, rates = _resumed(stage, optimiser, checkpoint)

    def save() -> None:
        content = {"stage": stage.name, "module": stage.module.state_dict(), "optimiser": optimiser.state_dict()}
        save_checkpoint(checkpoint, {**content, "used": used, "step": step, "rates": rates})

    rng = np.random.default_rng((seed, step))
    torch.manual_seed(seed + step)
    means = LossMeans()
    saved = measured = time.monotonic()
    origin = saved - used
    torch.set_flush_denormal(True)  # vanishing gradients are many times slower than zeros
    try:
        while used < budget:
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * _schedule(used / budget)
            stage.module.train()
            with torch.autocast(torch.get_default_device().type, torch.bfloat16, enabled=bf16):
                losses = stage.losses(rng, used / budget)
            where = f"stage {stage.name}: loss is {{}} at step {step}; the last checkpoint is {checkpoint}"
            means.add(update(optimiser, losses, stage.module.parameters(), CLIP, where))
            step += 1
            now = time.monotonic()
            used = now - origin
            finished = used >= budget
            if finished or means.seconds >= LINE_SECONDS:
                figures: dict[str, float] = {}
                if finished or now - measured >= MEASURE_SECONDS:
                    stage.module.eval()
                    with torch.inference_mode():
                        figures, measured = stage.measure(), now
                speed = means.steps * stage.photos_per_step / means.seconds
                seen = step * stage.photos_per_step
                progress(Progress(stage.name, min(1.0, used / budget), step, seen, speed, means.take(), figures))
            if not finished and now - saved >= CHECKPOINT_SECONDS:
                save()
                saved = now
        save()
    finally:
        torch.set_flush_denormal(False)  # what comes after finds the processor as it was


def _resumed(stage: Stage, optimiser: torch.optim.Optimizer, checkpoint: Path) -> tuple[float, int, list[float]]:
    """Bring a stage to where its checkpoint is; gives seconds used, steps done, and the rates of the optimiser."""
    content = torch.load(checkpoint, weights_only=True, map_location=torch.get_default_device())
    if content["stage"] != stage.name:
        raise InterleaveError(
            f"checkpoint {checkpoint} is of stage {content['stage']}, expected {stage.name}; give another --out"
        )
    stage.module.load_state_dict(content["module"])
    optimiser.load_state_dict(content["optimiser"])
    return content["used"], content["step"], list(content["rates"])


def update(
    optimiser: torch.optim.Optimizer,
    losses: Mapping[str, Tensor],
    parameters: Iterator[nn.Parameter] | list[nn.Parameter],
    clip: float,
    where: str,
) -> dict[str, float]:
    """One step of an optimiser down the sum of the losses.

    Args:
        clip: largest norm of the gradient of `parameters`.
        where: message of a loss that is not finite, with a place for it.
    Returns:
        the losses as numbers.
    Raises:
        InterleaveError: their sum is not finite; nothing was changed.
    """
    total = torch.stack([loss.float() for loss in losses.values()]).sum()
    if not torch.isfinite(total):
        raise InterleaveError(f"{where.format(float(total.detach()))}, lower the learning rate and go on from it")
    optimiser.zero_grad(set_to_none=True)
    total.backward()
    nn.utils.clip_grad_norm_(parameters, clip)
    optimiser.step()
    return {name: float(loss.detach()) for name, loss in losses.items()}


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint, which takes the place of an earlier one when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as draft:
        torch.save(content, draft)


class LossMeans:
    """Means of the losses between two progress lines.

    Attributes:
        steps: since the last line.
    """

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}
        self._since = time.monotonic()
        self.steps = 0

    @property
    def seconds(self) -> float:
        """Since the last line, above 0."""
        return max(time.monotonic() - self._since, 1e-9)

    def add(self, losses: Mapping[str, float]) -> None:
        """Count one step."""
        self.steps += 1
        for name, loss in losses.items():
            self._values.setdefault(name, []).append(loss)

    def take(self) -> dict[str, float]:
        """The means, each over the steps that had the loss; counts anew from here on."""
        means = {name: float(np.mean(values)) for name, values in self._values.items()}
        self._values, self._since, self.steps = {}, time.monotonic(), 0
        return means


def named_figures(figures: Mapping[str, float]) -> str:
    """Figures as a progress line shows them.

    >>> named_figures({"bce": 0.25, "dice": 1})
    'bce 0.250 dice 1.000'
    """
    return " ".join(f"{name} {value:.3f}" for name, value in figures.items())


def _schedule(share: float) -> float:
    return min(1.0, share / WARM_UP + 0.02) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
