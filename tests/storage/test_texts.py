"""Text sources in the catalog: passages, the photos that they show, their vectors, and words of file names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, event

from interleave_index.errors import InputError, NotInIndex
from interleave_index.geometry import unit
from interleave_index.records import PhotoFacts, Space
from interleave_index.records.texts import PICTURE_MARK, PassageText, SourceText
from interleave_index.storage import database, schema, text_reads
from interleave_index.storage.rows import LocationWrite, PhotoWrite, WriteBatch
from interleave_index.storage.store import Store
from interleave_index.storage.tables import Base
from interleave_index.storage.text_rows import DocumentWrite, PassageVectors

from .conftest import DIM, sha


def page(path: str, *texts: str, pictures: tuple[str, ...] = (), about: tuple[str, ...] = ()) -> DocumentWrite:
    """A page with these passages; the first one shows the pictures."""
    passages = tuple(
        PassageText(text, pictures if n == 0 else (), about if n == 0 else (), ((0, 3),))
        for n, text in enumerate(texts)
    )
    return DocumentWrite(path, "markdown", sha(" ".join(texts)), 1, 1, SourceText("markdown", "A page", "en", passages))


def waiting_passages(library: Any) -> list[Any]:
    """Passages that wait for their vectors."""
    return list(library.store.texts.pending(library.store.texts.waiting(library.space).tolist()))


def encode(library: Any, seed: int = 0) -> list[int]:
    """Give every passage that waits made-up vectors, and return their ids."""
    rng = np.random.default_rng(seed)
    waiting = waiting_passages(library)
    made = [
        PassageVectors(p.id, unit(rng.normal(size=DIM)), unit(rng.normal(size=(len(p.phrases), DIM))), p.pictures)
        for p in waiting
    ]
    library.store.texts.write_vectors(library.space, DIM, made)
    return [passage.id for passage in waiting]


def ids_found(library: Any, k: int = 10) -> set[int]:
    """Passages that the index of texts can find."""
    queries = np.ones((1, DIM), np.float32)
    return set(library.store.indexes(library.space).text.search(queries, k)[1].ravel().tolist()) - {-1}


def sound(library: Any) -> bool:
    """Whether every check of `verify` holds."""
    return not library.names_of_checks_that_fail()


def test_a_page_is_kept_with_its_pictures_tied_to_the_photos_at_their_paths(library: Any) -> None:
    (dog,) = library.add("dog")
    text = f"the dog {PICTURE_MARK} swims"
    library.store.texts.write([page("/notes/a.md", text, "more", pictures=("/photos/dog.jpg",))])
    (first, second) = waiting_passages(library)
    assert (first.text, first.photo_ids, first.phrases, second.photo_ids) == (text, (dog,), ((0, 3),), ())
    assert encode(library) == [first.id, second.id] and waiting_passages(library) == []
    stored = library.store.texts.passages([first.id])[first.id]
    assert (stored.path, stored.title, stored.photos, stored.inline) == ("/notes/a.md", "A page", (dog,), (dog,))
    links = library.store.texts.links()
    assert links.passage_ids.tolist() == [first.id, second.id]
    assert (links.of_passage.tolist(), links.photo_ids.tolist()) == ([first.id], [dog])
    assert [passage.id for passage in library.store.texts.of_photo(dog)] == [first.id]
    assert library.store.status()["texts"]["passages"] == 2 and sound(library)


def test_a_picture_that_is_indexed_later_is_tied_then_and_its_passage_encoded_again(library: Any) -> None:
    library.store.texts.write([page("/notes/a.md", f"see {PICTURE_MARK}", pictures=("/photos/dog.jpg",))])
    assert library.store.texts.relink() == 0
    (passage,) = encode(library)
    (dog,) = library.add("dog")
    assert library.store.texts.relink() == 1 and len(waiting_passages(library)) == 1
    assert encode(library) == [passage] and library.store.texts.of_photo(dog)[0].inline == (dog,)
    assert sound(library)


def test_an_edit_encodes_only_what_is_new_and_a_move_nothing(library: Any) -> None:
    texts = library.store.texts
    texts.write([page("/notes/a.md", "one", "two")])
    one, two = encode(library)
    texts.write([page("/notes/a.md", "three", "one")])
    (three,) = encode(library)
    assert ids_found(library) == {one, three} and two not in texts.passages([one, two, three])
    texts.mark_missing([Path("/notes")], set())
    moved = page("/other/b.md", "three", "one")
    assert texts.missing_contents() == {moved.sha256: "/notes/a.md"}
    texts.write([DocumentWrite(moved.path, moved.kind, moved.sha256, 1, 1, moved.source, moved_from="/notes/a.md")])
    assert waiting_passages(library) == [] and list(texts.known([Path("/")])) == ["/other/b.md"]
    assert [texts.passages([n])[n].ordinal for n in (three, one)] == [0, 1] and sound(library)


def test_a_missing_source_takes_no_part_and_comes_back_without_a_model(library: Any) -> None:
    texts = library.store.texts
    texts.write([page("/notes/a.md", "one")])
    encode(library)
    assert texts.mark_missing([Path("/notes")], {"/notes/a.md"}) == 0
    assert texts.mark_missing([Path("/notes")], set(), unlisted=[Path("/notes")]) == 0
    assert texts.mark_missing([Path("/notes")], set()) == 1 and len(texts.links().passage_ids) == 0
    texts.write([page("/notes/a.md", "one")])
    assert len(texts.links().passage_ids) == 1 and waiting_passages(library) == []
    texts.mark_missing([Path("/notes")], set())
    library.store.prune()
    assert library.store.status()["texts"]["documents"] == 0 and ids_found(library) == set() and sound(library)


def test_many_new_sources_take_few_statements_each(library: Any) -> None:
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    pages = [page(f"/notes/{n}.md", f"text {n}", about=(f"/photos/{n}.jpg",)) for n in range(60)]
    event.listen(Engine, "before_cursor_execute", note)
    try:
        library.store.texts.write(pages)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len(statements) < 3 * len(pages) and len(waiting_passages(library)) == 60 and sound(library)


def test_of_two_writes_at_one_path_the_last_counts_though_a_source_moved_there(library: Any) -> None:
    texts = library.store.texts
    texts.write([page("/notes/a.md", "one", "two"), page("/notes/b.md", "three")])
    one, two, three = encode(library)
    moved = replace(page("/notes/c.md", "two", "one"), moved_from="/notes/a.md")
    texts.write([page("/notes/b.md", "four"), moved, page("/notes/b.md", "three", "five")])
    assert list(texts.known([Path("/")])) == ["/notes/b.md", "/notes/c.md"]
    assert [passage.id for passage in texts.at("/notes/c.md")] == [two, one]
    assert [passage.text for passage in texts.at("/notes/b.md")] == ["three", "five"]
    assert texts.at("/notes/b.md")[0].id == three and sound(library)


def test_the_passages_of_one_source_are_given_in_their_order_while_it_is_there(library: Any) -> None:
    texts = library.store.texts
    texts.write([page("/notes/a.md", "one", "two"), page("/notes/b.md", "three")])
    texts.write([page("/notes/a.md", "zero", "two", "one")])
    assert [passage.text for passage in texts.at("/notes/a.md")] == ["zero", "two", "one"]
    assert texts.at("/notes") == texts.at("/notes/c.md") == []
    texts.mark_missing([Path("/notes")], {"/notes/b.md"})
    assert texts.at("/notes/a.md") == [] and len(texts.at("/notes/b.md")) == 1


def test_a_source_that_cannot_be_read_is_a_failure_with_its_reason(library: Any) -> None:
    broken = DocumentWrite("/notes/a.md", "markdown", None, 1, 1, None, "TextUnreadable", "it is no text")
    library.store.texts.write([broken])
    (failed,) = library.store.failed()
    assert (failed.path, failed.reason, failed.detail) == ("/notes/a.md", "TextUnreadable", "it is no text")
    library.store.texts.mark_missing([Path("/notes")], set())
    assert library.store.failed() == []


def test_what_is_written_inside_a_photo_goes_with_it(library: Any) -> None:
    inside = SourceText("embedded", None, None, (PassageText("Grandma Ilse"),))
    facts = PhotoFacts(sha("ilse"), 4, 3, "JPEG", text=inside)
    batch = WriteBatch(
        library.space, [PhotoWrite(facts, library.encoding(1))], [LocationWrite("/photos/x.jpg", sha("ilse"), 1, 1)]
    )
    library.store.write(batch)
    photo = library.id("ilse")
    (passage,) = library.store.texts.of_photo(photo)
    assert (passage.text, passage.path, passage.kind) == ("Grandma Ilse", "/photos/x.jpg", "embedded")
    assert library.store.texts.read_photos() == {photo}
    library.store.texts.write_embedded({photo: SourceText("embedded")})
    assert library.store.texts.of_photo(photo) == [] and library.store.texts.read_photos() == {photo}
    library.store.texts.write_embedded({photo: inside})
    encode(library)
    library.store.forget([photo])
    assert library.store.status()["texts"]["documents"] == 0 and library.store.texts.read_photos() == frozenset()
    assert sound(library)


def test_a_photo_that_is_forgotten_leaves_the_passages_that_showed_it(library: Any) -> None:
    (dog,) = library.add("dog")
    library.store.texts.write([page("/notes/a.md", f"see {PICTURE_MARK}", pictures=("/photos/dog.jpg",))])
    (passage,) = encode(library)
    library.store.forget([dog])
    assert library.store.texts.passages([passage])[passage].photos == () and encode(library) == [passage]
    assert sound(library)


def test_forgetting_a_source_or_the_folder_around_it_takes_its_passages_out(library: Any) -> None:
    library.store.texts.write([page("/notes/a.md", "one"), page("/notes/deep/b.md", "two")])
    encode(library)
    assert library.store.forget_for_good(["/notes/a.md"], []).locations == 1
    assert library.store.forget_for_good(["/notes/deep"], []).locations == 1
    assert [(row.kind, row.name) for row in library.store.exclusions()] == [
        ("file", "/notes/a.md"),
        ("folder", "/notes/deep"),
    ]
    assert library.store.status()["texts"]["passages"] == 0 and sound(library)
    with pytest.raises(NotInIndex):
        library.store.forget_for_good(["/notes/a.md"], [])


def test_the_index_of_texts_is_folded_into_a_file_and_holds_what_came_and_went_since(library: Any) -> None:
    texts = library.store.texts
    library.add("dog")
    texts.write([page(f"/notes/{n}.md", f"text {n}") for n in range(30)])
    ids = encode(library)
    assert library.store.due(library.space) == ("image", "region", "text")
    assert {made.kind for made in library.store.optimize(library.space)} == {"image", "region", "text"}
    assert library.store.due(library.space) == () and ids_found(library, 40) == set(ids)
    texts.write([page("/notes/0.md", "another text"), page("/notes/new.md", "a new one")])
    new = encode(library, seed=1)
    assert ids_found(library, 40) == {*ids[1:], *new} and sound(library)
    assert library.store.due(library.space) == ("text",)
    library.store.optimize(library.space, kinds=["text"])
    assert ids_found(library, 40) == {*ids[1:], *new} and sound(library)
    library.reopen()
    assert ids_found(library, 40) == {*ids[1:], *new}


def test_vectors_of_texts_are_read_once_and_not_again_after_every_commit(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, read = library.store.texts, text_reads.halves
    rows: list[int] = []

    def counted(*arguments: Any) -> Any:
        rows.append(len(arguments[-1]))
        return read(*arguments)

    monkeypatch.setattr(text_reads, "halves", counted)
    library.add("dog")
    everyone: dict[int, list[int]] = {}
    for n in range(4):
        texts.write([page(f"/notes/{n}.md", *(f"text {n} {m}" for m in range(5)))])
        everyone[n] = encode(library, seed=n)
        assert ids_found(library, 40) == {passage for ids in everyone.values() for passage in ids}
    assert rows == [5, 5, 5, 5]
    texts.write([page("/notes/1.md", "another text")])
    everyone[1] = encode(library, seed=9)
    assert ids_found(library, 40) == {passage for ids in everyone.values() for passage in ids} and sum(rows) == 21
    delta = library.store.indexes(library.space).text.delta
    with library.store.reading() as connection:
        stored = read(connection, library.space, DIM, delta.ids)
    assert np.array_equal(stored.passage_ids, delta.ids) and np.array_equal(stored.vectors, delta.codes.view("<f2"))
    library.store.optimize(library.space)
    assert ids_found(library, 40) == {passage for ids in everyone.values() for passage in ids} and sound(library)


def test_an_index_without_texts_gets_no_file_for_them(library: Any) -> None:
    library.add("dog")
    assert {made.kind for made in library.store.optimize(library.space)} == {"image", "region"}


def test_vectors_that_do_not_fit_are_refused(library: Any) -> None:
    library.store.texts.write([page("/notes/a.md", "one")])
    (waiting,) = waiting_passages(library)
    for wrong in (np.ones(3, np.float32), np.full(DIM, np.nan, np.float32)):
        with pytest.raises(InputError, match="vectors"):
            made = PassageVectors(waiting.id, wrong, np.empty((0, DIM), np.float32), "")
            library.store.texts.write_vectors(library.space, DIM, [made])


def test_words_are_found_without_case_accents_and_endings(library: Any) -> None:
    library.store.texts.write([page("/n/a.md", "Climbing the mountains"), page("/n/b.md", "Café Müller, IMG_2043")])
    first, second = library.store.texts.links().passage_ids.tolist()
    find = library.store.texts.holding
    assert find("passage", "mountain", 9).tolist() == [first] and find("passage", "CAFE", 9).tolist() == [second]
    assert find("passage", "img_2043", 9).tolist() == [second] and find("passage", "the mountains", 9).tolist() == [
        first
    ]
    assert find("passage", "mountains the", 9).tolist() == [] and find("passage", '"*', 9).tolist() == []
    assert find("passage", "a page", 1) is None  # their title: more than the limit


def test_photos_are_found_by_the_names_that_they_have_now(library: Any) -> None:
    dog, cat = library.add("dog", "cat")
    find = library.store.texts.holding
    assert find("photo", "dog", 9).tolist() == [dog] and find("photo", "photos", 9).tolist() == [dog, cat]
    moved = LocationWrite("/trip/lake.jpg", sha("dog"), 1, 1, moved_from="/photos/dog.jpg")
    library.store.write(WriteBatch(library.space, [], [moved]))
    assert find("photo", "dog", 9).tolist() == [] and find("photo", "trip lake", 9).tolist() == [dog]
    library.store.forget([cat])
    assert find("photo", "cat", 9).tolist() == [] and sound(library)


def test_another_space_has_vectors_of_its_own(library: Any) -> None:
    library.store.texts.write([page("/notes/a.md", "one")])
    encode(library)
    other = library.store.ensure_space(Space("other", "1" * 64, "none", DIM))
    assert len(library.store.texts.waiting(other)) == 1 and waiting_passages(library) == []


def without_texts(folder: Path) -> None:
    """Make a catalog one of the version before texts."""
    engine = database.connect(folder)
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    config.attributes["metadata"] = Base.metadata
    with engine.connect().execution_options(interleave_write=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.downgrade(config, "0003")
    engine.dispose()


@pytest.mark.sqlite
def test_the_names_of_photos_are_taken_in_when_an_earlier_catalog_is_opened(library: Any) -> None:
    (dog,) = library.add("dog")
    library.store.close()
    without_texts(library.folder)
    library.store = Store.open(library.folder)
    assert library.store.texts.holding("photo", "dog", 9).tolist() == [dog] and sound(library)


@pytest.mark.sqlite
def test_an_earlier_catalog_that_may_only_be_read_has_no_texts(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    library.add("dog")
    library.store.close()
    without_texts(library.folder)
    with monkeypatch.context() as patched:
        patched.setattr(database, "may_not_be_written", lambda folder: True)
        with Store.open(library.folder) as store:
            found = store.texts.holding("photo", "dog", 9)
            assert found is not None and found.tolist() == [] and store.texts.every() == []
            assert store.texts.at("/notes/a.md") == []
            assert store.status()["texts"]["passages"] == 0 and store.texts.links().passage_ids.size == 0
            assert store.indexes(library.space).text.rows == 0 and all(check.ok for check in store.verify())
            assert store.repair_plan().failed == ()
    library.store = Store.open(library.folder)
