"""A page that stands alone: hits with their masks painted on the photos, one colour an entity.

One HTML file without scripts and without a reference to anything outside it. Knows records and
pixels; where the pixels of a photo come from is the caller's business.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePath
from typing import TypeAlias

import numpy as np

from ..errors import InterleaveError
from ..geometry import fit, resize_mask
from ..marks import PAGE_MARK
from ..records import RGB, Answer, BoolMask, EntityHit, Hit
from .colours import colour_of, hex_of, ink_on
from .files import printable
from .masks import LoadPixels
from .outline import label_point, svg_path
from .outputs import whole_file
from .page_style import MOST_TOGGLES, STYLE, toggles
from .page_texts import texts_html
from .passages import spoken
from .words import UNDER, counted, name_of, percent, verdict

DISPLAY_SIDE = 640  # pixels of the longer side of an embedded photo
QUERY_SIDE = 376
_JPEG_QUALITY = 82
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class QueryPicture:
    """A picture that was part of a query, to be shown above the hits.

    Attributes:
        label: the part as it was written.
        photo: (H, W, 3) uint8 upright pixels.
        mask: (H, W) bool of the part that was meant, or None for the whole picture.
        entity: position of the part among the query's entities, which gives its colour.
    """

    label: str
    photo: RGB
    mask: BoolMask | None = None
    entity: int = 0


HeatOf: TypeAlias = Callable[[Hit], Sequence[tuple[str, RGB]]]  # per map: what it is of, and the painted photo


@dataclass(frozen=True, slots=True)
class Section:
    """One answer on a page of several: a heading, a line of explanation, the pictures of the query, heat maps.

    Attributes:
        named: its photos were named by hand instead of found: no ranks, no counts, nothing is greyed.
    """

    answer: Answer
    heading: str = ""
    note: str = ""
    pictures: tuple[QueryPicture, ...] = ()
    heat: HeatOf | None = None
    named: bool = False


def write_page(
    answer: Answer,
    file: Path | str,
    *,
    load_pixels: LoadPixels,
    pictures: Sequence[QueryPicture] = (),
    heat: HeatOf | None = None,
    named: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write the answer to one query, or what was found in photos named by hand, as a page; see `write_report`."""
    section = Section(answer, pictures=tuple(pictures), heat=heat, named=named)
    title = "Grounding" if named else "Search"
    return write_report([section], file, title=title, load_pixels=load_pixels, overwrite=overwrite)


def write_report(
    sections: Sequence[Section],
    file: Path | str,
    *,
    title: str,
    load_pixels: LoadPixels,
    lead: str = "",
    overwrite: bool = False,
) -> Path:
    """Write answers as one self-contained HTML page.

    Args:
        sections: shown in this order; an answer without hits says so.
        file: the page; appears when it is complete.
        title: of the page.
        load_pixels: gives the upright (H, W, 3) uint8 pixels of a photo; a photo that it cannot give
            (InterleaveError, OSError) is shown as an empty frame with its masks.
        lead: a line under the title.
        overwrite: whether a file that is there may be written over.
    Returns:
        `file` as a path.
    Raises:
        InputError: the file must not be written, see `export.outputs`.
        OSError: the file cannot be written; nothing is left half written.

    Photos are embedded as JPEG with a longer side of at most 640 pixels. Every text is escaped, and
    characters that would not show are written out. Hits under the answer's cut-off are greyed, and their masks show
    when pointed at. Passages, where they were asked for, stand under the photos.
    """
    with whole_file(file, overwrite=overwrite) as out:
        out.write(_head(title, lead))
        for number, section in enumerate(sections):
            out.write(_section(section, number, load_pixels))
        out.write(
            "<footer>A filled mask is judged to be there; a dotted outline is the best place for what may or may "
            "not be there. Made by interleave-index.</footer>\n</main>\n</body>\n</html>\n"
        )
    return Path(file)


def _head(title: str, lead: str) -> str:
    lead = f'<p class="lead">{_text(lead)}</p>\n' if lead else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"{PAGE_MARK}\n"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{_text(title)}</title>\n'
        f"<style>{STYLE}{toggles()}</style>\n</head>\n<body>\n<main>\n<h1>{_text(title)}</h1>\n{lead}"
    )


def _section(section: Section, number: int, load_pixels: LoadPixels) -> str:
    answer = section.answer
    entities = answer[0].entities if len(answer) else ()
    heading = f"<h2>{_text(section.heading)}</h2>\n" if section.heading else ""
    note = f'<p class="lead">{_text(section.note)}</p>\n' if section.note else ""
    notes = "".join(f"<li>{_text(line)}</li>" for line in answer.notes)
    texts_alone = answer.texts is not None and not len(answer)
    return (
        f'<section>\n{heading}{note}<p class="query">{_text(answer.query)}</p>\n'
        f"{_asked(section.pictures)}{'' if section.named or texts_alone else _facts(answer)}"
        + (f'<ul class="notes">{notes}</ul>\n' if notes else "")
        + _legend(entities, number)
        + ("" if texts_alone else _grid(section, load_pixels))
        + ("" if answer.texts is None else f"<h3>Texts</h3>\n{texts_html(answer.texts)}")
        + "</section>\n"
    )


def _facts(answer: Answer) -> str:
    path = {"exact": "every eligible photo was scored", "ann": "candidates from the vector index were scored"}
    return f'<p class="facts"><strong>{counted(answer)}.</strong> {path[answer.path].capitalize()}.</p>\n'


def _asked(pictures: Sequence[QueryPicture]) -> str:
    if not pictures:
        return ""
    figures = []
    for picture in pictures:
        size = fit(picture.photo.shape[:2], QUERY_SIDE)
        mask = "" if picture.mask is None else _shape(picture.mask, size, picture.entity, picture.label, [])
        figures.append(
            f'<figure><div class="photo">{_img(picture.photo, size, "Picture of the query")}'
            f"{_svg(mask, size)}</div><figcaption>{_text(picture.label)}</figcaption></figure>"
        )
    return f'<div class="asked">{"".join(figures)}</div>\n'


def _legend(entities: Sequence[EntityHit], number: int) -> str:
    """Tick boxes first, since CSS only looks forward; then the labels that a reader sees."""
    if not entities:
        return ""
    boxes, labels = [], []
    for n, entity in enumerate(entities):
        switch = n < MOST_TOGGLES
        if switch:
            boxes.append(
                f'<input type="checkbox" class="toggle t{n}" id="s{number}e{n}" checked '
                f'aria-label="Show masks of {_text(entity.text)}">'
            )
        negative = '<span class="not">not</span>' if entity.negative else ""
        target = f' for="s{number}e{n}"' if switch else ""
        labels.append(
            f'<li><label class="l{n}"{target} style="{_colours(n)}"><span class="dot">{n + 1}</span>'
            f"{negative}<bdi>{_text(name_of(entity))}</bdi></label></li>"
        )
    return f'{"".join(boxes)}\n<ul class="legend">{"".join(labels)}</ul>\n'


def _grid(section: Section, load_pixels: LoadPixels) -> str:
    answer, cards = section.answer, []
    if not len(answer):
        return '<p class="empty">No photo answers this query.</p>\n'
    tail = len(answer) if section.named else answer.meant_count
    for n, hit in enumerate(answer):
        if n and n == tail:  # above all of them stands what `_facts` says
            cards.append(f'<li class="tail">{UNDER}</li>')
        cards.append(_card(hit, section, section.named or answer.meant(hit), load_pixels))
    return f'<ol class="grid{" few" if len(answer) == 1 else ""}">\n{"".join(cards)}</ol>\n'


def _card(hit: Hit, section: Section, meant: bool, load_pixels: LoadPixels) -> str:
    photo = hit.photo
    path = PurePath(photo.path) if photo.path else PurePath(f"photo {photo.id}")
    folder = f'<div class="folder"><bdi>{_text(os.path.dirname(photo.path))}</bdi></div>' if photo.path else ""
    said = f'<div class="said" dir="auto">{_text(spoken(hit.text))}</div>' if hit.text else ""
    cutoff = 0.0 if section.named else section.answer.cutoff
    found = "".join(_found(entity, n, cutoff) for n, entity in enumerate(hit.entities))
    more = f' <span class="rank">+{len(hit.stack)} alike</span>' if hit.stack else ""
    rank = "" if section.named else f'<span class="rank">{hit.rank}</span>'
    judged = "" if section.named else _relevance(hit, section.answer.cutoff)
    return (
        f'<li class="card{"" if meant else " below"}">{_picture(hit, meant, load_pixels)}<div class="text">'
        f'<div class="top">{rank}'
        f'<span class="name" title="{_text(str(path))}"><bdi>{_text(path.name)}</bdi></span>{more}</div>'
        f"{judged}{folder}{said}"
        + (f'<ul class="found">{found}</ul>' if found else "")
        + _heat(hit, section.heat)
        + "</div></li>\n"
    )


def _relevance(hit: Hit, cutoff: float) -> str:
    """How likely the hit is meant: a number, and a bar with a tick where the cut-off is, if it can be reached."""
    share = min(max(hit.relevance, 0.0), 1.0)
    line, reached = (
        ("", "")
        if not 0 < cutoff < 1
        else (f'<b style="left:{cutoff:.1%}"></b>', f"; from {percent(cutoff)} on it counts as meant")
    )
    return (
        f'<div class="relevance" title="chance that this photo is meant{reached}">relevance {percent(share)}'
        f'<span class="bar"><i style="width:{share:.1%}"></i>{line}</span>score {hit.score:.3f}</div>'
    )


def _heat(hit: Hit, heat: HeatOf | None) -> str:
    """The maps behind the masks, folded away until they are asked for."""
    maps = () if heat is None else heat(hit)
    shown = "".join(
        f"<figure>{_img(picture, fit(picture.shape[:2], QUERY_SIDE), f'Heat map of {text}')}"
        f"<figcaption>{_text(text)}</figcaption></figure>"
        for text, picture in maps
    )
    return f'<details class="heat"><summary>heat maps</summary>{shown}</details>' if shown else ""


def _found(entity: EntityHit, n: int, cutoff: float) -> str:
    source, word, chance = entity.grounding.source, verdict(entity, cutoff), percent(entity.grounding.probability)
    way = f", {entity.grounding.rung}" if entity.grounding.rung else ""
    title = f"{chance} likely to be there; grounding: {source}{way}, score {entity.score:.2f}"
    negative = '<span class="not">not</span> ' if entity.negative else ""
    return (
        f'<li class="{"present" if entity.grounding.present else "absent"}" style="{_colours(n)}">'
        f'<span class="dot">{n + 1}</span>'
        f'<span class="what" title="{_text(entity.text)}">{negative}<bdi>{_text(name_of(entity))}</bdi></span>'
        f'<span class="how" title="{title}">{word} · {chance}</span></li>'
    )


def _picture(hit: Hit, meant: bool, load_pixels: LoadPixels) -> str:
    photo = hit.photo
    size = fit((max(photo.height, 1), max(photo.width, 1)), DISPLAY_SIDE)
    taken: list[tuple[float, float]] = []
    shapes = [_entity_shape(entity, n, size, taken) for n, entity in enumerate(hit.entities)]
    try:
        shown = _img(load_pixels(photo), size, _alternative(hit, meant))
    except (InterleaveError, OSError):
        shown = '<div class="gone">This photo cannot be read now.</div>'
    return f'<div class="photo">{shown}{_svg("".join(shapes), size)}</div>'


def _alternative(hit: Hit, meant: bool) -> str:
    name = PurePath(hit.photo.path).name if hit.photo.path else f"photo {hit.photo.id}"
    masked = [e.text for e in hit.entities if e.regions and (e.grounding.present or meant)]
    return f"Hit {hit.rank}: {name}" + (f", with masks of {', '.join(masked)}" if masked else "")


def _entity_shape(entity: EntityHit, n: int, size: tuple[int, int], taken: list[tuple[float, float]]) -> str:
    if not entity.regions:
        return ""
    mask = np.zeros(size, bool)
    for region in entity.regions:
        mask |= _shrink(region.rle.decode(), size)
    return _shape(mask, size, n, entity.text, taken, present=entity.grounding.present)


def _shape(
    mask: BoolMask, size: tuple[int, int], n: int, text: str, taken: list[tuple[float, float]], *, present: bool = True
) -> str:
    """One mask as an SVG group; `taken` collects where numbers stand, so that no two lie on each other."""
    mask = _shrink(mask, size)
    if not mask.any():
        return ""
    radius, whole = max(size) / 40, bool(mask.all())
    line, (x, y) = svg_path(mask), (0.0, 0.0) if whole else label_point(mask)
    while any((x - a) ** 2 + (y - b) ** 2 < 4 * radius**2 for a, b in taken):
        x += 2.2 * radius
    x, y = min(max(x, radius), size[1] - radius), min(max(y, radius), size[0] - radius)
    taken.append((x, y))
    kind = " whole" if whole else "" if present else " absent"
    return (
        f'<g class="mask m{n}{kind}" style="{_colours(n)}"><title>{_text(text)}</title>'
        f'<path class="halo" d="{line}"/><path d="{line}"/><circle cx="{x:.0f}" cy="{y:.0f}" r="{radius:.0f}"/>'
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{radius * 1.2:.0f}">{n + 1}</text></g>'
    )


def _shrink(mask: BoolMask, size: tuple[int, int]) -> BoolMask:
    """The mask at display size by area average; one too fine for that keeps every pixel that it touches."""
    if mask.shape == size:
        return mask
    if mask.shape[0] <= size[0] or mask.shape[1] <= size[1]:
        return resize_mask(mask, size)
    from PIL import Image

    grey = Image.fromarray(mask.astype(np.uint8) * 255).resize((size[1], size[0]), Image.Resampling.BOX)
    shares = np.asarray(grey)
    small: BoolMask = shares >= 128
    return small if small.any() else shares > 0


def _svg(shapes: str, size: tuple[int, int]) -> str:
    return f'<svg viewBox="0 0 {size[1]} {size[0]}" aria-hidden="true">{shapes}</svg>' if shapes else ""


def _img(photo: RGB, size: tuple[int, int], alternative: str) -> str:
    from PIL import Image

    picture = Image.fromarray(photo)
    if picture.size != (size[1], size[0]):
        picture = picture.resize((size[1], size[0]), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{_text(alternative)}" width="{size[1]}" height="{size[0]}" src="data:image/jpeg;base64,{data}">'


def _colours(n: int) -> str:
    colour = colour_of(n)
    return f"--c:{hex_of(colour)};--k:{ink_on(colour)}"


def _text(text: str) -> str:
    return escape(printable(text), quote=True)
