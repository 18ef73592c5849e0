"""Training on COCO from beginning to end: alone or in several processes, resumable, with a result that can be asked.

    torchrun --nproc-per-node 8 -m interleave_index train --data coco COCO --out DIR ...

Where it differs from the published recipe: frozen modules stay in eval mode; class vectors of a step come from one pass
of the language side and serve all ten predictions; no second round of clicks is trained, which fails in the original
with more than one prompt; entity sentences of other photos are not used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from ...interface.published.parts import language_of
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
        language = language_of(settings.pair(), str(process.device))
        model = model_of(settings.pair(), language, process.device, settings.out / TEXTS)
        network = cast(TrainedNetwork, model.network)
        names = [category.name for category in photos.panoptic.categories]
        step = Step(settings, network, model.prompter, names, processes=process.count).to(process.device)
        trained = sum(parameter.numel() for parameter in step.parameters() if parameter.requires_grad)
        report(
            f"{len(photos.ids())} photos, {trained:,} parameters are trained, "
            f"{process.count} process{'es' if process.count > 1 else ''} on {process.device.type}"
        )
        _train(settings, photos, step, process, report)
        if process.rank == 0:
            facts = {"class_names": names, "settings": settings.kept()}
            write_pair(settings.out, settings.pair(), network, facts, language.tower)
            prepare_pair(settings.out)
            report(f"wrote {settings.out}")
    return settings.out


def _train(settings: CocoSettings, photos: Photos, step: Step, process: Process, report: Callable[[str], None]) -> None:
    """The loop of one process, to the last step."""
    if settings.batch % process.count:
        raise InputError(f"batch is {settings.batch}, expected a multiple of the {process.count} processes")
    ids = photos.ids()[: settings.limit]
    steps = settings.steps or max(1, round(settings.epochs * len(ids) / settings.batch))
    facts = {**settings.kept(), "steps": steps}
    optimiser = torch.optim.AdamW(_groups(step, settings), lr=settings.rate)
    learning = [parameter for parameter in step.parameters() if parameter.requires_grad]
    checkpoint, done = settings.out / CHECKPOINT, 0
    if checkpoint.exists():
        done = _restore(checkpoint, step, optimiser, facts)
        report(f"goes on from step {done}")
    else:
        step.refresh_table()
    parallel: nn.Module = step
    if process.count > 1:
        devices = [process.device.index] if process.device.type == "cuda" else None
        parallel = DistributedDataParallel(
            step, device_ids=devices, find_unused_parameters=True, broadcast_buffers=False
        )
    means = LossMeans()
    while done < steps:
        step.train()
        rate = settings.rate * FACTOR ** sum(done >= share * steps for share in FALLS)
        for group in optimiser.param_groups:
            group["lr"] = rate
        seed = (settings.seed * 1_000_003 + done) * 1009 + process.rank
        torch.manual_seed(seed)
        samples = _samples(settings, photos, ids, done, process, np.random.default_rng(seed))
        with torch.autocast(process.device.type, torch.bfloat16, enabled=settings.bf16):
            losses: dict[str, Tensor] = parallel(samples, seed)
        where = f"loss is {{}} at step {done}; the last checkpoint is {checkpoint}"
        means.add(update(optimiser, losses, learning, settings.clip, where))
        done += 1
        if done == steps or means.seconds >= LINE_SECONDS:
            speed = means.steps * settings.batch / means.seconds
            report(f"step {done}/{steps} {speed:.1f} photos/s | {named_figures(means.take())}")
        if process.rank == 0 and (done == steps or done % settings.save_every == 0):
            content = {"settings": facts, "done": done, "trained": step.network.trained(), "table": step.table}
            save_checkpoint(checkpoint, {**content, "optimiser": optimiser.state_dict()})


def _samples(
    settings: CocoSettings, photos: Photos, ids: Sequence[int], done: int, process: Process, rng: np.random.Generator
) -> list[Sample]:
    """The photos of a process in the next step: each epoch is one permutation, dealt out in turn."""
    size, samples = settings.batch // process.count, []
    first = done * settings.batch + process.rank * size
    for place in range(first, first + size):
        epoch, at = divmod(place, len(ids))
        order = np.random.default_rng((settings.seed, epoch)).permutation(len(ids))
        samples.append(draw_sample(photos, ids[int(order[at])], settings.drawing, rng))
    return samples


def _restore(checkpoint: Path, step: Step, optimiser: torch.optim.Optimizer, facts: Mapping[str, Any]) -> int:
    """Take over a checkpoint; the steps that were done.

    Raises:
        InputError: it is of a training with other settings.
    """
    content = torch.load(checkpoint, weights_only=True, map_location=step.table.device)
    before = content["settings"]
    differing = sorted(name for name in before.keys() | facts.keys() if before.get(name) != facts.get(name))
    if differing:
        raise InputError(f"{checkpoint} is of a training with other {', '.join(differing)}; give another --out")
    step.network.load_state_dict(content["trained"], strict=False)
    optimiser.load_state_dict(content["optimiser"])
    step.table = content["table"]
    return int(content["done"])


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
