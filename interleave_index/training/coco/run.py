"""Training on COCO from beginning to end: alone or in several processes, resumable, with a result that can be asked.

    torchrun --nproc-per-node 8 -m interleave_index train --data coco COCO --out DIR ...

Where it differs from the published recipe: frozen modules stay in eval mode; class vectors of a step come from one pass
of the language side and serve all ten predictions; no second round of clicks is trained, which fails in the original
with more than one prompt; entity sentences of other photos are not used.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ...errors import InputError, InterleaveError
from ...interface.published.pair import TEXTS, TrainedNetwork, model_of, write_pair
from ...interface.published.trained import prepare_pair
from .data import Photos, Sample, draw_sample, read_photos
from .settings import CocoSettings
from .step import Step

CHECKPOINT = "training.pt"
FALLS, FACTOR = (0.88889, 0.96296), 0.1
LINE_SECONDS = 20.0


def run(settings: CocoSettings, progress: Callable[[str], None] = print) -> Path:
    """Train and write the result; every process of a torchrun calls this.

    Returns:
        `settings.out`, which holds the weights (`model.safetensors`, published names) and config.json.
    Raises:
        InputError: data that cannot be used, or a checkpoint of other settings.
        InterleaveError: a loss is not finite; the last checkpoint is kept.
    """
    with _processes(settings) as (rank, count, device):
        told = progress if rank == 0 else (lambda line: None)
        photos = read_photos(
            settings.data,
            settings.split,
            entity=settings.entity,
            refs=settings.refs,
            instances=settings.instances,
            leave_out=settings.leave_out,
        )
        torch.manual_seed(settings.seed)
        model = model_of(settings.pair(), device, settings.out / TEXTS)
        network = cast(TrainedNetwork, model.network)
        names = [category.name for category in photos.panoptic.categories]
        drawn = settings.batch // count if settings.drawn_classes is None else settings.drawn_classes
        step = Step(
            network,
            model.prompter,
            names,
            points=settings.points,
            drawn_classes=drawn,
            drawn_sentences=settings.drawn_sentences,
        )
        step = step.to(device)
        told(
            f"{len(photos.ids())} photos, {sum(p.numel() for p in step.parameters() if p.requires_grad):,} parameters "
            f"are trained, {count} process{'es' if count > 1 else ''} on {device.type}"
        )
        _Training(settings, photos, step, rank, count, device, told)()
        if rank == 0:
            write_pair(settings.out, settings.pair(), network, {"class_names": names, "settings": settings.to_json()})
            prepare_pair(settings.out)
            told(f"wrote {settings.out}")
    return settings.out


class _Training:
    """The loop of one process."""

    def __init__(
        self,
        settings: CocoSettings,
        photos: Photos,
        step: Step,
        rank: int,
        count: int,
        device: torch.device,
        told: Callable[[str], None],
    ) -> None:
        self.settings, self.photos, self.step, self.rank, self.count = settings, photos, step, rank, count
        self.device, self.told, self.ids = device, told, photos.ids()[: settings.limit]
        if settings.batch % count:
            raise InputError(f"batch is {settings.batch}, expected a multiple of the {count} processes")
        self.steps = settings.steps or max(1, round(settings.epochs * len(self.ids) / settings.batch))
        self.optimiser = torch.optim.AdamW(_groups(step, settings), lr=settings.lr)
        self.done = 0
        self._restore()
        self.parallel: nn.Module = step
        if count > 1:
            places = [device.index] if device.type == "cuda" else None
            self.parallel = DistributedDataParallel(
                step, device_ids=places, find_unused_parameters=True, broadcast_buffers=False
            )

    def __call__(self) -> None:
        """Train to the last step."""
        if not self.done:
            self.step.refresh_table()
        spoke, sums, counted = time.monotonic(), dict[str, float](), 0
        while self.done < self.steps:
            losses = self._one()
            counted += 1
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value
            self.done += 1
            now = time.monotonic()
            if now - spoke >= LINE_SECONDS or self.done == self.steps:
                speed = counted * self.settings.batch / max(now - spoke, 1e-9)
                means = " ".join(f"{name} {value / counted:.3f}" for name, value in sums.items())
                self.told(f"step {self.done}/{self.steps} {speed:.1f} photos/s | {means}")
                spoke, sums, counted = now, {}, 0
            if self.done % self.settings.save_every == 0 or self.done == self.steps:
                self._save()

    def _one(self) -> dict[str, float]:
        self.step.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.lr * FACTOR ** sum(self.done >= share * self.steps for share in FALLS)
        seed = (self.settings.seed * 1_000_003 + self.done) * 1009 + self.rank
        torch.manual_seed(seed)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16):
            losses: dict[str, Tensor] = self.parallel(self._samples(seed), seed)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        if not torch.isfinite(total):
            raise InterleaveError(
                f"loss is {float(total.detach())} at step {self.done}; the last checkpoint is "
                f"{self.settings.out / CHECKPOINT}, lower the learning rate and go on from it"
            )
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_([p for p in self.step.parameters() if p.requires_grad], self.settings.clip)
        self.optimiser.step()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _samples(self, seed: int) -> list[Sample]:
        """The photos of this process in this step: each epoch is one permutation, dealt out in turn."""
        size = self.settings.batch // self.count
        rng, found = np.random.default_rng(seed), []
        for n in range(size):
            place = self.done * self.settings.batch + self.rank * size + n
            epoch, at = divmod(place, len(self.ids))
            order = np.random.default_rng((self.settings.seed, epoch)).permutation(len(self.ids))
            found.append(draw_sample(self.photos, self.ids[int(order[at])], self.settings.drawing, rng))
        return found

    # --- checkpoints --------------------------------------------------------------------------

    def _head(self) -> str:
        return json.dumps({**self.settings.to_json(), "steps": self.steps}, sort_keys=True)

    def _save(self) -> None:
        if self.rank == 0:
            self.settings.out.mkdir(parents=True, exist_ok=True)
            path = self.settings.out / CHECKPOINT
            part = path.with_suffix(".part")
            torch.save(
                {
                    "head": self._head(),
                    "done": self.done,
                    "trained": self.step.network.trained(),
                    "table": self.step.table,
                    "optimiser": self.optimiser.state_dict(),
                },
                part,
            )
            os.replace(part, path)

    def _restore(self) -> None:
        path = self.settings.out / CHECKPOINT
        if not path.exists():
            return
        content = torch.load(path, weights_only=True, map_location=self.device)
        if content["head"] != self._head():
            was, now = json.loads(content["head"]), json.loads(self._head())
            differs = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
            raise InputError(f"{path} is of a training with other {', '.join(differs)}; give another --out")
        self.step.network.load_state_dict(content["trained"], strict=False)
        self.optimiser.load_state_dict(content["optimiser"])
        self.step.table = content["table"]
        self.done = int(content["done"])
        self.told(f"goes on from step {self.done}")


def _groups(step: Step, settings: CocoSettings) -> list[dict[str, Any]]:
    """Norms and embeddings are not decayed."""
    bare: list[Tensor] = []
    rest: list[Tensor] = []
    for module in step.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.requires_grad:
                (bare if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.Embedding) else rest).append(parameter)
    return [{"params": rest, "weight_decay": settings.weight_decay}, {"params": bare, "weight_decay": 0.0}]


@contextmanager
def _processes(settings: CocoSettings) -> Iterator[tuple[int, int, torch.device]]:
    """Rank, number of processes and device; the group that torchrun announced is opened and closed."""
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    cuda = torch.cuda.is_available() if settings.device == "auto" else settings.device.startswith("cuda")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    opened = count > 1 and not dist.is_initialized()
    if opened:
        dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield rank, count, device
    finally:
        if opened:
            dist.destroy_process_group()
