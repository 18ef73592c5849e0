"""The published model as an index uses it: how photos are prepared, and which proposals become regions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from ...geometry import unit
from ...models.vision.pixel_decoder import Pyramid
from ...records import RGB, BoolMask, Floats, GroundedMask, ResolvedPart, Space
from ..calibration import Calibration
from ..find import tasks
from ..find.adapter import FindAdapter, Regions, View
from ..find.prompter import Sentence
from ..find.tasks import Proposals, Reference, References
from ..marked import grounded, marks_of
from ..protocol import Capabilities
from .answers import Example
from .folder import load_published, read_config
from .model import PublishedModel
from .prepared import read_prepared
from .regions import distinct_regions


class PublishedFind(FindAdapter):
    """A released checkpoint, or a model trained like one, behind the interface protocol.

    Plain text is a caption; a text entity is encoded on a blank input and a part of a picture on that picture, each by
    itself. Photos are seen one at a time, as the authors evaluate.

    Args:
        model: ready to answer.
        space: see `Interface`.
        class_table, calibration: as `read_prepared` gives them.
    """

    def __init__(self, model: PublishedModel, space: Space, class_table: Tensor, calibration: Calibration) -> None:
        capabilities = Capabilities(photos_at_a_time=1, device=str(model.device), dtype=model.precision)
        super().__init__(model, space, calibration, capabilities, class_table.to(model.device))
        self.model = model

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", dtype: str = "auto") -> PublishedFind:
        """An imported checkpoint.

        Args:
            folder: as `interleave-index models import` writes it.
            device: where the network runs, as torch names it.
            dtype: `float32`, `bfloat16` or `float16`; `auto` is float32, as its vectors are to be compared for years.
        Raises:
            WeightsMissing: no such model, or it was not prepared.
        """
        kind = "float32" if dtype == "auto" else dtype
        table, calibration = read_prepared(folder)
        model, config = load_published(folder, device=device, dtype=kind), read_config(folder)
        return cls(model, model.space(config, model.interface.config.width, "bilinear"), table, calibration)

    def _views(self, photos: Sequence[RGB]) -> tuple[Pyramid, list[View]]:
        (photo,) = photos
        view = self.model.view(photo)
        return view.pyramid, [view]

    def _select_regions(self, view: View, proposals: Proposals, row: int) -> Regions:
        """At most 100 proposals, best first, those of the same pixels once."""
        return distinct_regions(view, proposals.masks[row], proposals.quality()[row], proposals.vectors[row])

    def _encode_captions(self, texts: Sequence[str]) -> Floats:
        return unit(self.model.encode_captions(texts))

    def _encode_phrases(self, texts: Sequence[str]) -> Floats:
        return np.array([unit(self.model.encode_phrase(text)) for text in texts])

    def _reference(self, part: ResolvedPart, view: View) -> Reference:
        mask = np.ones(view.resized, bool) if part.mask is None else part.mask
        return self.model.reference(Example(view, mask, part.background))

    def interact(self, photo: RGB, parts: Sequence[ResolvedPart]) -> list[GroundedMask]:
        """See `Interface.interact`: by spatial prompts, all in one pass, as the authors do; a box is all its pixels."""
        with self._running():
            _, (view,) = self._views([photo])
            answer = self.model.interact(view, *marks_of(photo, parts))
            sure = tasks.certainty_of(answer.logits[0]).tolist()
        return [grounded(number, part, answer.masks[number], sure[number]) for number, part in enumerate(parts)]

    def _ground_entities(
        self,
        view: View,
        sentence: Sentence,
        references: References,
        entities: Sequence[ResolvedPart],
    ) -> list[tuple[BoolMask, float]]:
        visual = tasks.sample_references(self.model, references)
        grounding = tasks.ground_interleaved(self.model, view.pyramid, sentence, visual)
        stretch = self.model.published_protocol
        return [(answer.mask, answer.cosine) for answer in self.model.answers(grounding, view, stretch=stretch)]
