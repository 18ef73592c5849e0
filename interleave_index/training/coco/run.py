"""Training on COCO from beginning to end: alone or in several processes, resumable, with a result that can be asked.

    torchrun --nproc-per-node 8 -m interleave_index train --data coco COCO --out DIR ...

Where it differs from the published recipe: frozen modules stay in eval mode; class vectors of a step come from one pass
of the language side and serve all ten predictions; no second round of clicks is trained, which fails in the original
with more than one prompt; entity sentences of other photos are not used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ...errors import InputError
from ...interface.published.pair import TEXTS, TrainedNetwork, model_of, write_pair
from ...interface.published.trained import prepare_pair
from ..loop import LINE_SECONDS, LossMeans, named_figures, save_checkpoint, update
from .data import Photos, Sample, draw_sample, read_photos
from .settings import CocoSettings
from .step import Step

CHECKPOINT = "training.pt"
FALLS, FACTOR = (0.88889, 0.96296), 0.1  # shares of the steps at which the learning rate falls, and to how much


@dataclass(frozen=True, slots=True)
class Process:
    """One of the processes that train together."""

    rank: int
    count: int
    device: torch.device


def run(settings: CocoSettings, progress: Callable[[str], None] = print) -> Path:
    """Train and write the result; every process of a torchrun calls this.

    Returns:
        `settings.out`, which holds the weights (`model.safetensors`, published names) and config.json.
    Raises:
        InputError: data that cannot be used, or a checkpoint of other settings.
        InterleaveError: a loss is not finite; the last checkpoint is kept.
    """
    with _joined_processes(settings) as process:
        report = progress if process.rank == 0 else (lambda line: None)
        photos = read_photos(
            settings.data,
            settings.split,
            entity=settings.entity,
            refs=settings.refs,
            instances=settings.instances,
            leave_out=settings.leave_out,
        )
        torch.manual_seed(settings.seed)
        model = model_of(settings.pair(), process.device, settings.out / TEXTS)
        network = cast(TrainedNetwork, model.network)
        names = [category.name for category in photos.panoptic.categories]
        step = Step(settings, network, model.prompter, names, processes=process.count).to(process.device)
        trained = sum(parameter.numel() for parameter in step.parameters() if parameter.requires_grad)
        report(
            f"{len(photos.ids())} photos, {trained:,} parameters are trained, "
            f"{process.count} process{'es' if process.count > 1 else ''} on {process.device.type}"
        )
        _Training(settings, photos, step, process, report).train()
        if process.rank == 0:
            write_pair(settings.out, settings.pair(), network, {"class_names": names, "settings": settings.kept()})
            prepare_pair(settings.out)
            report(f"wrote {settings.out}")
    return settings.out


class _Training:
    """The loop of one process."""

    def __init__(
        self, settings: CocoSettings, photos: Photos, step: Step, process: Process, report: Callable[[str], None]
    ) -> None:
        self.settings, self.photos, self.step, self.process, self.report = settings, photos, step, process, report
        if settings.batch % process.count:
            raise InputError(f"batch is {settings.batch}, expected a multiple of the {process.count} processes")
        self.ids = photos.ids()[: settings.limit]
        self.steps = settings.steps or max(1, round(settings.epochs * len(self.ids) / settings.batch))
        self.optimiser = torch.optim.AdamW(_groups(step, settings), lr=settings.rate)
        self.learning = [parameter for parameter in step.parameters() if parameter.requires_grad]
        self.checkpoint = settings.out / CHECKPOINT
        self.done = 0
        if self.checkpoint.exists():
            self._restore()
        self.parallel: nn.Module = step
        if process.count > 1:
            devices = [process.device.index] if process.device.type == "cuda" else None
            self.parallel = DistributedDataParallel(
                step, device_ids=devices, find_unused_parameters=True, broadcast_buffers=False
            )

    def train(self) -> None:
        """Train to the last step."""
        if not self.done:
            self.step.refresh_table()
        means = LossMeans()
        while self.done < self.steps:
            means.add(self._update())
            self.done += 1
            last = self.done == self.steps
            if last or means.seconds >= LINE_SECONDS:
                speed = means.steps * self.settings.batch / means.seconds
                losses = named_figures(means.take())
                self.report(f"step {self.done}/{self.steps} {speed:.1f} photos/s | {losses}")
            if last or self.done % self.settings.save_every == 0:
                self._save()

    def rate(self) -> float:
        """The learning rate of the step that comes next."""
        falls = sum(self.done >= share * self.steps for share in FALLS)
        return self.settings.rate * FACTOR**falls

    def _update(self) -> dict[str, float]:
        """One step; the losses of this process."""
        self.step.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        seed = (self.settings.seed * 1_000_003 + self.done) * 1009 + self.process.rank
        torch.manual_seed(seed)
        with torch.autocast(self.process.device.type, torch.bfloat16, enabled=self.settings.bf16):
            losses: dict[str, Tensor] = self.parallel(self._samples(seed), seed)
        where = f"loss is {{}} at step {self.done}; the last checkpoint is {self.checkpoint}"
        return update(self.optimiser, losses, self.learning, self.settings.clip, where)

    def _samples(self, seed: int) -> list[Sample]:
        """The photos of this process in this step: each epoch is one permutation, dealt out in turn."""
        settings, size = self.settings, self.settings.batch // self.process.count
        first = self.done * settings.batch + self.process.rank * size
        rng, samples = np.random.default_rng(seed), []
        for place in range(first, first + size):
            epoch, at = divmod(place, len(self.ids))
            order = np.random.default_rng((settings.seed, epoch)).permutation(len(self.ids))
            samples.append(draw_sample(self.photos, self.ids[int(order[at])], settings.drawing, rng))
        return samples

    # --- checkpoints --------------------------------------------------------------------------

    def _save(self) -> None:
        if self.process.rank == 0:
            content = {
                "settings": {**self.settings.kept(), "steps": self.steps},
                "done": self.done,
                "trained": self.step.network.trained(),
                "table": self.step.table,
                "optimiser": self.optimiser.state_dict(),
            }
            save_checkpoint(self.checkpoint, content)

    def _restore(self) -> None:
        content = torch.load(self.checkpoint, weights_only=True, map_location=self.process.device)
        before, now = content["settings"], {**self.settings.kept(), "steps": self.steps}
        differing = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        if differing:
            raise InputError(
                f"{self.checkpoint} is of a training with other {', '.join(differing)}; give another --out"
            )
        self.step.network.load_state_dict(content["trained"], strict=False)
        self.optimiser.load_state_dict(content["optimiser"])
        self.step.table = content["table"]
        self.done = int(content["done"])
        self.report(f"goes on from step {self.done}")


def _groups(step: Step, settings: CocoSettings) -> list[dict[str, Any]]:
    """Norms and embeddings are not decayed."""
    bare: list[Tensor] = []
    decayed: list[Tensor] = []
    for module in step.modules():
        own = [parameter for parameter in module.parameters(recurse=False) if parameter.requires_grad]
        (bare if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.Embedding) else decayed).extend(own)
    return [{"params": decayed, "weight_decay": settings.decay}, {"params": bare, "weight_decay": 0.0}]


@contextmanager
def _joined_processes(settings: CocoSettings) -> Iterator[Process]:
    """This process; the group that torchrun announced is opened and closed."""
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    cuda = torch.cuda.is_available() if settings.device == "auto" else settings.device.startswith("cuda")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    opened = count > 1 and not dist.is_initialized()
    if opened:
        dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Process(rank, count, device)
    finally:
        if opened:
            dist.destroy_process_group()
