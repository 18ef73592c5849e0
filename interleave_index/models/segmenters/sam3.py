"""SAM 3: every instance of a short noun phrase in one pass, with a judgement whether there is any.

Its weights are under a licence of their own and are handed out on request. Boxes on and beside the thing sharpen the
phrase, and alone stand for a thing that was shown; they need torchvision, without which the phrase alone is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...errors import WeightsMissing
from ...geometry import as_box, size_of
from ...records import RGB, Box, Detected, Size
from ..hub import local, pretrained
from .framing import HALF, Frame

KINDS = ("sam3", "sam3_video")
THRESHOLD = 0.3  # of a detection's score times that of presence
TOKENS = 32
SHOWN = "visual"  # the phrase that stands for a thing given by boxes alone
GATED = (
    "SAM 3 is handed out under its own licence: ask for it on the page of facebook/sam3, log in with "
    "`hf auth login`, then run: interleave-index models pull facebook/sam3"
)


class ConceptSegmenter(Protocol):
    """Anything that finds and masks all instances of a phrase, or of what boxes in the photo show."""

    def find(
        self, photo: RGB, phrase: str | None, on: Sequence[Box] = (), beside: Sequence[Box] = ()
    ) -> list[Detected]:
        """Masks of all instances, best first; none when there is no such thing, or nothing it can be asked by."""


class Sam3:
    """SAM 3 from a folder.

    Args:
        folder: with config.json, weights and the tokenizer.
        device: where it runs, as torch names it.
    Raises:
        BackendMissing, WeightsMissing: it cannot be built; where the weights are lacking, how they are got.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        if not folder.is_dir():
            raise WeightsMissing(f"no folder {folder} with SAM 3; {GATED}")
        kind = local.read_config(folder).get("model_type")
        if kind not in KINDS:
            raise WeightsMissing(f"{folder} holds a model of type {kind!r}, expected sam3; {GATED}")
        self._device = device
        self._model = pretrained.build(folder, "Sam3Model", device)
        self._tokenizer = pretrained.reader(folder, "AutoTokenizer")
        vision = self._model.config.vision_config
        self._side = int(getattr(vision, "image_size", None) or vision.backbone_config.image_size)
        self._boxes = find_spec("torchvision") is not None
        self._seen: tuple[RGB, Any] | None = None

    def find(
        self, photo: RGB, phrase: str | None, on: Sequence[Box] = (), beside: Sequence[Box] = ()
    ) -> list[Detected]:
        """See `ConceptSegmenter.find`. The photo of the last call is not encoded again."""
        import torch

        boxes = [*on, *beside] if self._boxes else []
        if phrase is None and not boxes:
            return []
        frame = Frame(size_of(photo), self._side, False)
        words = self._tokenizer(
            [(phrase or SHOWN).lower()], padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt"
        ).to(self._device)
        given: dict[str, Any] = {"input_ids": words["input_ids"], "attention_mask": words["attention_mask"]}
        if boxes:
            given["input_boxes"] = torch.tensor([_centred(boxes, frame.size)], device=self._device)
            labels = [1] * len(on) + [0] * len(beside)
            given["input_boxes_labels"] = torch.tensor([labels], device=self._device)
        with torch.inference_mode():
            output = self._model(vision_embeds=self._vision(photo, frame), **given)
            scores = output.pred_logits[0].sigmoid()
            if output.presence_logits is not None:
                scores = scores * output.presence_logits[0].sigmoid()
            order = [n for n in scores.argsort(descending=True).tolist() if scores[n] > THRESHOLD]
            masks = frame.masks(output.pred_masks[0, order].sigmoid(), 0.5)
        scale = np.array([frame.size[1], frame.size[0]] * 2)
        return [
            Detected(as_box(output.pred_boxes[0, n].float().cpu().numpy() * scale), float(scores[n]), mask)
            for n, mask in zip(order, masks, strict=True)
        ]

    def _vision(self, photo: RGB, frame: Frame) -> Any:
        if self._seen is None or self._seen[0] is not photo:
            self._seen = photo, self._model.get_vision_features(frame.pixels(photo, *HALF, self._device))
        return self._seen[1]


def _centred(boxes: Sequence[Box], size: Size) -> list[list[float]]:
    """Corners in pixels to centre and extent, each from 0 to 1."""
    return [
        [(x0 + x1) / 2 / size[1], (y0 + y1) / 2 / size[0], (x1 - x0) / size[1], (y1 - y0) / size[0]]
        for x0, y0, x1, y1 in boxes
    ]
