"""Runs one stage for a given time: optimiser, schedule by the clock, checkpoints, progress. Knows no data or losses."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InterleaveError

CHECKPOINT_SECONDS = 120.0
WARM_UP = 0.03  # share of the time


class Stage(Protocol):
    """What the loop needs to know of a stage."""

    name: str
    photos_per_step: int

    @property
    def module(self) -> nn.Module:
        """Everything that is trained and kept in the checkpoint."""

    def parameter_groups(self) -> list[dict[str, object]]:
        """Groups for AdamW, each with `lr` and `weight_decay`."""

    def at(self, share: float) -> None:
        """Told before every step how much of the stage's time is used, 0 to 1."""

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Weighted losses of one freshly drawn batch; their sum is what is minimised."""

    def measure(self) -> dict[str, float]:
        """Figures on held-out photos, for the progress line; may be empty."""


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
        losses = " ".join(f"{name} {value:.3f}" for name, value in self.losses.items())
        measured = " ".join(f"{name} {value:.3f}" for name, value in self.measured.items())
        return (
            f"{self.stage} {self.done:4.0%} step {self.step} photos {self.photos} {self.photos_per_s:.0f}/s | {losses}"
            + (f" | held out: {measured}" if measured else "")
        )


def run_stage(
    stage: Stage,
    checkpoint: Path,
    *,
    minutes: float,
    seed: int = 0,
    clip: float = 1.0,
    bf16: bool = True,
    line_every: float = 20.0,
    measure_every: float = 300.0,
    progress: Callable[[Progress], None] = print,
) -> None:
    """Train until `minutes` of this stage's own clock are used up; resumes from `checkpoint` when it is there.

    The learning rate follows the clock (short warm-up, then a half cosine to zero), so that a slower machine
    does fewer steps of the same schedule. Every checkpoint replaces the last one atomically.

    Raises:
        InterleaveError: a loss is not finite; the last checkpoint is kept.
    """
    with _denormals_flushed():
        optimiser = torch.optim.AdamW(stage.parameter_groups(), betas=(0.9, 0.98), fused=True)
        clock = _Clock(budget=minutes * 60, rates=[float(group["lr"]) for group in optimiser.param_groups])
        if checkpoint.exists():
            _restore(checkpoint, stage, optimiser, clock)
        clock.start()
        rng = np.random.default_rng((seed, clock.step))
        torch.manual_seed(seed + clock.step)
        lines = _Lines(stage, clock, line_every, measure_every)
        saved = time.monotonic()
        while clock.used < clock.budget:
            stage.at(clock.used / clock.budget)
            for group, rate in zip(optimiser.param_groups, clock.rates, strict=True):
                group["lr"] = rate * _schedule(clock.used / clock.budget)
            lines.add(_step(stage, optimiser, rng, clock, checkpoint, clip=clip, bf16=bf16))
            clock.tick()
            if lines.due():
                progress(lines.line())
            if time.monotonic() - saved >= CHECKPOINT_SECONDS:
                _save(checkpoint, stage, optimiser, clock)
                saved = time.monotonic()
        _save(checkpoint, stage, optimiser, clock)


@contextmanager
def _denormals_flushed() -> Iterator[None]:
    """Vanishing gradients are many times slower than zeros; what comes after finds the processor as it was."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _step(
    stage: Stage,
    optimiser: torch.optim.Optimizer,
    rng: np.random.Generator,
    clock: _Clock,
    checkpoint: Path,
    *,
    clip: float,
    bf16: bool,
) -> dict[str, float]:
    stage.module.train()
    with torch.autocast(torch.get_default_device().type, torch.bfloat16, enabled=bf16):
        losses = stage.losses(rng)
    total = torch.stack([loss.float() for loss in losses.values()]).sum()
    if not torch.isfinite(total):
        raise InterleaveError(
            f"stage {stage.name}: loss is {float(total.detach())} at step {clock.step}; the last checkpoint is "
            f"{checkpoint}, lower the learning rate and go on from it"
        )
    optimiser.zero_grad(set_to_none=True)
    total.backward()
    nn.utils.clip_grad_norm_(stage.module.parameters(), clip)
    optimiser.step()
    return {name: float(loss.detach()) for name, loss in losses.items()}


@dataclass
class _Clock:
    """Seconds and steps of a stage over all its runs, and the full learning rate of each group."""

    budget: float
    rates: list[float]
    used: float = 0.0
    step: int = 0
    origin: float = 0.0

    def start(self) -> None:
        self.origin = time.monotonic() - self.used

    def tick(self) -> None:
        self.step += 1
        self.used = time.monotonic() - self.origin


class _Lines:
    """Means of the losses between two progress lines, and when the next line and measurement are due."""

    def __init__(self, stage: Stage, clock: _Clock, line_every: float, measure_every: float) -> None:
        self._stage, self._clock = stage, clock
        self._line_every, self._measure_every = line_every, measure_every
        self._sums: dict[str, tuple[float, int]] = {}
        self._last = self._measured = time.monotonic()
        self._step = clock.step

    def add(self, losses: dict[str, float]) -> None:
        for name, loss in losses.items():
            so_far, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = so_far + loss, count + 1

    def due(self) -> bool:
        return time.monotonic() - self._last >= self._line_every or self._clock.used >= self._clock.budget

    def line(self) -> Progress:
        clock, now, measured = self._clock, time.monotonic(), {}
        if now - self._measured >= self._measure_every or clock.used >= clock.budget:
            self._stage.module.eval()
            with torch.inference_mode():
                measured, self._measured = self._stage.measure(), now
        photos = (clock.step - self._step) * self._stage.photos_per_step
        losses = {name: total / count for name, (total, count) in self._sums.items()}
        done = min(1.0, clock.used / clock.budget)
        seen = clock.step * self._stage.photos_per_step
        self._sums, self._step = {}, clock.step
        speed, self._last = photos / (now - self._last), time.monotonic()
        return Progress(self._stage.name, done, clock.step, seen, speed, losses, measured)


def _schedule(share: float) -> float:
    return min(1.0, share / WARM_UP + 0.02) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def _save(path: Path, stage: Stage, optimiser: torch.optim.Optimizer, clock: _Clock) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(
        {
            "stage": stage.name,
            "module": stage.module.state_dict(),
            "optimiser": optimiser.state_dict(),
            "used": clock.used,
            "step": clock.step,
            "rates": clock.rates,
        },
        part,
    )
    os.replace(part, path)


def _restore(path: Path, stage: Stage, optimiser: torch.optim.Optimizer, clock: _Clock) -> None:
    content = torch.load(path, weights_only=True, map_location=torch.get_default_device())
    if content["stage"] != stage.name:
        raise InterleaveError(
            f"checkpoint {path} is of stage {content['stage']}, expected {stage.name}; give another --out"
        )
    stage.module.load_state_dict(content["module"])
    optimiser.load_state_dict(content["optimiser"])
    clock.used, clock.step, clock.rates = content["used"], content["step"], list(content["rates"])
