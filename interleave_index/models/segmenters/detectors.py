"""Detectors that box what a phrase names, or what looks like a picture of one.

Grounding DINO, OWL-ViT, OWLv2, OmDet-Turbo.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...errors import WeightsMissing
from ...geometry import as_box
from ...records import RGB, Box, Detected
from ..hub import local, pretrained

DINO_KINDS = {
    "grounding-dino": "GroundingDinoForObjectDetection",
    "mm-grounding-dino": "MMGroundingDinoForObjectDetection",
}
OWL_KINDS = {"owlvit": "OwlViTForObjectDetection", "owlv2": "Owlv2ForObjectDetection"}
OMDET_KINDS = ("omdet-turbo",)
OMDET_THRESHOLD, OMDET_TOKENS = 0.3, 77
DINO_THRESHOLD, OWL_THRESHOLD, OWL_PICTURE_THRESHOLD, SAME = 0.25, 0.1, 0.6, 0.5
SMALLEST_SIDE = 160  # pixels; Grounding DINO has no grid for less


class Detector(Protocol):
    """Anything that boxes things."""

    def find(self, photo: RGB, phrase: str | None, exemplar: RGB | None = None) -> list[Detected]:
        """Boxes of what a phrase names, or of what looks like a crop of one thing; best first, none where it cannot."""


class GroundingDino:
    """Grounding DINO or MM Grounding DINO from a folder; reads phrases only.

    Args:
        folder: with config.json, weights, tokenizer and processor.
        device: where it runs, as torch names it.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        kind = local.read_config(folder).get("model_type")
        if kind not in DINO_KINDS:
            raise WeightsMissing(f"{folder} holds a model of type {kind!r}, expected one of {', '.join(DINO_KINDS)}")
        self._device = device
        self._model = pretrained.build(folder, DINO_KINDS[kind], device)
        self._processor = pretrained.reader(folder, "AutoProcessor")

    def find(self, photo: RGB, phrase: str | None, exemplar: RGB | None = None) -> list[Detected]:
        """See `Detector.find`."""
        import torch

        if phrase is None:
            return []
        prompt = f"{phrase.lower().strip().rstrip('.')}."
        shown = _large_enough(photo)
        given = self._processor(images=shown, text=prompt, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            outputs = self._model(**given)
        (detections,) = self._processor.post_process_grounded_object_detection(
            outputs,
            given["input_ids"],
            threshold=DINO_THRESHOLD,
            text_threshold=DINO_THRESHOLD,
            target_sizes=[shown.shape[:2]],
        )
        return _detected(detections["boxes"], detections["scores"], photo)


class Owl:
    """OWL-ViT or OWLv2 from a folder; reads phrases, and finds what looks like a crop of another photo.

    Args:
        folder: with config.json, weights, tokenizer and processor.
        device: where it runs, as torch names it.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        kind = local.read_config(folder).get("model_type")
        if kind not in OWL_KINDS:
            raise WeightsMissing(f"{folder} holds a model of type {kind!r}, expected one of {', '.join(OWL_KINDS)}")
        self._device = device
        self._model = pretrained.build(folder, OWL_KINDS[kind], device)
        self._processor = pretrained.reader(folder, "AutoProcessor")

    def find(self, photo: RGB, phrase: str | None, exemplar: RGB | None = None) -> list[Detected]:
        """See `Detector.find`; a phrase wins over a crop where both are given."""
        import torch

        sizes = [photo.shape[:2]]
        with torch.inference_mode():
            if phrase is not None:
                given = self._processor(images=photo, text=[[phrase.lower()]], return_tensors="pt").to(self._device)
                (detections,) = self._processor.post_process_grounded_object_detection(
                    self._model(**given), threshold=OWL_THRESHOLD, target_sizes=sizes
                )
            elif exemplar is not None:
                given = self._processor(images=photo, query_images=exemplar, return_tensors="pt").to(self._device)
                outputs = self._model.image_guided_detection(**given)
                (detections,) = self._processor.post_process_image_guided_detection(
                    outputs, threshold=OWL_PICTURE_THRESHOLD, nms_threshold=SAME, target_sizes=torch.tensor(sizes)
                )
            else:
                return []
        return _detected(detections["boxes"], detections["scores"], photo)


class OmDet:
    """OmDet-Turbo from a folder; reads phrases only.

    Its own processor wants torchvision for removing boxes that say the same; that is done here.

    Args:
        folder: with config.json, weights, tokenizer and image processor.
        device: where it runs, as torch names it.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        kind = local.read_config(folder).get("model_type")
        if kind not in OMDET_KINDS:
            raise WeightsMissing(f"{folder} holds a model of type {kind!r}, expected {OMDET_KINDS[0]}")
        self._device = device
        self._model = pretrained.build(folder, "OmDetTurboForObjectDetection", device)
        self._images = pretrained.reader(folder, "AutoImageProcessor")
        self._tokenizer = pretrained.reader(folder, "AutoTokenizer")

    def find(self, photo: RGB, phrase: str | None, exemplar: RGB | None = None) -> list[Detected]:
        """See `Detector.find`."""
        import torch

        if phrase is None:
            return []
        words = {"classes": phrase.lower(), "tasks": f"Detect {phrase.lower()}."}
        given = {"pixel_values": self._images(photo, return_tensors="pt")["pixel_values"]}
        for name, text in words.items():
            tokens = self._tokenizer(
                [text], padding="max_length", truncation=True, max_length=OMDET_TOKENS, return_tensors="pt"
            )
            given |= {f"{name}_{key}": tokens[key] for key in ("input_ids", "attention_mask")}
        given["classes_structure"] = torch.tensor([1])
        with torch.inference_mode():
            output = self._model(**{name: value.to(self._device) for name, value in given.items()})
        scores = output.decoder_class_logits[0, :, 0].sigmoid().float()
        likely = scores > OMDET_THRESHOLD
        middle, extent = output.decoder_coord_logits[0, likely].float().chunk(2, -1)
        scale = torch.tensor([photo.shape[1], photo.shape[0]] * 2, device=middle.device)
        corners = torch.cat([middle - extent / 2, middle + extent / 2], -1) * scale
        return _distinct(_detected(corners, scores[likely], photo))


def _distinct(found: list[Detected]) -> list[Detected]:
    """Of boxes that overlap by more than `SAME`, the best; the order is kept."""
    kept: list[Detected] = []
    for one in found:
        if all(_box_iou(one.box, other.box) <= SAME for other in kept):
            kept.append(one)
    return kept


def _box_iou(one: Box, other: Box) -> float:
    """Area that two boxes share by the area that they cover."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (sum(areas) - shared)


def _large_enough(photo: RGB) -> RGB:
    """The photo with its border repeated until both sides are long enough; boxes keep their places."""
    missing = [max(0, SMALLEST_SIDE - side) for side in photo.shape[:2]]
    if not any(missing):
        return photo
    grown: RGB = np.pad(photo, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    return grown


def _detected(boxes: Any, scores: Any, photo: RGB) -> list[Detected]:
    """Boxes clipped to the photo, best first; what lies outside is dropped."""
    height, width = photo.shape[:2]
    limit = np.array([width, height, width, height], np.float32)
    rows: Sequence[Any] = np.clip(boxes.float().cpu().numpy().reshape(-1, 4), 0, limit)
    kept = [
        Detected(as_box(row), float(score))
        for row, score in zip(rows, scores.tolist(), strict=True)
        if row[2] > row[0] and row[3] > row[1]
    ]
    return sorted(kept, key=lambda detected: -detected.score)
