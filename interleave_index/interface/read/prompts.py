"""How READ is asked: the words around a phrase or a question, and the answer that its validation supplies.

Pure Python. Sources: LISA's fixed wordings, which READ's validation takes (README of rui-qian/READ); the wording
that allows a denial is of the kind that READ was trained on, with words of our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

SEG, START, END = SPECIAL = ("[SEG]", "<im_start>", "<im_end>")
SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the human's questions."
)
BEFORE = f"{SYSTEM} USER: {START}"  # up to the photo

Wording: TypeAlias = Literal["phrase", "sentence", "presence"]
WORDINGS: dict[Wording, str] = {
    "phrase": "What is {} in this image? Please output segmentation mask.",
    "sentence": "{} Please output segmentation mask.",
    "presence": "Is {} in this image? If it is, please output its segmentation mask. If it is not, please say so.",
}
SUPPLIED = f"Sure, the segmentation result is {SEG}."


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a photo.

    Attributes:
        text: a phrase (``the left dog``) or a sentence (``What cuts bread?``).
        wording: ``phrase``, for a thing that is there; ``sentence``, the text as it is; ``presence``, for a thing
            that may be absent.
    """

    text: str
    wording: Wording = "phrase"

    def __str__(self) -> str:
        """The words of the user's turn; phrases in lower case, as READ has learned them.

        >>> str(Question("The left Dog"))
        'What is the left dog in this image? Please output segmentation mask.'
        """
        text = self.text.strip()
        return WORDINGS[self.wording].format(text if self.wording == "sentence" else text.lower())


def after_photo(question: str, answer: str = "") -> str:
    """Everything that follows the photo, up to the answer or with it."""
    return f"{END}\n{question} ASSISTANT:{' ' if answer else ''}{answer}"


def question_of(text: str) -> Question:
    """A query of a user as a question: what ends in a mark is a sentence, anything else may be absent.

    >>> question_of("What cuts bread?").wording, question_of("a dog").wording
    ('sentence', 'presence')
    """
    return Question(text, "sentence" if text.rstrip().endswith((".", "?", "!")) else "presence")


def reasoning_question(text: str, *, is_sentence: bool) -> Question:
    """A text of ReasonSeg, in the wording that its `is_sentence` chooses, whatever sign it ends in."""
    return Question(text, "sentence" if is_sentence else "phrase")
