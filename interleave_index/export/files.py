"""What every export needs: JSON that any reader takes, names that any disk takes. `outputs` writes the files.

Knows no format.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from typing import Any

import numpy as np

_JOINER = "\u200d"  # holds emoji together; not printable for Python, harmless on a page


def to_json_text(value: Any) -> str:
    r"""One line of JSON in pure ASCII, whatever the names inside.

    A path that is not UTF-8 carries surrogate escapes; they are written as ``\udcXX`` and come back
    from `json.loads` unchanged, so that `os.fsencode` gives the bytes on disk again. Numbers that
    JSON does not know (NaN, infinity) become null.

    >>> to_json_text({"path": "caf\udce9.jpg", "latitude": float("nan")})
    '{"path": "caf\\udce9.jpg", "latitude": null}'
    """
    try:
        return json.dumps(value, allow_nan=False, default=_plain)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    value = _plain(value) if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def safe_name(text: str, longest: int = 40) -> str:
    """A piece of a file name that every file system takes: lower-case ASCII letters, digits, single dashes.

    Accents fall away, everything else becomes a dash; nothing left gives ``x``. Not unique and not
    reversible: put an id beside it. Give it inside a longer name, since ``con`` alone is reserved on Windows.

    >>> safe_name("Café à 10 €/Straße?.JPG"), safe_name("../../etc"), safe_name("猫")
    ('cafe-a-10-stra-e-jpg', 'etc', 'x')
    """
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in decomposed if not unicodedata.combining(c)).lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:longest].strip("-") or "x"


def printable(text: str) -> str:
    r"""Text that can be shown: control, direction and undecodable characters become visible escapes.

    >>> printable("caf\udce9\u202egpj.exe")
    'caf\\xe9\\u202egpj.exe'
    """
    return "".join(c if c.isprintable() or c == _JOINER else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as os.fsdecode keeps it
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
