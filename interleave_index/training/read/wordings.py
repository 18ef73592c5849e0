"""How training words its questions and answers, one drawn for each.

The published recipe has about a hundred sentences of every kind; these are our own, fewer, and the fixed ones that are
asked in use are among them. Pure Python.
"""

from __future__ import annotations

from ...interface.read.prompts import SEG, SUPPLIED, WORDINGS

PHRASES = (  # {} is the phrase; each allows a denial, but for the fixed one of the validation
    WORDINGS["phrase"],
    WORDINGS["presence"],
    "Can you see {} here? If so, give me the segmentation mask, and if not, tell me.",
    "Look for {} in this picture. Segment it, or say that it is missing.",
    "Does this image show {}? Answer with a segmentation mask, or deny it.",
    "Find {} and output its segmentation mask, unless there is no such thing.",
)
SENTENCES = (  # {} is a whole question
    WORDINGS["sentence"],
    "{} Segment what answers this, if the image shows it.",
    "{} Answer with the segmentation mask of that place.",
    "{} If it is in the image, output the mask.",
)
FOUND = (
    SUPPLIED,
    f"It is {SEG}.",
    f"Yes, it is there: {SEG}.",
    f"Here is its mask: {SEG}.",
    f"{SEG}.",
)
DENIED = (  # {} is the phrase
    "No, there is no {} in this image.",
    "I see nothing like {} here.",
    "The image does not show {}.",
    "Sorry, {} is missing from this picture.",
)
CORRECTED = (  # the phrase, and what is there instead
    "No, there is no {0}, but there is {1}.",
    "I see {1} here, and no {0}.",
    "The image does not show {0}; it shows {1}.",
)
