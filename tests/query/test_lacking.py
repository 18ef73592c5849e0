"""What a search does where something is lacking: vectors, masks, pixels, regions, cameras, or the right model."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from interleave_index.errors import InputError, NotInIndex, ShapeError, SpaceMismatch
from interleave_index.geometry import mask_iou
from interleave_index.grammar import Query
from interleave_index.interface.calibration import Calibration
from interleave_index.interface.protocol import Capabilities
from interleave_index.interface.toy import COLOURS, ToyInterface
from interleave_index.query.engine import ground, search
from interleave_index.query.feedback import with_feedback
from interleave_index.query.filter_notes import filter_notes
from interleave_index.query.hints import query_hints
from interleave_index.query.lazy_interface import LazyInterface
from interleave_index.query.recall import recall_checks
from interleave_index.query.resolve import resolve, stored_encoding
from interleave_index.query.score import ScoringQuery, Terms
from interleave_index.records import Filters, PhotoFacts, RegionRef, ResolvedPart
from interleave_index.storage.store import Store

from .conftest import open_picture, scene

# --- a model that only grounds ---------------------------------------------------------------


class Grounder(ToyInterface):
    """The toy without vectors of its own: it looks, and judges that what fills nothing is not there."""

    capabilities = Capabilities(encodes=False)

    def __init__(self, judges: bool) -> None:
        self.judges = judges
        self.asked: list[str] = []

    def ground(self, photo, query):
        self.asked = [part.label for part in query if part.role == "entity"]
        found = super().ground(photo, query)
        return [replace(one, present=one.score > 0.5) if self.judges else one for one in found]


def test_a_model_without_vectors_answers_by_its_masks_and_the_share_of_what_is_there(draw, load):
    rgb = draw(red=(20, 30, 14), blue=(60, 30, 14))
    hit = ground(Grounder(judges=True), rgb, Query.parse("[red] and [orange] -[blue]"), load_picture=load)
    red, orange = hit.entities
    assert (hit.rank, hit.score, hit.relevance) == (1, 0.5, 0.5)
    assert (red.grounding.present, orange.grounding.present) == (True, False)
    assert mask_iou(red.regions[0].rle.decode(), (rgb == COLOURS["red"]).all(2)) == 1


def test_a_model_that_judges_nothing_is_believed_and_plain_text_is_one_entity(draw, load):
    model = Grounder(judges=False)
    hit = ground(model, draw(red=(20, 30, 14)), Query.parse("something red"), load_picture=load)
    assert (model.asked, hit.score, hit.entities[0].grounding.probability) == (["something red"], 1, 0.5)
    assert hit.entities[0].grounding.present


# --- references ------------------------------------------------------------------------------


@pytest.fixture
def maskless(empty):
    """One photo of a red and a blue disc, encoded elsewhere: without masks and without its file."""
    rgb = scene(red=(20, 30, 14), blue=(60, 30, 14))
    (found,) = empty.interface.encode_photos([rgb])
    (empty.ids["both"],) = empty.store.write_encodings(
        empty.space_id,
        [PhotoFacts("5" * 64, 80, 60, "PNG")],
        found.image[None],
        [found.regions],
        [found.boxes],
        [found.areas],
        [found.scores],
        paths=[str(empty.file("both"))],
    )
    empty.boxes = found.boxes
    return empty


def test_a_region_without_a_mask_is_its_box(maskless, load):
    from PIL import Image

    Image.fromarray(scene(red=(20, 30, 14), blue=(60, 30, 14)).repeat(2, 0).repeat(2, 1)).save(maskless.file("both"))
    photo = maskless.ids["both"]
    for ordinal, (x0, y0, x1, y1) in enumerate(maskless.boxes.round().astype(int)):
        query = Query(RegionRef(photo, ordinal), "outside")
        # the content of the file is another one than the catalog's, so that the thumbnail stands in for it
        thumbnail = maskless.store.thumbnail_path("5" * 64)
        thumbnail.parent.mkdir(parents=True, exist_ok=True)
        Image.open(maskless.file("both")).save(thumbnail, quality=95)
        part = resolve(query, maskless.store, maskless.space_id, load, pixels=True).parts[0]
        wanted = np.zeros((120, 160), bool)
        wanted[2 * y0 : 2 * y1, 2 * x0 : 2 * x1] = True
        assert part.mask is not None and np.array_equal(part.mask, wanted)


def test_a_photo_that_this_space_has_no_vectors_of_cannot_be_named(library, load):
    other = library.store.ensure_space(replace(ToyInterface.space, preprocessing="another"))
    with pytest.raises(NotInIndex, match="has no vectors in space 2; ingest it again"):
        resolve(Query.parse(f"[photo:{library.ids['red']}]"), library.store, other, load)


def test_parts_without_a_stored_vector_are_no_query_of_stored_parts():
    part = ResolvedPart("entity", "text", "red")
    with pytest.raises(ShapeError, match="1 parts of the query have no stored vector"):
        stored_encoding((part,))


# --- the model of another space --------------------------------------------------------------


def test_a_space_that_is_prepared_otherwise_asks_for_the_settings_of_before():
    class Sharper(ToyInterface):
        space = replace(ToyInterface.space, preprocessing="sharper")

    with pytest.raises(SpaceMismatch, match=r"space nearest of eight colours, the interface is sharper; .* set models"):
        LazyInterface(Sharper, ToyInterface.space).get()
    with pytest.raises(SpaceMismatch, match="which it holds too: activate space 7"):
        LazyInterface(Sharper, ToyInterface.space, lambda: {Sharper.space: 7}).get()


# --- small libraries and banks ---------------------------------------------------------------


def test_a_library_without_regions_is_measured_by_its_photos_alone(empty):
    vectors = np.eye(16, dtype=np.float32)
    none = [np.zeros((0, 16), np.float32)] * 16
    empty.store.write_encodings(
        empty.space_id,
        [PhotoFacts(f"{number:064}", 8, 8, "PNG") for number in range(16)],
        vectors,
        none,
        [np.zeros((0, 4), np.float32)] * 16,
        [np.zeros(0, np.float32)] * 16,
        [np.zeros(0, np.float32)] * 16,
    )
    (check,) = recall_checks(empty.store, 0.99, 5)
    assert check.name == "recall of a photo" and check.ok


def test_without_a_bank_of_pictures_what_was_liked_moves_the_query_by_the_usual_spread(library):
    empty = np.zeros((0, 16), np.float32)
    bare = Calibration(empty, empty, empty, empty)
    none = Terms(empty, empty, empty[:, 0], np.zeros(0, bool))
    query = ScoringQuery(np.zeros(16, np.float32), none, none, nat=1.0)
    red = library.ids["red"]
    moved = with_feedback(query, bare, library.store, library.space_id, [red], [])
    image = library.store.vectors(library.space_id, [red]).image[0]
    assert np.allclose(moved.legend / np.linalg.norm(moved.legend), image / np.linalg.norm(image), atol=1e-3)
    assert moved.offset == 0


def test_notes_on_filters_tell_one_photo_and_no_camera_at_all(empty, draw):
    empty.add("red", draw(red=(40, 30, 20)))
    day = Filters(after=date(2020, 1, 1))
    assert filter_notes(empty.store, empty.space_id, day) == [
        "1 photo has no date and is left out by the filter on the date"
    ]
    (note,) = filter_notes(empty.store, empty.space_id, Filters(camera="Canon"))
    assert note == "no camera is named 'Canon'; no photo tells its camera"
    (note,) = filter_notes(empty.store, empty.space_id, Filters(folder=(Path("/nothing/like/it"),)))
    assert note.startswith("no indexed photo lies in '/nothing/like/it'; there are: ")


# --- hints -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("[file:dog.jpg]", "[file:dog.jpg] is read as a phrase; a picture is written [image:dog.jpg]"),
        ("[foto:12]", "[foto:12] is read as a phrase; a photo is written [photo:12]"),
        ("[regoin:1/2]", "[regoin:1/2] is read as a phrase; a region is written [region:1/2]"),
        ("[dog.jpeg]", "[dog.jpeg] is read as a phrase; a picture is written [image:dog.jpeg]"),
        ('a cat -"a dog"', '-"a dog" leaves nothing out; what should not be there is written -[a dog]'),
        ("[a cat] 2", "'2' behind [a cat] is read as a word; a weight is written [a cat]^2"),
        ("a cat - [a dog]", "the dash before [a dog] leaves nothing out; that is written -[a dog]"),
        ("-[dog.png]", "[dog.png] is read as a phrase; a picture is written [image:dog.png]"),
    ],
)
def test_what_was_probably_meant_otherwise_is_told(written, hint):
    assert query_hints(Query.parse(written)) == [hint]


@pytest.mark.parametrize("written", ["[size: small]", "a cat", "[a cat]^2", "-[a dog] a cat", "well-known [cat]"])
def test_what_is_written_as_it_is_meant_has_no_hint(written):
    assert query_hints(Query.parse(written)) == []


def test_brackets_in_plain_text_are_told():
    (hint,) = query_hints(Query("a [dog] runs"))
    assert hint == "[dog] is read as plain text, brackets and all; parts are read by Query.parse"


# --- arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "films"}, "target is 'films', expected one of photos"),
        ({"text_kinds": ("poem",)}, "kind of text is 'poem', expected one of"),
        ({"skip": -1}, "skip -1, expected"),
    ],
)
def test_arguments_that_mean_nothing_are_named(library, options, words):
    with pytest.raises(InputError, match=words):
        library.ask("red", **options)


def test_over_nothing_indexed_passages_are_asked_for_as_well(tmp_path):
    with Store.open(tmp_path / "nothing", create=True) as store:
        answer = search(store, ToyInterface, Query("red"), load_picture=open_picture, target="both")
    assert (answer.hits, answer.texts, answer.notes) == ((), (), ("nothing is indexed yet",))
