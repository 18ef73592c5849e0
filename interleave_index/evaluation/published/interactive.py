"""Interactive segmentation on VOC: one prompt an object, then clicks where the answer errs most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from ... import metrics
from ..outcome import Figures
from .files import read_photo
from .journal import Journal, Record
from .prompts import first_prompt, next_click
from .run import Benchmark
from .subject import Subject
from .voc import VocItem

TARGETS = (0.5, 0.8, 0.85, 0.9)
STOP = 0.9  # IoU that all objects of an item must pass before the clicking ends


def voc_interactive(items: Sequence[VocItem], *, prompt: str = "Point", clicks: int = 1) -> Benchmark[VocItem]:
    """VOC 2012, at most five objects in one pass.

    Args:
        prompt: what the first round draws, see `prompts.first_prompt`; later rounds click.
        clicks: rounds, the first prompt included; the published setting is 1.
    Returns:
        its figures: mean IoU after the first prompt and after the last (percent), NoC@t (clicks), and `n` objects.
    """

    def measure(subject: Subject, item: VocItem, rng: Generator) -> Record:
        """IoU after every click, one row an object; after the last one needed the value is repeated."""
        photo, truth = read_photo(item.file), item.truth()
        targets = truth == 1
        prompts = np.stack([first_prompt(mask, prompt, rng) for mask in targets])
        background, memory, rounds = np.zeros_like(prompts), None, []
        for _ in range(clicks):
            masks, memory = subject.interact(photo, prompts, background, memory)
            rounds.append(metrics.iou_without_ignored(masks, truth))
            if (rounds[-1] > STOP).all():
                break
            for number, target in enumerate(targets):
                click, positive = next_click(target, masks[number], prompts[number] | background[number])
                (prompts if positive else background)[number] |= click
        rounds += [rounds[-1]] * (clicks - len(rounds))
        return {"ious": np.stack(rounds, 1).astype(float).tolist()}

    def figures(journal: Journal) -> Figures:
        ious = np.array(journal.pooled("ious"), np.float32)
        first, last = (100 * float(ious[:, click].mean()) for click in (0, -1))
        needed = {f"NoC@{100 * t:g}": float(metrics.clicks_needed(ious, t, clicks).mean()) for t in TARGETS}
        return {"mIoU@1": first, f"mIoU@{clicks}": last, **needed, "n": len(ious)}

    keyed = {f"{item.name} {item.objects[0]}": item for item in items}
    return Benchmark(f"voc-interactive {prompt}", keyed, measure, figures, {"prompt": prompt, "clicks": clicks})
