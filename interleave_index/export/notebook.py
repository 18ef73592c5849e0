"""Answers as notebooks show them: small photos with their masks, one beside the other.

Knows records and files of photos. What a notebook cannot read is shown as a frame with a name.
"""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

import numpy as np

from ..errors import InterleaveError
from ..geometry import fit
from ..records import Answer, Hit
from .files import printable
from .masks import entity_mask, paint
from .page_texts import texts_html
from .words import counted, percent

SIDE = 240  # pixels of the longer side of a photo
MOST = 24  # hits that are shown
_FRAME = "display:inline-block;margin:4px;vertical-align:top;font:12px sans-serif;max-width:240px"


def answer_html(answer: Answer) -> str:
    """An answer as a piece of HTML: what it counts, its best hits, passages, its notes."""
    shown = answer.hits[:MOST]
    cards = "".join(_card(hit, meant=answer.meant(hit)) for hit in shown)
    rest = len(answer) - len(shown)
    more = f"<p>and {rest} more</p>" if rest else ""
    notes = "".join(f"<li>{_text(note)}</li>" for note in answer.notes)
    texts = "" if answer.texts is None else texts_html(answer.texts)
    count = "" if answer.texts is not None and not len(answer) else f"<br>{counted(answer)}"
    return (
        f"<div><p><b>{_text(answer.query)}</b>{count}</p>{cards}{more}{texts}"
        + (f"<ul>{notes}</ul>" if notes else "")
        + "</div>"
    )


def hit_html(hit: Hit) -> str:
    """One hit as a piece of HTML."""
    return f"<div>{_card(hit, meant=True)}</div>"


def _card(hit: Hit, *, meant: bool) -> str:
    name = Path(hit.photo.path).name if hit.photo.path else f"photo {hit.photo.id}"
    picture = _picture(hit)
    shown = picture if picture is not None else '<div style="padding:24px;background:#8884">cannot be read now</div>'
    faint = "" if meant else ";opacity:.5"
    return (
        f'<div style="{_FRAME}{faint}">{shown}<br>{hit.rank}. {_text(name)} · {percent(hit.relevance)}'
        f" · id {hit.photo.id}</div>"
    )


def _picture(hit: Hit) -> str | None:
    """The photo with the masks of what is there, as an image; None where its file cannot be read."""
    from PIL import Image

    from ..ingest.decode import decode

    if hit.photo.path is None:
        return None
    try:
        rgb = decode(hit.photo.path, long_side=SIDE).rgb
    except (InterleaveError, OSError):
        return None
    height, width = fit((rgb.shape[0], rgb.shape[1]), SIDE)
    small = Image.fromarray(rgb).resize((width, height))
    there = [number for number, entity in enumerate(hit.entities) if entity.regions and entity.grounding.present]
    masks = {number: entity_mask(hit.entities[number], hit.photo) for number in there}
    painted = paint(np.asarray(small), masks)
    file = io.BytesIO()
    Image.fromarray(painted).save(file, "JPEG", quality=80)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img width="{width}" height="{height}" src="data:image/jpeg;base64,{data}">'


def _text(text: str) -> str:
    return escape(printable(text))
