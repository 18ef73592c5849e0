"""Interactive segmentation on VOC: one prompt an object, then clicks where the answer errs most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import metrics
from .figures import Published
from .journal import Journal
from .prompts import first_prompt
from .run import Measured
from .subject import Sizes, Subject
from .voc import VocItem

SIZES = Sizes(800, 1333)
TARGETS = (0.5, 0.8, 0.85, 0.9)
STOP = 0.9  # IoU that all objects of an item must pass before the clicking ends


class VocInteractive:
    """VOC 2012, at most five objects in one pass.

    Args:
        prompt: what the first round draws, see `prompts.first_prompt`; later rounds click.
        clicks: rounds, the first prompt included; the published setting is 1.
    """

    def __init__(self, items: Sequence[VocItem], *, prompt: str = "Point", clicks: int = 1) -> None:
        self.name = f"voc-interactive {prompt}"
        self.settings: dict[str, Any] = {"prompt": prompt, "clicks": clicks}
        self.published: Sequence[Published] = ()
        self._items = items

    def items(self) -> list[tuple[str, VocItem]]:
        """Items by photo and first object."""
        return [(f"{item.name} {item.objects[0]}", item) for item in self._items]

    def measure(self, subject: Subject, item: VocItem, rng: np.random.Generator) -> Measured:
        """IoU after every click, one row an object; after the last one needed the value is repeated."""
        from ...interface.published.clicks import next_click

        truth, look = item.truth(), subject.look(item.rgb(), SIZES)
        targets = truth == 1
        yes = np.stack([first_prompt(mask, str(self.settings["prompt"]), rng) for mask in targets])
        no, memory, rounds = np.zeros_like(yes), None, []
        for _ in range(int(self.settings["clicks"])):
            found, memory = look.interact(yes, no, memory)
            rounds.append(metrics.iou_without_ignored(found, truth))
            if (rounds[-1] > STOP).all():
                break
            for number, mask in enumerate(targets):
                click = next_click(mask, found[number], yes[number] | no[number])
                if click is not None:
                    (yes if click.positive else no)[number] |= click.mask
        rounds += [rounds[-1]] * (int(self.settings["clicks"]) - len(rounds))
        return Measured({"ious": np.stack(rounds, 1).astype(float).tolist()})

    def figures(self, journal: Journal, subject: Subject) -> dict[str, Any]:
        """Mean IoU after the first prompt and after the last (percent), NoC@t (clicks), and `n` objects."""
        most = int(self.settings["clicks"])
        ious = np.array([row for _, record in journal.each() for row in record["ious"]], np.float32).reshape(-1, most)
        needed = {f"NoC@{100 * t:g}": float(metrics.clicks_needed(ious, t, most).mean()) for t in TARGETS}
        return {
            "mIoU@1": 100 * float(ious[:, 0].mean()),
            f"mIoU@{most}": 100 * float(ious[:, -1].mean()),
            **needed,
            "n": len(ious),
        }
