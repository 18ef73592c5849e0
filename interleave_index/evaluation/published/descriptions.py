"""Makes the sentences that stand for classes in `coco-panoptic --classes descriptions`, from public files.

FIND's repository keeps the sentences that were measured with (a language model wrote them) in `utils/constants.py`,
as a list in the order of COCO's panoptic classes. Without it, glosses of WordNet describe the same classes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

from ...errors import InputError
from ...interface.published.classes import COCO_PANOPTIC
from ...interface.published.text import class_sentence
from .files import read_bytes

PUBLISHED, NAMES = "COCO_DESCRIPTION", "COCO_PANOPTIC_CLASSES"  # lists in utils/constants.py
INDEX, GLOSSES = "index.noun", "data.noun"  # of WordNet
# Classes whose name is no noun of WordNet, or whose first sense is not the one meant: the noun, and its sense.
SENSES: Mapping[str, tuple[str, int]] = {
    "stop sign": ("street sign", 1),
    "skis": ("ski", 1),
    "sports ball": ("ball", 1),
    "kite": ("kite", 3),
    "wine glass": ("wineglass", 1),
    "banana": ("banana", 2),
    "broccoli": ("broccoli", 2),
    "hot dog": ("hot dog", 2),
    "cake": ("cake", 3),
    "potted plant": ("houseplant", 1),
    "toilet": ("toilet", 2),
    "tv": ("tv", 2),
    "mouse": ("mouse", 4),
    "cell phone": ("cellular telephone", 1),
    "microwave": ("microwave", 2),
    "toaster": ("toaster", 2),
    "book": ("book", 2),
    "floor-wood": ("parquet", 1),
    "light": ("light", 2),
    "net": ("net", 5),
    "playingfield": ("playing field", 2),
    "railroad": ("railroad", 2),
    "snow": ("snow", 2),
    "stairs": ("stairway", 1),
    "wall-brick": ("brickwork", 1),
    "wall-stone": ("masonry", 1),
    "wall-tile": ("tile", 1),
    "wall-wood": ("wainscoting", 2),
    "water-other": ("water", 2),
    "window-blind": ("window blind", 1),
    "table-merged": ("table", 2),
    "food-other-merged": ("food", 2),
}


def published_descriptions(path: Path) -> dict[str, str]:
    """The sentences of FIND's `utils/constants.py` by class name; the file is taken apart, and never run.

    Raises:
        InputError: it is missing, or is not that file.
    """
    lists = {name: _list_in(path, name) for name in (PUBLISHED, NAMES)}
    names = [plain_name(name) for name in lists[NAMES]]
    if names != [plain_name(name) for name in COCO_PANOPTIC] or len(lists[PUBLISHED]) != len(names):
        raise InputError(
            f"{path} has {len(lists[PUBLISHED])} descriptions of {len(names)} classes, expected one of each of COCO's "
            f"{len(COCO_PANOPTIC)} in their order; take utils/constants.py of UX-Decoder/FIND"
        )
    return dict(zip(COCO_PANOPTIC, lists[PUBLISHED], strict=True))


def _list_in(path: Path, name: str) -> list[str]:
    """A list of texts that a Python file assigns to a name."""
    content = read_bytes(path)
    try:
        module = ast.parse(content)
        values = [
            ast.literal_eval(node.value)
            for node in module.body
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]
        ]
    except (SyntaxError, ValueError) as error:
        raise InputError(f"{path} is no Python file with a list {name}: {error}") from error
    if len(values) != 1 or not isinstance(values[0], list) or not all(isinstance(one, str) for one in values[0]):
        raise InputError(f"{path} has no list {name} of texts; take utils/constants.py of UX-Decoder/FIND")
    return values[0]


def wordnet_descriptions(folder: Path) -> dict[str, str]:
    """A sentence from the gloss of each class of COCO panoptic, without the examples that WordNet adds.

    Args:
        folder: with `index.noun` and `data.noun` of WordNet 3.0.
    Raises:
        InputError: they are not there or of another form, or lack a class.
    """
    glosses = _glosses(folder / GLOSSES)
    offsets: dict[str, list[str]] = {}
    for line in _lines(folder / INDEX):
        fields = line.split()
        offsets[fields[0]] = fields[-int(fields[2]) :]
    described = {}
    for name in COCO_PANOPTIC:
        noun, sense = SENSES.get(name, (plain_name(name), 1))
        found = offsets.get(noun.replace(" ", "_"), [])
        if len(found) < sense or found[sense - 1] not in glosses:
            raise InputError(f"{folder} has no sense {sense} of {noun!r}, expected WordNet 3.0; take its folder dict")
        described[name] = _sentence(glosses[found[sense - 1]])
    return described


def plain_name(name: str) -> str:
    """A class name as it is read out.

    >>> plain_name("sky-other-merged")
    'sky'
    """
    return class_sentence(name, "{}")


def named_in(descriptions: Mapping[str, str]) -> list[str]:
    """Classes whose description holds a word of their name, which was not wanted of the published ones.

    >>> named_in({"tennis racket": "A racket used to play.", "bear": "A big mammal; it can bear cold."})
    ['tennis racket', 'bear']
    """
    return [
        name
        for name, text in descriptions.items()
        if set(re.findall(r"\w+", plain_name(name))) & set(re.findall(r"\w+", text.lower()))
    ]


def _lines(path: Path) -> list[str]:
    """Lines of a file of WordNet, without its licence at the top."""
    try:
        text = read_bytes(path).decode("ascii")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no file of WordNet: {error}") from error
    return [line for line in text.splitlines() if line and not line.startswith(" ")]


def _glosses(path: Path) -> dict[str, str]:
    """Glosses by the offset of their set of synonyms."""
    rows = (line.partition(" | ") for line in _lines(path))
    return {facts.split()[0]: gloss.strip() for facts, bar, gloss in rows if bar}


def _sentence(gloss: str) -> str:
    """A gloss as a sentence, without quoted examples.

    >>> _sentence('a motor vehicle; usually with an engine; "he needs a car to get to work"  ')
    'A motor vehicle; usually with an engine.'
    """
    text = re.sub(r'[;:,]?\s*"[^"]*"', "", gloss).strip(" ;:")
    return f"{text[0].upper()}{text[1:].rstrip('.')}."
