"""Runs one stage for a given time: optimiser, schedule by the clock, checkpoints, progress. Knows no data or losses."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
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
    torch.set_flush_denormal(True)  # vanishing gradients are many times slower than zeros
    optimiser = torch.optim.AdamW(stage.parameter_groups(), betas=(0.9, 0.98), fused=True)
    state = _Clock(budget=minutes * 60)
    if checkpoint.exists():
        _restore(checkpoint, stage, optimiser, state)
    rates = [float(group["lr"]) for group in optimiser.param_groups] if not state.rates else state.rates
    state.rates = rates
    rng = np.random.default_rng((seed, state.step))
    torch.manual_seed(seed + state.step)
    sums: dict[str, tuple[float, int]] = {}
    last_line = last_save = last_measure = time.monotonic()
    started, line_step = time.monotonic() - state.used, state.step
    while state.used < state.budget:
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * _schedule(state.used / state.budget)
        stage.module.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            losses = stage.losses(rng)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        if not torch.isfinite(total):
            raise InterleaveError(
                f"stage {stage.name}: loss is {float(total.detach())} at step {state.step}; "
                f"the last checkpoint is {checkpoint}, lower the learning rate and go on from it"
            )
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(stage.module.parameters(), clip)
        optimiser.step()
        state.step += 1
        state.used = time.monotonic() - started
        for name, loss in losses.items():
            so_far, count = sums.get(name, (0.0, 0))
            sums[name] = so_far + float(loss.detach()), count + 1
        now = time.monotonic()
        if now - last_line >= line_every or state.used >= state.budget:
            measured = {}
            if now - last_measure >= measure_every or state.used >= state.budget:
                stage.module.eval()
                with torch.inference_mode():
                    measured, last_measure = stage.measure(), now
            steps = state.step - line_step
            progress(
                Progress(
                    stage.name,
                    min(1.0, state.used / state.budget),
                    state.step,
                    state.step * stage.photos_per_step,
                    steps * stage.photos_per_step / (now - last_line),
                    {name: total / count for name, (total, count) in sums.items()},
                    measured,
                )
            )
            sums, last_line, line_step = {}, time.monotonic(), state.step
        if now - last_save >= CHECKPOINT_SECONDS:
            _save(checkpoint, stage, optimiser, state)
            last_save = time.monotonic()
    _save(checkpoint, stage, optimiser, state)


@dataclass
class _Clock:
    budget: float
    used: float = 0.0
    step: int = 0
    rates: list[float] | None = None


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
    content = torch.load(path, weights_only=True)
    if content["stage"] != stage.name:
        raise InterleaveError(
            f"checkpoint {path} is of stage {content['stage']}, expected {stage.name}; give another --out"
        )
    stage.module.load_state_dict(content["module"])
    optimiser.load_state_dict(content["optimiser"])
    clock.used, clock.step, clock.rates = content["used"], content["step"], content["rates"]
