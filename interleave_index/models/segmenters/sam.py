"""Promptable segmenters of the SAM family behind one seam: SAM, SAM-HQ, SAM 2, EdgeTAM, the tracker half of SAM 3.

A photo is embedded once, when it is bound; prompts are cheap. Points and boxes are given in pixels of the photo,
where (0, 0) is its corner; the models count from the centre of the first pixel, and add that half themselves.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...errors import ShapeError, WeightsMissing
from ...geometry import size_of
from ...records import RGB, Prompt, Segmented
from ..hub import local, pretrained
from .framing import HALF, IMAGENET, Frame

if TYPE_CHECKING:
    from torch import Tensor

KEPT_PHOTOS = 4  # whose embeddings are kept; some megabytes each


class Segmenter(Protocol):
    """Anything that makes masks of prompts."""

    def bind(self, photo: RGB) -> Callable[[Sequence[Prompt]], list[Segmented]]:
        """Embed one photo; gives a function from prompts to as many masks, in order."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What differs between the members of the family."""

    model: str
    keep_aspect: bool
    normal: tuple[tuple[float, ...], tuple[float, ...]]
    renamed: Mapping[str, str] | None = None  # patterns of weights' names in the file, and what they are in the class


# SAM 3 as released holds a detector and a tracker over one backbone. The library means to rename these by itself, but
# its own pattern takes nothing off (transformers 5.23), so that every weight of the tracker would be missing.
_TRACKER_OF_SAM_3 = {
    r"^tracker_model\.(.+)": r"\1",
    r"^tracker_neck\.": "vision_encoder.neck.",
    r"^detector_model\.vision_encoder\.backbone\.": "vision_encoder.backbone.",
}
KINDS = {
    "sam": _Kind("SamModel", True, IMAGENET),
    "sam2": _Kind("Sam2Model", False, IMAGENET),
    "sam2_video": _Kind("Sam2Model", False, IMAGENET),  # what the released SAM 2.1 checkpoints say they are
    "sam_hq": _Kind("SamHQModel", True, IMAGENET),
    "edgetam": _Kind("EdgeTamModel", False, IMAGENET),
    "edgetam_video": _Kind("EdgeTamModel", False, IMAGENET),
    "sam3_tracker": _Kind("Sam3TrackerModel", False, HALF),
    "sam3_tracker_video": _Kind("Sam3TrackerModel", False, HALF),
    "sam3_video": _Kind("Sam3TrackerModel", False, HALF, _TRACKER_OF_SAM_3),
}


class SamSegmenter:
    """A model of the SAM family from a folder.

    Args:
        folder: with config.json and weights.
        device: where it runs, as torch names it.
    Raises:
        BackendMissing, WeightsMissing: it cannot be built.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        kind = local.read_config(folder).get("model_type")
        if kind not in KINDS:
            raise WeightsMissing(f"{folder} holds a model of type {kind!r}, expected one of {', '.join(KINDS)}")
        self._kind, self._device = KINDS[kind], device
        more = {} if self._kind.renamed is None else {"key_mapping": self._kind.renamed}
        self._model = pretrained.build(folder, self._kind.model, device, **more)
        self._side = int(self._model.config.prompt_encoder_config.image_size)
        self._embedded: OrderedDict[bytes, tuple[Frame, dict[str, Any]]] = OrderedDict()

    def bind(self, photo: RGB) -> Callable[[Sequence[Prompt]], list[Segmented]]:
        """See `Segmenter.bind`. The photos of the last calls are not embedded again."""
        key = hashlib.blake2b(np.ascontiguousarray(photo).data, digest_size=16).digest() + repr(photo.shape).encode()
        if key not in self._embedded:
            self._embedded[key] = self._embed(photo)
            if len(self._embedded) > KEPT_PHOTOS:
                self._embedded.popitem(last=False)
        self._embedded.move_to_end(key)
        return partial(self._segment, *self._embedded[key])

    def _embed(self, photo: RGB) -> tuple[Frame, dict[str, Any]]:
        import torch

        frame = Frame(size_of(photo), self._side, self._kind.keep_aspect)
        with torch.inference_mode():
            embedded = self._model.get_image_embeddings(frame.pixels(photo, *self._kind.normal, self._device))
        if isinstance(embedded, tuple):  # SAM-HQ also wants what its encoder had half way
            return frame, {"image_embeddings": embedded[0], "intermediate_embeddings": embedded[1]}
        return frame, {"image_embeddings": embedded}

    def _segment(self, frame: Frame, embedded: dict[str, Any], prompts: Sequence[Prompt]) -> list[Segmented]:
        import torch

        with torch.inference_mode():
            return [self._segment_one(frame, embedded, prompt) for prompt in prompts]

    def _segment_one(self, frame: Frame, embedded: dict[str, Any], prompt: Prompt) -> Segmented:
        """Two passes: the mask of the first is shown to the second along with the prompt."""
        given = self._inputs(frame, prompt)
        lone = len(prompt.points) == 1 and bool(prompt.labels[0] == 1) and prompt.box is None
        first = self._model(multimask_output=lone, **embedded, **given)  # one point means many things
        best = int(first.iou_scores[0, 0].argmax())
        second = self._model(
            multimask_output=False,
            input_masks=first.pred_masks[:, 0, best : best + 1].clamp(-32, 32),
            **embedded,
            **given,
        )
        (mask,) = frame.masks(second.pred_masks[0, 0, :1])
        quality = float(second.iou_scores[0, 0, 0])
        object_logits = getattr(second, "object_score_logits", None)  # SAM 1 has none
        return Segmented(mask, quality, None if object_logits is None else float(object_logits.flatten()[0]))

    def _inputs(self, frame: Frame, prompt: Prompt) -> dict[str, Tensor]:
        import torch

        if len(prompt.points) != len(prompt.labels) or not (len(prompt.points) or prompt.box):
            raise ShapeError(
                f"prompt has {len(prompt.points)} points, {len(prompt.labels)} labels and "
                f"{'a' if prompt.box else 'no'} box, expected a label a point, and a point or a box"
            )
        given: dict[str, Tensor] = {}
        if len(prompt.points):
            points = torch.from_numpy(frame.points(prompt.points) - np.float32(0.5))
            given["input_points"] = points[None, None].to(self._device)
            given["input_labels"] = torch.from_numpy(prompt.labels.astype(np.int32))[None, None].to(self._device)
        if prompt.box is not None:
            corners = frame.points(np.array(prompt.box).reshape(2, 2)).reshape(1, 1, 4) - np.float32(0.5)
            given["input_boxes"] = torch.from_numpy(corners).to(self._device)
        return given
