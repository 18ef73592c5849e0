"""READ, asked in the words and by the protocol of its own evaluation.

Its published masks were measured with the answer supplied: the words up to [SEG] are given to the language model, which
so cannot deny (teacher forcing). What it serves is generated freely. Both can be measured here. Whether a thing is
there at all (FP-RefCOCO) is always asked freely, in words that allow a denial, as published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from ...errors import InputError
from ...geometry import size_of
from ...interface.read.interface import ReadInterface
from ...interface.read.model import Answer
from ...interface.read.prompts import Question, reasoning_question
from ...records import RGB, BoolMask, Size
from .entity import InterleavedSentence
from .subject import Masks, Subject

Answers: TypeAlias = Literal["supplied", "free"]
PROTOCOLS: dict[Answers, str] = {"supplied": "answer supplied, as published", "free": "answer generated freely"}


class ReadSubject(Subject):
    """A `Subject` that READ's own evaluation would ask.

    Args:
        interface: of READ.
        answers: whether masks are measured with the answer ``supplied``, or with what READ says, ``free``.
    """

    def __init__(self, interface: ReadInterface, answers: Answers) -> None:
        super().__init__(interface)
        self._model, self._answers = interface.model, answers
        self.facts |= {"asked": "in READ's own words"}

    def protocol(self, *, presence: bool) -> str | None:
        """See `Subject`."""
        return "answer generated freely, as published" if presence else PROTOCOLS[self._answers]

    def comparable(self, *, presence: bool) -> bool:
        """See `Subject`: masks of free answers were not published."""
        return presence or self._answers == "supplied"

    def ground(self, photo: RGB, expressions: Sequence[str], *, together: bool) -> Masks:
        """See `Subject`; each expression is asked by itself, the photo is read once."""
        return self._masks(photo, [Question(text, "phrase") for text in expressions])

    def reason(self, photo: RGB, text: str, *, is_sentence: bool) -> BoolMask:
        """See `Subject`; the wording goes by `is_sentence`, as published."""
        mask: BoolMask = self._masks(photo, [reasoning_question(text, is_sentence=is_sentence)])[0]
        return mask

    def ground_if_there(self, photo: RGB, expressions: Sequence[str]) -> Masks:
        """See `Subject`; what READ denies has an empty mask."""
        answers = self._model.answer(photo, [Question(text, "presence") for text in expressions])
        return _first_masks(answers, size_of(photo))

    def ground_sentence(self, photo: RGB, sentence: InterleavedSentence) -> Masks:
        """See `Subject`; each phrase is asked by itself.

        Raises:
            InputError: a phrase is shown instead of said.
        """
        if any(exemplar is not None for exemplar in sentence.exemplars):
            raise InputError("READ reads words only, a phrase here is a picture; say them all, with --visual 0")
        return self.ground(photo, [sentence.text[start:end] for start, end in sentence.spans], together=False)

    def _masks(self, photo: RGB, questions: Sequence[Question]) -> Masks:
        ask = self._model.supply if self._answers == "supplied" else self._model.answer
        return _first_masks(ask(photo, questions), size_of(photo))


def _first_masks(answers: Sequence[Answer], size: Size) -> Masks:
    """The mask of the first [SEG] of every answer, (n, H, W); empty where there is none."""
    masks = [answer.segments[0].mask if answer.segments else np.zeros(size, bool) for answer in answers]
    return np.array(masks, bool).reshape(-1, *size)
