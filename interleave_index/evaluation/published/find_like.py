"""FIND-like models as subjects: find-mini and networks of its kind, and the published checkpoints.

The only module of the benchmarks that loads torch when it is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...interface.find import tasks
from ...interface.find.model import FindModel, Sentence
from ...interface.find.prompts import Prompts
from ...interface.protocol import Interface
from ...interface.published.answers import Example
from ...interface.published.model import PublishedModel
from ...interface.published.preparation import View
from ...models.vision.pixel_decoder import Pyramid
from ...records import RGB, BoolMask, Floats
from .entity import Asked, Exemplar
from .subject import Masks, Segmented, Sizes, Subject, Table, facts_of, segmented

BACKGROUND = "background"


def subject_of(interface: Interface, *, published_protocol: bool = False) -> Subject | None:
    """The subject of a FIND-like interface, else None; see `subject.subject_of`."""
    network, model = getattr(interface, "network", None), getattr(interface, "model", None)
    if isinstance(model, PublishedModel):
        model.published_protocol = published_protocol
        return PublishedSubject(model, facts_of(interface), interface)
    if isinstance(network, FindModel):
        return FindSubject(network, facts_of(interface), interface=interface)
    return None


# --- find-mini and networks of its kind --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Canvas:
    """The square that a photo is brought onto.

    Attributes:
        side: of the square, a multiple of 32.
        padded: keep the aspect and pad at the bottom and the right; else squash.
    """

    side: int
    padded: bool = False

    def inner(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the photo on the canvas."""
        if not self.padded:
            return self.side, self.side
        scale = self.side / max(size)
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

    def pixels(self, photo: RGB) -> Tensor:
        """(1, 3, side, side) float32 RGB in 0..255."""
        from PIL import Image

        height, width = self.inner((photo.shape[0], photo.shape[1]))
        picture = Image.fromarray(np.ascontiguousarray(photo)).resize((width, height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
        return F.pad(pixels, (0, self.side - width, 0, self.side - height))

    def prompt(self, mask: BoolMask) -> Tensor:
        """(side, side) bool; a mask with pixels keeps one at least."""
        height, width = self.inner((mask.shape[0], mask.shape[1]))
        grown = torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None]
        kept = F.adaptive_avg_pool2d(grown, (height, width))[0, 0]
        kept = kept > (0.5 if (kept > 0.5).any() else 0)
        return F.pad(kept, (0, self.side - width, 0, self.side - height))

    def back(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """(n, h, w) logits of the canvas to (n, H, W) of the photo, bilinear."""
        if not len(logits):
            return logits.new_zeros((0, *size))
        height, width = self.inner(size)
        if (height, width) != (self.side, self.side):
            logits = F.interpolate(logits[None], (self.side, self.side), mode="bilinear", align_corners=False)[0]
            logits = logits[:, :height, :width]
        return F.interpolate(logits[None].float(), size, mode="bilinear", align_corners=False)[0]


class FindSubject:
    """A `FindModel` with all its proposals.

    Args:
        network: in eval mode.
        facts: for the report.
        canvas: how photos are brought to it; None squashes to its side.
        interface: the same network as a search uses it.
    """

    def __init__(
        self,
        network: FindModel,
        facts: dict[str, Any],
        canvas: Canvas | None = None,
        interface: Interface | None = None,
    ) -> None:
        self.network, self.canvas, self.interface = network, canvas or Canvas(network.config.side), interface
        self.device = next(network.parameters()).device
        self.facts = {**facts, "asked": f"all {network.interface.config.object_queries} proposals"}

    @torch.inference_mode()
    def look(self, photo: RGB, sizes: Sizes) -> FindLook:
        """See `Subject`; the network has one size."""
        return FindLook(self, photo, self._pyramid(photo))

    @torch.inference_mode()
    def classes(self, kinds: Sequence[str] | Sequence[Exemplar], *, descriptions: bool = False) -> Tensor:
        """(K + 1, C) class vectors, background last; this network was trained on bare names and whole sentences."""
        names = [kind for kind in kinds if isinstance(kind, str)]
        shown = [tasks.encode_region(self.network, self.reference(k)) for k in kinds if isinstance(k, Exemplar)]
        words = tasks.encode_names(self.network, [*names, BACKGROUND])
        return torch.cat([torch.stack(shown), words]) if shown else words

    @torch.inference_mode()
    def captions(self, texts: Sequence[str]) -> Floats:
        """See `Subject`."""
        return self._by_batches(tasks.encode_text, texts)

    @torch.inference_mode()
    def phrases(self, texts: Sequence[str]) -> Floats:
        """See `Subject`."""
        return self._by_batches(tasks.encode_phrases, texts)

    @torch.inference_mode()
    def sentence(self, asked: Asked) -> tuple[Floats, Floats]:
        """See `Subject`: each phrase by itself, as find-mini's queries have it."""
        references = [None if e is None else self.reference(e) for e in asked.exemplars]
        legend = tasks.encode_interleaved(self.network, _sentence(asked), references)
        entities = []
        for (start, end), reference in zip(asked.spans, references, strict=True):
            words = asked.text[start:end].strip() or asked.text
            entities.append(
                tasks.encode_phrases(self.network, [words])[0]
                if reference is None
                else tasks.encode_region(self.network, reference)
            )
        return _array(legend), _array(torch.stack(entities)) if entities else np.zeros((0, len(legend)), np.float32)

    def reference(self, exemplar: Exemplar, pyramid: Pyramid | None = None) -> tasks.Reference:
        """An exemplar as the tasks take it; its photo is encoded unless its pyramid is given."""
        seen = self._pyramid(exemplar.photo) if pyramid is None else pyramid
        return tasks.Reference(seen, self.canvas.prompt(exemplar.mask))

    def _pyramid(self, photo: RGB) -> Pyramid:
        return self.network.pyramid(self.canvas.pixels(photo).to(self.device))

    def _by_batches(self, encode: Callable[[FindModel, Sequence[str]], Tensor], texts: Sequence[str]) -> Floats:
        rows = [_array(encode(self.network, texts[start : start + 64])) for start in range(0, len(texts), 64)]
        return np.concatenate(rows) if rows else np.zeros((0, self.network.interface.config.width), np.float32)


class FindLook:
    """One photo before a `FindSubject`."""

    def __init__(self, subject: FindSubject, photo: RGB, pyramid: Pyramid) -> None:
        self._subject, self._photo, self._pyramid = subject, photo, pyramid
        self._size = photo.shape[0], photo.shape[1]

    @torch.inference_mode()
    def vectors(self) -> tuple[Floats, Floats]:
        """See `Look`."""
        out = self._subject.network.see(self._pyramid, Prompts()).final
        return _array(out["pred_retrievals"][0, 0]), _array(out["pred_captions"][0])

    @torch.inference_mode()
    def ground(self, expressions: Sequence[str]) -> Masks:
        """See `Look`: all expressions in one pass."""
        if not expressions:
            return np.zeros((0, *self._size), bool)
        found = tasks.ground(self._subject.network, self._pyramid, [list(expressions)])[0]
        return self._masks([one.mask for one in found])

    @torch.inference_mode()
    def ground_sentence(self, asked: Asked) -> Masks:
        """See `Look`."""
        if not asked.spans:
            return np.zeros((0, *self._size), bool)
        references = [
            None if e is None else self._subject.reference(e, self._pyramid if e.photo is self._photo else None)
            for e in asked.exemplars
        ]
        found = tasks.ground_interleaved(self._subject.network, self._pyramid, _sentence(asked), references)
        return self._masks([one.mask for one in found])

    @torch.inference_mode()
    def interact(self, prompts: Masks, background: Masks, memory: Any = None) -> tuple[Masks, Any]:
        """See `Look`; the memory of several prompts is their union."""
        canvas = self._subject.canvas
        positive, negative = (torch.stack([canvas.prompt(mask) for mask in rows]) for rows in (prompts, background))
        logits = tasks.interact(
            self._subject.network, self._pyramid, [positive], [negative] if background.any() else None, memory
        )[0]
        return self._masks(list(logits)), logits.amax(0)[None, None]

    @torch.inference_mode()
    def segment(self, table: Table, things: Collection[int]) -> Segmented:
        """See `Look`."""
        out = self._subject.network.see(self._pyramid, Prompts(), class_table=table).final
        masks = self._subject.canvas.back(out["pred_masks"][0].float(), self._size)
        return segmented(out["pred_logits"][0], masks, things)

    def _masks(self, logits: Sequence[Tensor]) -> Masks:
        found: Masks = (self._subject.canvas.back(torch.stack(list(logits)), self._size) > 0).cpu().numpy()
        return found


# --- the published checkpoints -----------------------------------------------------------------


class PublishedSubject:
    """A published checkpoint with all its 100 proposals."""

    def __init__(self, model: PublishedModel, facts: dict[str, Any], interface: Interface | None = None) -> None:
        self.model, self.interface = model, interface
        self.facts = {
            **facts,
            "asked": f"all {model.network.predictor.config.object_queries} proposals",
            "published_protocol": model.published_protocol,
        }

    def look(self, photo: RGB, sizes: Sizes) -> PublishedLook:
        """See `Subject`."""
        return PublishedLook(self.model, photo, sizes)

    def classes(self, kinds: Sequence[str] | Sequence[Exemplar], *, descriptions: bool = False) -> Tensor:
        """See `Subject`: names are put into the one published sentence, descriptions are taken as they are."""
        shown = [
            self.model.example_table([Example(self.model.view(kind.photo), kind.mask)])  # one view in memory
            for kind in kinds
            if isinstance(kind, Exemplar)
        ]
        if shown:
            return torch.cat([*(rows[:1] for rows in shown), shown[0][1:]])
        return self.model.class_table([kind for kind in kinds if isinstance(kind, str)], descriptions=descriptions)

    def captions(self, texts: Sequence[str]) -> Floats:
        """See `Subject`."""
        return self.model.encode_captions(texts)

    def phrases(self, texts: Sequence[str]) -> Floats:
        """See `Subject`: each as the only phrase of a sentence, on a blank input."""
        rows = [self.model.encode_interleaved(Sentence(t, ((0, len(t)),), (False,)), [None]).entities for t in texts]
        return np.concatenate(rows) if rows else np.zeros((0, self.model.network.predictor.config.width), np.float32)

    def sentence(self, asked: Asked) -> tuple[Floats, Floats]:
        """See `Subject`."""
        examples = [None if e is None else Example(self.model.view(e.photo), e.mask) for e in asked.exemplars]
        found = self.model.encode_interleaved(_sentence(asked), examples)
        return found.legend, found.entities


class PublishedLook:
    """One photo before a `PublishedSubject`."""

    def __init__(self, model: PublishedModel, photo: RGB, sizes: Sizes) -> None:
        self._model, self._photo, self._sizes = model, photo, sizes
        self._view: View = model.view(photo, short=sizes.short, long=sizes.long)

    def vectors(self) -> tuple[Floats, Floats]:
        """See `Look`."""
        return self._model.encode_image(self._view)

    def ground(self, expressions: Sequence[str]) -> Masks:
        """See `Look`."""
        return self._stacked([one.mask for one in self._model.ground(self._view, expressions)])

    def ground_sentence(self, asked: Asked) -> Masks:
        """See `Look`."""
        examples = [None if e is None else Example(self._seen(e), e.mask) for e in asked.exemplars]
        return self._stacked(
            [one.mask for one in self._model.ground_interleaved(self._view, _sentence(asked), examples)]
        )

    def interact(self, prompts: Masks, background: Masks, memory: Any = None) -> tuple[Masks, Any]:
        """See `Look`."""
        found = self._model.interact(self._view, list(prompts), list(background) if background.any() else None, memory)
        return found.masks, found.logits

    def segment(self, table: Table, things: Collection[int]) -> Segmented:
        """See `Look`."""
        from ...interface.published.preparation import to_photo

        found = self._model.proposals(self._view, table)
        return segmented(found.logits, to_photo(found.masks, self._view), things)

    def _seen(self, exemplar: Exemplar) -> View:
        if exemplar.photo is self._photo:
            return self._view
        return self._model.view(exemplar.photo, short=self._sizes.short, long=self._sizes.long)

    def _stacked(self, masks: Sequence[BoolMask]) -> Masks:
        return np.array(masks, bool).reshape(len(masks), *self._photo.shape[:2])


def _sentence(asked: Asked) -> Sentence:
    return Sentence(asked.text, asked.spans, asked.visual)


def _array(rows: Tensor) -> Floats:
    return rows.float().cpu().numpy()
