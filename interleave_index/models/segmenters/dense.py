"""CLIPSeg: a map over a photo of how surely each place shows what a phrase names, or what a picture shows.

A transformer decoder over the layers of a frozen CLIP (Lüddecke and Ecker, Image Segmentation Using Text and Image
Prompts, CVPR 2022). It draws where a thing would be; it was not made to judge whether it is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...errors import WeightsMissing
from ...records import RGB, Floats
from ..hub import local, pretrained

if TYPE_CHECKING:
    from torch import Tensor

KINDS = ("clipseg",)


class DenseMapper(Protocol):
    """Anything that draws a map."""

    def draw(self, photo: RGB, phrase: str | None, exemplar: RGB | None = None) -> Floats | None:
        """(h, w) float32, 0 to 1, over the whole photo; None where it cannot be asked. A phrase wins over a crop."""


class ClipSeg:
    """CLIPSeg from a folder; reads phrases, and pictures of a thing.

    Args:
        folder: with config.json, weights, tokenizer and preprocessor file.
        device: where it runs, as torch names it.
    Raises:
        BackendMissing, WeightsMissing: it cannot be built.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        kind = local.read_config(folder).get("model_type")
        if kind not in KINDS:
            raise WeightsMissing(f"{folder} holds a model of type {kind!r}, expected {KINDS[0]}")
        self._device = device
        self._model = pretrained.build(folder, "CLIPSegForImageSegmentation", device)
        self._images = pretrained.reader(folder, "AutoImageProcessor")
        self._tokenizer = pretrained.reader(folder, "AutoTokenizer")
        self._text_length = int(self._model.config.text_config.max_position_embeddings)
        self._seen: tuple[RGB, list[Tensor]] | None = None

    def draw(self, photo: RGB, phrase: str | None, exemplar: RGB | None = None) -> Floats | None:
        """See `DenseMapper.draw`: the logistic function of the model's logits, at the size at which it draws.

        The photo of the last call is not encoded again.
        """
        import torch

        with torch.inference_mode():
            if phrase is not None:
                condition = self._of_phrase(phrase)
            elif exemplar is not None:
                condition = self._model.clip.get_image_features(self._pixels(exemplar)).pooler_output
            else:
                return None
            logits = self._model.decoder(self._activations(photo), condition).logits
        drawn: Floats = logits.reshape(logits.shape[-2:]).sigmoid().float().cpu().numpy()
        return drawn

    def _of_phrase(self, phrase: str) -> Tensor:
        tokens = self._tokenizer([phrase], truncation=True, max_length=self._text_length, return_tensors="pt")
        words = {name: tokens[name].to(self._device) for name in ("input_ids", "attention_mask")}
        vector: Tensor = self._model.clip.get_text_features(**words).pooler_output
        return vector

    def _activations(self, photo: RGB) -> list[Tensor]:
        """States of the layers of the vision tower that the decoder reads."""
        if self._seen is None or self._seen[0] is not photo:
            output: Any = self._model.clip.get_image_features(
                self._pixels(photo), interpolate_pos_encoding=True, output_hidden_states=True
            )
            # the first of the states is the input of the first layer
            layers = [output.hidden_states[number + 1] for number in self._model.extract_layers]
            self._seen = photo, layers
        return self._seen[1]

    def _pixels(self, photo: RGB) -> Tensor:
        values: Tensor = self._images(photo, return_tensors="pt")["pixel_values"]
        return values.to(self._device)
