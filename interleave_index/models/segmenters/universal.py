"""Universal segmenters: every mask of a photo in one pass, by the auto class of transformers and their own processors.

Mask2Former, MaskFormer, OneFormer and EoMT. Their panoptic reading is taken: masks that do not overlap, each with the
class it was found by and its score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import WeightsMissing
from ...geometry import size_of
from ...records import RGB, BoolMask, Floats, Size
from ..hub import local, pretrained

if TYPE_CHECKING:
    from torch import Tensor

AUTO_CLASS = "AutoModelForUniversalSegmentation"
THRESHOLD = 0.5  # chance of a class from which on a mask counts
TASK = "the task is panoptic"  # what OneFormer is told, as its own processor words it


@dataclass(frozen=True, slots=True)
class Kind:
    """What differs between the families.

    Attributes:
        reads_task: the model is told in words what to do.
        processor: arguments of its image processor; OneFormer's would fetch names of classes from a hub.
        fuses: its panoptic reading may be told which classes are one thing however often they are found.
        reading: class of the image processor that reads its answer, where its own needs torchvision for that; the
            answers of both have one form.
    """

    reads_task: bool = False
    processor: tuple[tuple[str, Any], ...] = ()
    fuses: bool = True
    reading: str | None = None


KINDS: Mapping[str, Kind] = {
    "mask2former": Kind(),
    "maskformer": Kind(),
    "oneformer": Kind(reads_task=True, processor=(("class_info_file", None),), reading="MaskFormerImageProcessorPil"),
    "eomt": Kind(fuses=False),
    "eomt_dinov3": Kind(fuses=False),
}


@dataclass(frozen=True, slots=True)
class Segment:
    """One mask of a photo.

    Attributes:
        mask: (H, W) of the size that was asked for, at least one pixel.
        score: 0 to 1.
        label: name of its class as config.json has it.
    """

    mask: BoolMask
    score: float
    label: str


class UniversalSegmenter:
    """A model of `KINDS` from a folder.

    Args:
        folder: with config.json, weights and the preprocessor file; OneFormer's also with its tokenizer.
        device: where it runs, as torch names it.
    Raises:
        BackendMissing, WeightsMissing: it cannot be built.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        kind = str(local.read_config(folder).get("model_type"))
        if kind not in KINDS:
            raise WeightsMissing(f"{folder} holds a model of type {kind!r}, expected one of {', '.join(KINDS)}")
        self._kind, self._device = KINDS[kind], device
        self._model = pretrained.build(folder, AUTO_CLASS, device)
        self._processor = pretrained.reader(folder, "AutoImageProcessor", **dict(self._kind.processor))
        reading = self._kind.reading
        self._reading = self._processor if reading is None else getattr(pretrained.library(), reading)()
        self._task: dict[str, Any] = {}
        if self._kind.reads_task:
            tokenizer, length = pretrained.reader(folder, "AutoTokenizer"), self._model.config.task_seq_len
            tokens = tokenizer([TASK], padding="max_length", max_length=length, truncation=True, return_tensors="pt")
            self._task = {"task_inputs": tokens["input_ids"].to(device)}

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its classes, in the order of its class logits."""
        names = self._model.config.id2label
        return tuple(str(names[number]) for number in sorted(names))

    def logits(self, photo: RGB) -> tuple[Floats, Floats]:
        """What it says of an upright photo before any reading.

        Returns:
            (Q, K + 1) class logits of its queries, no class last, and (Q, H, W) mask logits at the photo's size.
        """
        from torch.nn.functional import interpolate

        given, outputs = self._outputs(photo)
        masks = interpolate(outputs.masks_queries_logits.float(), given["pixel_values"].shape[-2:], mode="bilinear")
        if "pixel_mask" in given:  # what is beside the photo was filled up
            rows, columns = given["pixel_mask"][0].any(1).sum(), given["pixel_mask"][0].any(0).sum()
            masks = masks[..., :rows, :columns]
        elif hasattr(self._processor, "unpad_image"):
            masks = self._processor.unpad_image(masks, [size_of(photo)], self._processor.size)[0][None]
        masks = interpolate(masks, size_of(photo), mode="bilinear")[0]
        return outputs.class_queries_logits[0].float().cpu().numpy(), masks.cpu().numpy()

    def segment(self, photo: RGB, size: Size | None = None) -> list[Segment]:
        """Every thing and stretch of an upright photo, best first.

        Args:
            photo: (H, W, 3) uint8.
            size: (height, width) of the masks, in the photo's aspect; None takes the photo's.
        """
        _, outputs = self._outputs(photo)
        more: dict[str, Any] = {"label_ids_to_fuse": set()} if self._kind.fuses else {}
        (found,) = self._reading.post_process_panoptic_segmentation(
            outputs, threshold=THRESHOLD, target_sizes=[size or size_of(photo)], **more
        )
        numbers = np.asarray(found["segmentation"].cpu())
        names = self._model.config.id2label
        segments = [
            Segment(numbers == one["id"], float(one["score"]), str(names.get(one["label_id"], one["label_id"])))
            for one in found["segments_info"]
        ]
        return sorted((one for one in segments if one.mask.any()), key=lambda one: -one.score)

    def _outputs(self, photo: RGB) -> tuple[dict[str, Tensor], Any]:
        """What its processor makes of a photo, and what the model says of that."""
        import torch

        given = self._processor(photo, return_tensors="pt")
        inputs = {name: given[name].to(self._device) for name in ("pixel_values", "pixel_mask") if name in given}
        with torch.inference_mode():
            return inputs, self._model(**inputs, **self._task)
