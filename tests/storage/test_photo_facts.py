"""Facts of photos over time: edits, what is forgotten and brought back, what would be pruned, where files lie."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import replace
from datetime import datetime

import pytest

from interleave_index.errors import NotInIndex
from interleave_index.records import Filters, PhotoFacts
from interleave_index.records.texts import PassageText, SourceText
from interleave_index.storage.exclusions import Exclusions
from interleave_index.storage.library import resolve_ids
from interleave_index.storage.rows import Exclusion, LocationWrite, PhotoWrite, WriteBatch
from interleave_index.storage.text_rows import DocumentWrite

from .conftest import sha

pytestmark = pytest.mark.both_databases


def at(name: str, content: str | None = None) -> LocationWrite:
    """The present location of a file, with its own name as content, or another."""
    return LocationWrite(f"/photos/{name}.jpg", sha(content or name), 2, 2)


# --- edits -----------------------------------------------------------------------------------


def test_an_edit_gives_the_photo_its_new_content_facts_and_text_and_its_old_thumbnail_goes(library):
    (photo,) = library.add("dog")
    small = library.store.thumbnail_path(sha("dog"))
    small.parent.mkdir(parents=True)
    small.write_bytes(b"small")
    text = SourceText("embedded", None, None, (PassageText("my dog", (), (), ()),))
    facts = replace(library.facts("dog edited", camera="X100"), text=text)
    assert library.store.edit_photo(photo, facts, at("dog", "dog edited"))
    assert library.store.photo(photo).sha256 == sha("dog edited") and library.store.photo(photo).camera == "X100"
    assert not small.exists() and [passage.text for passage in library.store.texts.of_photo(photo)] == ["my dog"]
    library.check(library.vectors(2), 3)


def test_an_edit_of_one_of_several_files_of_a_photo_is_none(library):
    (photo,) = library.add("dog")
    library.store.write(WriteBatch(library.space, (), [at("copy", "dog")]))
    assert not library.store.edit_photo(photo, library.facts("dog edited"), at("dog", "dog edited"))
    assert library.store.photo(photo).sha256 == sha("dog")


def test_an_edit_that_makes_a_content_which_is_known_or_of_no_photo_is_none(library):
    first, _ = library.add("a", "b")
    assert not library.store.edit_photo(first, library.facts("b"), at("a", "b"))
    assert not library.store.edit_photo(99, library.facts("c"), at("c"))
    assert library.store.photo(first).sha256 == sha("a")


def test_facts_that_were_read_again_are_kept_where_they_changed(library):
    (photo,) = library.add("dog")
    assert not library.store.refresh_facts(photo, library.facts("dog"))
    facts = library.facts("dog", taken_at=datetime(2024, 5, 1, 9), latitude=48.1, longitude=11.5)
    assert library.store.refresh_facts(photo, facts) and not library.store.refresh_facts(photo, facts)
    assert library.store.photo(photo).taken_at == datetime(2024, 5, 1, 9)
    assert not library.store.refresh_facts(99, facts)


def test_a_photo_may_be_kept_without_vectors(library):
    library.store.write(WriteBatch(library.space, [PhotoWrite(library.facts("bare"))], [at("bare")]))
    library.add("dog")
    assert library.store.encoded(library.space).tolist() == [library.id("dog")]
    assert library.store.undated(library.space, Filters(after="2024")) == 1


# --- forgetting ------------------------------------------------------------------------------


def test_nothing_is_forgotten_for_good_when_one_of_the_photos_is_unknown(library):
    (photo,) = library.add("dog")
    with pytest.raises(NotInIndex, match="photo 77 is not in the catalog; nothing was forgotten"):
        library.store.forget_for_good([], [photo, 77])
    assert library.store.exclusions() == [] and library.store.photo(photo).id == photo


def test_a_content_that_was_forgotten_takes_its_pixels_along_and_comes_back_with_them(library):
    (photo,) = library.add("dog", pixels="9" * 64)
    library.store.forget_for_good([], [photo])
    (kept,) = library.store.exclusions()
    assert (kept.kind, kept.name, kept.shown) == ("content", sha("dog"), "/photos/dog.jpg")
    assert library.store.forgotten_pixels() == {"9" * 64}
    assert library.store.unforget(["/photos"]) == [kept]
    assert library.store.exclusions() == [] and library.store.forgotten_pixels() == set()


def test_what_was_not_forgotten_cannot_be_undone_and_the_folder_that_was_is_named(library):
    library.add("dog")
    library.store.forget_for_good(["/photos"], [])
    with pytest.raises(NotInIndex, match=r"/photos/dog\.jpg was forgotten with its folder /photos; undo that"):
        library.store.unforget(["/photos/dog.jpg"])
    with pytest.raises(NotInIndex, match=r"nothing was forgotten at /elsewhere; `interleave-index forget --list`"):
        library.store.unforget(["/elsewhere"])
    assert len(library.store.exclusions()) == 1


def test_a_folder_that_was_forgotten_covers_all_below_it_and_nothing_beside_it():
    rules = Exclusions.of([Exclusion("folder", "/a/b", "/a/b"), Exclusion("content", "c" * 64, "/x/y.jpg")])
    assert rules.cover("/a/b/c/d.jpg") and rules.cover_folder("/a/b")
    assert not rules.cover("/a/bc/d.jpg") and not rules.cover_folder("/a") and rules.places == {"/x/y.jpg"}
    assert not Exclusions.of([]).cover("/a/b/c/d.jpg")


def test_a_sidecar_goes_with_its_photo_but_not_while_it_belongs_to_another(library):
    first, second = library.add("a", "b")

    def sidecar(path: str, *about: str) -> DocumentWrite:
        passages = (PassageText(f"of {path}", (), about, ()),)
        return DocumentWrite(path, "txt", sha(path), 1, 1, SourceText("txt", None, None, passages))

    both = ("/photos/a.jpg", "/photos/b.jpg")
    library.store.texts.write([sidecar("/photos/a.txt", *both[:1]), sidecar("/photos/both.txt", *both)])
    gone = library.store.forget_for_good([], [first])
    assert gone.locations == 2 and list(library.store.texts.known(["/photos"])) == ["/photos/both.txt"]
    library.store.forget_for_good([], [second])
    assert library.store.texts.known(["/photos"]) == {}


# --- where files lie -------------------------------------------------------------------------


def test_what_prune_would_take_out_is_counted_with_the_folders_of_which_nothing_is_left(library):
    library.add("a", "b")
    library.store.write(
        WriteBatch(
            library.space,
            [PhotoWrite(library.facts("far"), library.encoding(1))],
            [LocationWrite("/nowhere/at/all/far.jpg", sha("far"), 1, 1)],
        )
    )
    library.store.mark_missing(["/photos", "/nowhere"], {"/photos/a.jpg"})
    found = library.store.prunable()
    assert (found.photos, found.locations, found.texts, found.waiting) == (2, 2, 0, 0)
    assert found.gone_folders == (("/nowhere", 1),)
    later = library.store.prunable(datetime(2000, 1, 1))
    assert (later.photos, later.locations, later.waiting) == (0, 0, 2)


def test_every_file_of_a_photo_is_listed_the_original_first_and_missing_ones_last(library):
    (photo,) = library.add("dog")
    library.store.write(
        WriteBatch(library.space, (), [at("copy of dog", "dog"), replace(at("gone", "dog"), state="missing")])
    )
    places = [(os.path.basename(place.path), place.present) for place in library.store.locations(photo)]
    assert places == [("dog.jpg", True), ("copy of dog.jpg", True), ("gone.jpg", False)]


def test_cameras_are_named_by_the_number_of_their_photos(library):
    library.add("a", "b", camera="X100")
    library.add("c", camera="K-1")
    library.add("d")
    assert library.store.cameras() == ["X100", "K-1"]


def test_photos_without_a_date_are_counted_where_all_other_filters_let_them_pass(library, day):
    library.add("a", camera="X100", taken_at=day)
    assert library.store.undated(library.space, Filters(after="2020")) == 0
    library.add("b", camera="X100")
    library.add("c", camera="K-1")
    assert library.store.undated(library.space, Filters(after="2020")) == 2
    assert library.store.undated(library.space, Filters(after="2020", camera="x100")) == 1


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_a_path_is_found_by_both_spellings_of_its_accents(library, stored):
    folder = unicodedata.normalize(stored, "/fotos/Übersee")
    place = f"{folder}/{unicodedata.normalize(stored, 'café.jpg')}"
    other = unicodedata.normalize("NFD" if stored == "NFC" else "NFC", place)
    batch = [PhotoWrite(PhotoFacts(sha("café"), 4, 3, "JPEG"), library.encoding(1))]
    library.store.write(WriteBatch(library.space, batch, [LocationWrite(place, sha("café"), 1, 1)]))
    library.add("dog")
    photo = library.id("café")
    for name in (place, other):
        found = library.store.photo_by_path(name)
        assert found is not None and found.id == photo
        assert library.store.below(os.path.dirname(name)) == [photo] and resolve_ids(library.store, name) == [photo]
    assert resolve_ids(library.store, os.path.dirname(other)) == [photo]
    assert resolve_ids(library.store, photo) == [photo]
    with pytest.raises(NotInIndex, match="/fotos/Übersee/x is not in the index, expected the path of a photo"):
        resolve_ids(library.store, "/fotos/Übersee/x")
