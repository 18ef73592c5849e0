"""Released FIND checkpoints, and models trained by their recipe, as the published figures were measured.

An index keeps the distinct proposals of a photo and reads an entity by itself; the published evaluations take all
proposals, other sizes of the photo a task, and grounding tokens of their own for referring expressions. So these
models are asked their own questions here, instead of those of a search.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from ...interface.find.adapter import View
from ...interface.find.prompter import Sentence
from ...interface.published.answers import Example
from ...interface.published.interface import PublishedFind
from ...interface.published.pair import TrainedNetwork
from ...interface.published.segmentation import Segmentation, segment
from ...records import RGB, Floats, Size
from .entity import PLACEHOLDER, Exemplar, InterleavedSentence
from .subject import Masks, Subject, Table

# A photo is resized to the first side, its shorter one, unless its longer one would pass the second.
RETRIEVAL, GROUNDING, REFERRING, INTERACTION = (512, 720), (640, 1024), (512, 1024), (800, 1333)


class FindSubject(Subject):
    """A `Subject` that answers with all proposals of a model."""

    def __init__(self, interface: PublishedFind) -> None:
        super().__init__(interface)
        self.model = interface.model
        self.facts |= {
            "asked": f"all {self.model.network.predictor.config.object_queries} proposals",
            "published_protocol": self.model.published_protocol,
        }

    def vectors(self, photo: RGB) -> tuple[Floats, Floats]:
        """See `Subject`."""
        return self.model.encode_image(self._view(photo, RETRIEVAL))

    def captions(self, texts: Sequence[str]) -> Floats:
        """See `Subject`."""
        return self.model.encode_captions(texts)

    def sentence(self, sentence: InterleavedSentence) -> tuple[Floats, Floats]:
        """See `Subject`."""
        examples = [None if e is None else Example(self.model.view(e.photo), e.mask) for e in sentence.exemplars]
        query = self.model.encode_interleaved(_sentence(sentence), examples)
        return query.legend, query.entities

    def composed(self, photo: RGB, text: str) -> Floats:
        """See `Subject`: a sentence that begins with the whole photo."""
        shown = Exemplar(photo, np.ones(photo.shape[:2], bool))
        return self.sentence(InterleavedSentence(f"{PLACEHOLDER} {text}", ((0, len(PLACEHOLDER)),), (shown,)))[0]

    def ground(self, photo: RGB, expressions: Sequence[str], *, together: bool) -> Masks:
        """See `Subject`."""
        view = self._view(photo, REFERRING)
        passes = [expressions] if together else [[expression] for expression in expressions]
        return np.stack([answer.mask for texts in passes for answer in self.model.ground(view, texts)])

    def ground_sentence(self, photo: RGB, sentence: InterleavedSentence) -> Masks:
        """See `Subject`; points of exemplars on the photo itself are sampled in the same pass."""
        view = self._view(photo, GROUNDING)
        examples: list[Example | None] = []
        for exemplar in sentence.exemplars:
            if exemplar is None:
                examples.append(None)
            else:
                own = exemplar.photo is photo
                examples.append(Example(view if own else self._view(exemplar.photo, GROUNDING), exemplar.mask))
        answers = self.model.ground_interleaved(view, _sentence(sentence), examples)
        return np.stack([answer.mask for answer in answers])

    def interact(self, photo: RGB, prompts: Masks, background: Masks, memory: Any = None) -> tuple[Masks, Any]:
        """See `Subject`; the memory is the photo's features and the mask logits of the round before."""
        view, logits = memory or (self._view(photo, INTERACTION), None)
        not_meant = list(background) if background.any() else None
        answer = self.model.interact(view, list(prompts), not_meant, logits)
        return answer.masks, (view, answer.logits)

    def classes(self, names: Sequence[str], *, descriptions: bool = False) -> Table:
        """See `Subject`: names are put into the one published sentence, descriptions are taken as they are.

        The vectors of background and of all classes stand in one table, (K + 1, D).
        """
        return self.model.class_table(names, descriptions=descriptions)

    def shown_classes(self, classes: Iterable[Iterable[Exemplar]]) -> Table:
        """See `Subject`; one exemplar at a time, as the features of all their photos would fill the memory."""
        examples = ((Example(self._view(e.photo, GROUNDING), e.mask) for e in exemplars) for exemplars in classes)
        return self.model.example_table(examples)

    def segment_vectors(self, photo: RGB, masks: Masks) -> Floats:
        """See `Subject`."""
        view = self._view(photo, GROUNDING)
        return self.model.encode_examples([Example(view, mask) for mask in masks]).cpu().numpy()

    def segment(self, photo: RGB, table: Table, things: Collection[int]) -> Segmentation:
        """See `Subject`."""
        return segment(*self.model.logits(self._view(photo, GROUNDING), table), things)

    def _view(self, photo: RGB, sides: Size) -> View:
        """The photo at the sides of a task; a model that learned from crops smaller than those sees it at its own."""
        network = self.model.network
        if isinstance(network, TrainedNetwork) and network.long < GROUNDING[1]:
            return self.model.view(photo)
        short, long = sides
        return self.model.view(photo, short=short, long=long)


def _sentence(sentence: InterleavedSentence) -> Sentence:
    return Sentence(sentence.text, sentence.spans, sentence.visual)
