"""Released X-Decoder and SEEM checkpoints as their published figures were measured: all queries, sides by the task."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ...interface.find.adapter import View
from ...interface.published.segmentation import Segmentation, segment
from ...interface.xdecoder.interface import SeemInterface, XDecoderInterface
from ...records import RGB, BoolMask, Floats, Size
from .entity import Exemplar, InterleavedSentence
from .find import GROUNDING, REFERRING
from .subject import Masks, Subject, Table

COCO = VOC = (800, 1333)


class FamilySubject(Subject):
    """What X-Decoder and SEEM are asked alike.

    Args:
        interface: of an imported checkpoint.
    """

    def __init__(self, interface: XDecoderInterface | SeemInterface) -> None:
        super().__init__(interface)
        self.model = interface.model
        self.facts["asked"] = f"all {self.model.network.sizes.interface.queries} queries"

    def ground(self, photo: RGB, expressions: Sequence[str], *, together: bool) -> Masks:
        """See `Subject`."""
        view = self._view(photo, REFERRING)
        passes = [expressions] if together else [[expression] for expression in expressions]
        return np.stack([answer.mask for texts in passes for answer in self.model.ground(view, texts)])

    def classes(self, names: Sequence[str], *, descriptions: bool = False) -> Table:
        """See `Subject`: the mean of 81 sentences a name, background added: (K + 1, C)."""
        return self.model.class_table(names, descriptions=descriptions)

    def segment(self, photo: RGB, table: Table, things: Collection[int]) -> Segmentation:
        """See `Subject`."""
        return segment(*self.model.logits(self._view(photo, COCO), table), things)

    def _view(self, photo: RGB, sides: Size, *, bicubic: bool = False) -> View:
        return self.model.view(photo, short=sides[0], long=sides[1], bicubic=bicubic)


class XDecoderSubject(FamilySubject):
    """X-Decoder under measurement.

    Args:
        interface: of an imported checkpoint.
    """

    def __init__(self, interface: XDecoderInterface) -> None:
        super().__init__(interface)
        self._xdecoder, self._class_table = interface.model, interface.class_table
        self._table_of = interface.table_of

    def vectors(self, photo: RGB) -> tuple[Floats, Floats]:
        """See `Subject`."""
        _, _, objects = self._xdecoder.everything(self._view(photo, GROUNDING), self._class_table)
        return self._xdecoder.encode_image(photo), objects.cpu().numpy()

    def views(self, photo: RGB) -> Floats:
        """See `Subject`."""
        return self._xdecoder.encode_image(photo)[None]

    def captions(self, texts: Sequence[str]) -> Floats:
        """See `Subject`."""
        return self._xdecoder.encode_captions(texts)

    def shown_classes(self, classes: Iterable[Iterable[Exemplar]]) -> Table:
        """See `Subject`: means of the proposals that fit the exemplars, background added in words: (K + 1, C)."""
        return self._table_of(super().shown_classes(classes))


class SeemSubject(FamilySubject):
    """SEEM under measurement.

    Args:
        interface: of an imported checkpoint.
    """

    def __init__(self, interface: SeemInterface) -> None:
        super().__init__(interface)
        self._seem = interface.model
        self.facts["version"] = self._seem.version

    def ground_sentence(self, photo: RGB, sentence: InterleavedSentence) -> Masks:
        """See `Subject`: phrases in words are expressions of one pass, those that are shown are prompts of another."""
        view = self._view(photo, GROUNDING)
        words = [
            sentence.text[start:end].strip() or "thing"
            for (start, end), exemplar in zip(sentence.spans, sentence.exemplars, strict=True)
            if exemplar is None
        ]
        said = iter([answer.mask for answer in self._seem.ground(view, words)])
        own = [one.mask for one in sentence.exemplars if one is not None and one.photo is photo]
        drawn: Iterator[BoolMask] = iter(self._seem.interact(view, own).masks if own else [])
        masks: list[BoolMask] = []
        for exemplar in sentence.exemplars:
            if exemplar is None:
                masks.append(next(said))
            elif exemplar.photo is photo:
                masks.append(next(drawn))
            else:
                other = self._view(exemplar.photo, GROUNDING)
                masks.append(self._seem.find_example(view, other, exemplar.mask).mask)
        return np.stack(masks)

    def interact(self, photo: RGB, prompts: Masks, background: Masks, memory: Any = None) -> tuple[Masks, Any]:
        """See `Subject`; the memory is the photo's features and the mask logits of the round before."""
        view, logits = memory or (self._view(photo, VOC, bicubic=True), None)
        not_meant = list(background) if background.any() else None
        answer = self._seem.interact(view, list(prompts), not_meant, logits)
        return answer.masks, (view, answer.logits)
