import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from interleave_index.errors import ImageUnreadable
from interleave_index.export.colours import PALETTE, colour_of, hex_of, ink_on
from interleave_index.export.notebook import answer_html
from interleave_index.export.page import QueryPicture, Section, write_page, write_report
from interleave_index.export.words import UNDER
from interleave_index.geometry import encode_rle
from interleave_index.marks import PAGE_MARK, is_marked_page
from interleave_index.records import Answer, Region
from interleave_index.records.texts import Passage, PhraseHit, TextHit, TextMatch

VOID = {"meta", "link", "img", "input"}


class Reader(HTMLParser):
    """Collects tags and attributes, and checks that every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag, css=None):
        return [a for t, a in self.tags if t == tag and (css is None or css in a.get("class", "").split())]


@pytest.fixture
def page(answer, load_pixels, tmp_path):
    text = write_page(answer, tmp_path / "page.html", load_pixels=load_pixels).read_text("utf-8")
    return Reader(text)


def test_the_page_points_at_nothing_outside_itself_and_runs_nothing(page):
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    assert not page.all("script") and "default-src 'none'" in next(
        meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    )
    assert not re.search(r"url\(|@import|https?:", "".join(page.words))


def test_hostile_names_are_shown_as_text(page):
    words = "".join(page.words)
    assert "<img src=x onerror=alert(1)>" in words and "caf\\xe9" in words and "\\u202e" in words
    assert all("onerror" not in attributes for _, attributes in page.tags) and "a <b>" in words


def test_every_photo_has_its_pixels_and_an_alternative_text(page):
    pictures = page.all("img")
    assert len(pictures) == 2 and all(p["src"].startswith("data:image/jpeg;base64,/9j/") for p in pictures)
    assert pictures[0]["alt"] == "Hit 1: red disc.jpg, with masks of red disc"


def test_an_entity_keeps_its_colour_in_legend_masks_and_lists(page):
    first, second = (f"--c:{hex_of(colour_of(n))};--k:{ink_on(colour_of(n))}" for n in (0, 1))
    assert [a["style"] for a in page.all("label")] == [first, second]
    assert [a["style"] for a in page.all("g", "m0")] == [first, first] and [
        a["style"] for a in page.all("g", "m1")
    ] == [second]
    assert len(page.all("input", "toggle")) == 2


def test_what_is_judged_absent_is_drawn_otherwise(page):
    assert ["absent" in a["class"] for a in page.all("g", "m0")] == [False, True]


def test_hits_under_the_cut_off_are_greyed_after_a_dividing_line(page):
    assert len(page.all("li", "card")) == 2 and len(page.all("li", "below")) == 1 and len(page.all("li", "tail")) == 1


def test_hits_that_are_meant_are_counted_and_the_rest_is_near(page):
    assert "1 photo matches; 1 more is near." in page.words


def test_a_doubtful_entity_of_a_hit_that_is_meant_is_unsure_and_has_its_dotted_mask(doubtful, load_pixels, tmp_path):
    page = Reader(write_page(doubtful, tmp_path / "p.html", load_pixels=load_pixels).read_text())
    assert not page.all("li", "below") and not page.all("li", "tail") and "2 photos match." in page.words
    assert ["absent" in a["class"] for a in page.all("g", "m0")] == [False, True]
    said = [words for words in page.words if "\N{NO-BREAK SPACE}%" in words and "·" in words]
    assert [words.split(" ·")[0] for words in said] == ["there", "not there", "unsure", "there"]
    assert page.all("img")[1]["alt"].endswith("with masks of red disc, a <b>")
    assert [a["title"][:26] for a in page.all("span", "how")][2] == "20\N{NO-BREAK SPACE}% likely to be there; g"


def test_under_the_cut_off_a_doubtful_entity_is_not_there(page):
    said = [words for words in page.words if "\N{NO-BREAK SPACE}%" in words and "·" in words]
    assert [words.split(" ·")[0] for words in said] == ["there", "not there", "not there", "there"]


def test_the_bar_has_a_tick_where_the_cut_off_is(page, answer, load_pixels, tmp_path):
    assert [a["style"] for a in page.all("b")] == ["left:50.0%"] * 2
    assert [a["style"] for a in page.all("i")] == ["width:80.0%", "width:10.0%"]
    nothing = replace(answer, cutoff=1.0)  # which no hit can reach
    assert not Reader(write_page(nothing, tmp_path / "p.html", load_pixels=load_pixels).read_text()).all("b")


def test_a_page_without_a_good_hit_says_so_once(answer, load_pixels, tmp_path):
    poor = replace(answer, cutoff=0.9)
    page = Reader(write_page(poor, tmp_path / "p.html", load_pixels=load_pixels).read_text())
    words = "".join(page.words)
    assert words.count("Nothing here matches well; these are the nearest") == 1 and not page.all("li", "tail")
    assert UNDER not in words and len(page.all("li", "below")) == 2


def test_a_photo_named_by_hand_is_never_grey_nor_counted_and_is_unsure_at_worst(answer, load_pixels, tmp_path):
    alone = replace(answer, hits=answer.hits[1:], cutoff=0.9, notes=())
    page = Reader(write_page(alone, tmp_path / "p.html", load_pixels=load_pixels, named=True).read_text())
    words = "".join(page.words)
    assert not page.all("li", "below") and not page.all("li", "tail") and not page.all("span", "bar")
    assert "unsure · 20\N{NO-BREAK SPACE}%" in words and len(page.all("g", "mask")) == 2
    assert "near" not in words and "match" not in words


def test_a_mask_of_the_whole_photo_is_a_frame(answer, load_pixels, tmp_path):
    everything = Region(None, 0.5, (0.0, 0.0, 40.0, 30.0), encode_rle(np.ones((30, 40), bool)))
    hit = replace(answer[0], entities=(replace(answer[0].entities[0], regions=(everything,)),))
    page = Reader(write_page(replace(answer, hits=(hit,)), tmp_path / "p.html", load_pixels=load_pixels).read_text())
    assert [a["class"] for a in page.all("g")] == ["mask m0 whole"]


def test_a_photo_that_cannot_be_read_is_said_so_with_its_masks_kept(answer, tmp_path):
    def refuse(photo):
        raise ImageUnreadable("gone") if photo.id == 7 else FileNotFoundError(2, "gone")

    page = Reader(write_page(answer, tmp_path / "page.html", load_pixels=refuse).read_text())
    assert not page.all("img") and "".join(page.words).count("cannot be read") == 2 and len(page.all("g", "mask")) == 3


def test_no_hits_is_an_answer(load_pixels, tmp_path):
    page = Reader(write_page(Answer("[x]", "ann", ()), tmp_path / "p.html", load_pixels=load_pixels).read_text())
    assert "No photo answers this query." in "".join(page.words)


def test_a_report_holds_several_answers_with_the_pictures_of_their_queries(answer, load_pixels, tmp_path):
    photo, mask = np.zeros((900, 1200, 3), np.uint8), np.zeros((900, 1200), bool)
    mask[300:600, 400:800] = True
    asked = QueryPicture("[image:a.jpg#box=400,300,800,600]", photo, mask, entity=1)
    sections = [Section(answer, "One", "first"), Section(answer, "Two", pictures=(asked,))]
    file = write_report(sections, tmp_path / "r.html", title="Report & more", load_pixels=load_pixels, lead="All of it")
    page = Reader(file.read_text())
    assert len(page.all("section")) == 2 and len(page.all("figure")) == 1 and "Report & more" in page.words
    switches = [a["id"] for a in page.all("input")]
    assert len(set(switches)) == 4 and {a["for"] for a in page.all("label")} == set(switches)
    assert max(int(a["width"]) for a in page.all("img")) == 376


def test_colours_can_be_told_apart_and_carry_readable_ink():
    assert len(set(PALETTE)) == len(PALETTE) and {ink_on(c) for c in PALETTE} <= {"#000", "#fff"}


PASSAGE = Passage(3, 2, "html", "/notes/<a>.html", "A <b> walk", None, 0, "The red disc <i>", ((4, 12),), (7,))


def test_passages_stand_under_the_photos_and_a_photo_says_which_text_spoke_for_it(answer, load_pixels, tmp_path):
    said = replace(answer[0], text=TextMatch(0.2, PASSAGE, ("disc",)))
    hit = TextHit(1, PASSAGE, 0.7, (PhraseHit("red disc", (4, 12), 0.6), PhraseHit("a <b>", None, 0.0)), ())
    both = replace(answer, hits=(said, answer[1]), texts=(hit,))
    text = write_page(both, tmp_path / "page.html", load_pixels=load_pixels).read_text("utf-8")
    page = Reader(text)
    assert len(page.all("div", "said")) == 1 and "text: The red disc <i>" in page.words
    assert len(page.all("ol", "texts")) == 1 and page.words.count("red disc") > 1
    assert "The <mark>red disc</mark> &lt;i&gt;" in text and "A <b> walk" in page.words


def test_a_page_of_passages_alone_does_not_speak_of_photos(answer, load_pixels, tmp_path):
    alone = replace(answer, hits=(), texts=())
    text = write_page(alone, tmp_path / "page.html", load_pixels=load_pixels).read_text("utf-8")
    assert "No passage answers this query." in text
    assert "No photo" not in text and "No photo" not in answer_html(alone)


def test_a_page_is_known_again_by_the_program_that_wrote_it(page, tmp_path):
    assert page.all("meta")[1] == {"name": "generator", "content": "interleave-index"}
    assert is_marked_page((tmp_path / "page.html").read_bytes())
    quoted = b"<html><head></head><body>" + PAGE_MARK.encode()
    assert not is_marked_page(quoted)
