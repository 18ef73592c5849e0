"""Stored bytes that changed: searches go on without what is damaged, say so, and never answer by it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from interleave_index import Config, Index
from interleave_index.errors import EncodingDamaged
from interleave_index.grammar import Query
from interleave_index.interface.toy import ToyInterface
from interleave_index.query.engine import search_many
from interleave_index.storage.generations import live
from interleave_index.storage.store import Store
from interleave_index.storage.tables import EncodingRow, PassageEncodingRow, RegionMaskRow

from ..damage import turn_over

QUERIES = ("red", "[red] beside [blue]", "red -[green]")


def damage(library, name, column="image", at=5):
    turn_over(library.store, EncodingRow, column, at=at, photo_id=library.ids[name], space_id=library.space_id)


def shown(answer):
    """All of an answer that tells a photo."""
    return [
        (hit.photo.id, hit.score, [[(region.box, region.rle) for region in part.regions] for part in hit.entities])
        for hit in answer
    ]


@pytest.mark.parametrize("column", ["image", "regions", "boxes", "scores"])
@pytest.mark.parametrize("folded", [True, False])
def test_a_photo_whose_vectors_are_damaged_is_left_out_with_a_note(library, column, folded):
    without = {query: [one for one in shown(library.ask(query)) if one[0] != library.ids["red"]] for query in QUERIES}
    if folded:
        library.store.optimize(library.space_id)
    damage(library, "red", column)
    for query in QUERIES:
        answer = library.ask(query)
        assert shown(answer) == without[query]
        assert (
            f"1 photo left out, whose stored vectors are damaged (photo {library.ids['red']}); "
            "`interleave-index repair --apply` has them encoded again"
        ) in answer.notes


def test_many_queries_at_once_and_the_ann_path_leave_it_out_as_well(library, load):
    library.store.optimize(library.space_id)
    damage(library, "red")
    queries = [Query.parse(query) for query in QUERIES]
    answers = search_many(library.store, library.factory, queries, load_picture=load)
    for query, answer in zip(QUERIES, answers, strict=True):
        assert shown(answer) == shown(library.ask(query)) == shown(library.ask(query, mode="ann"))
        assert "red" not in library.names(answer) and any("left out" in note for note in answer.notes)


def test_a_query_that_names_the_damaged_photo_is_an_error_in_words(library):
    damage(library, "red")
    photo_id = library.ids["red"]
    with pytest.raises(EncodingDamaged, match=f"photo {photo_id} are not those that were written"):
        library.ask(f"[photo:{photo_id}]")
    assert library.names(library.ask("red", top_k=1)) != ["red"]


def test_a_photo_whose_masks_are_damaged_is_shown_with_boxes_and_a_note(library):
    before = library.ask("[red]", top_k=1)[0]
    turn_over(library.store, RegionMaskRow, "masks", at=-2, photo_id=before.photo.id, space_id=library.space_id)
    answer = library.ask("[red]", top_k=1)
    (region,) = answer[0].entities[0].regions
    assert (answer[0].photo.id, answer[0].score, region.box) == (
        before.photo.id,
        before.score,
        before.entities[0].regions[0].box,
    )
    x0, y0, x1, y1 = region.box
    assert region.rle.decode().sum() == (x1 - x0) * (y1 - y0)
    assert any(f"stored masks of photo {before.photo.id}" in note and "boxes stand in" in note for note in answer.notes)


@pytest.mark.parametrize("kind", ["image", "region"])
def test_a_faiss_file_that_changes_while_it_is_open_answers_nothing_and_is_made_anew(library, kind):
    before = {query: shown(library.ask(query)) for query in QUERIES}
    library.store.optimize(library.space_id)
    assert {query: shown(library.ask(query)) for query in QUERIES} == before
    with library.store.reading() as connection:
        (row,) = [row for row in live(connection, library.space_id) if row.kind == kind]
    path = library.store.folder / "faiss" / row.file
    vectors = library.store.vectors(library.space_id, [library.ids["red"]])
    first = (vectors.image if kind == "image" else vectors.regions)[0].astype("<f2").tobytes()
    data = path.read_bytes()
    with path.open("r+b") as file:  # into the very file that is mapped
        file.seek(data.index(first) + 1)
        file.write(bytes([data[data.index(first) + 1] ^ 0xFF]))
    assert {query: shown(library.ask(query)) for query in QUERIES} == before
    with library.store.reading() as connection:
        assert row.file not in {one.file for one in live(connection, library.space_id)}
    assert all(check.ok for check in library.store.verify())


# --- texts -----------------------------------------------------------------------------------


@pytest.fixture
def noted(drawn_photos, tmp_path, monkeypatch):
    """An index of six drawn photos and three notes, of which no FAISS file is made by itself."""
    monkeypatch.setattr(Store, "due", lambda *_: ())
    folder = tmp_path / "photos"
    shutil.copytree(drawn_photos.folder, folder)
    for name in ("red", "green", "blue"):
        (folder / f"{name}.md").write_text(f"a {name} thing and more\n")
    with Index.open(
        tmp_path / "index", config=Config().with_flags(ingest_workers=0), interface=ToyInterface(), create=True
    ) as index:
        index.ingest(folder)
        yield index


def notes_found(index, query="[green]"):
    return [(Path(hit.passage.path).stem, hit.score) for hit in index.search(query, 9, target="texts").texts]


def passage_of(index, name):
    return next(hit.passage.id for hit in index.search(name, 9, target="texts").texts if name in hit.passage.path)


@pytest.mark.parametrize("column", ["passage", "phrases"])
def test_a_passage_whose_vectors_are_damaged_is_left_out_with_a_note_and_encoded_again(noted, column):
    before, green = notes_found(noted), passage_of(noted, "green")
    turn_over(noted._store, PassageEncodingRow, column, at=2, passage_id=green, space_id=1)
    noted._store._upkeep.close()  # as another process finds it
    answer = noted.search("[green]", 9, target="texts")
    assert [Path(hit.passage.path).stem for hit in answer.texts] == [name for name, _ in before if name != "green"]
    assert any(note.startswith("1 passage left out, whose stored vectors are damaged; ") for note in answer.notes)
    assert noted.repair_plan().texts == (str(Path(noted.folder).parent / "photos" / "green.md"),)
    noted.repair()
    assert notes_found(noted) == before and all(check.ok for check in noted.verify())


def test_a_file_of_passages_that_changes_while_it_is_open_answers_nothing(noted):
    noted.optimize()
    before, green = notes_found(noted), passage_of(noted, "green")
    vector = noted._store.texts.vectors(1, np.array([green]))[green].astype("<f2").tobytes()
    (path,) = (noted.folder / "faiss").glob("text-*")
    with path.open("r+b") as file:
        at = path.read_bytes().index(vector)
        file.seek(at)
        file.write(bytes([vector[0] ^ 0xFF]))
    assert notes_found(noted) == before
    with noted._store.reading() as connection:
        assert path.name not in {row.file for row in live(connection)}
    assert all(check.ok for check in noted.verify())


def test_a_passage_that_shows_a_damaged_photo_waits_until_that_is_encoded_again(noted, drawn_photos):
    folder = Path(noted.folder).parent / "photos"
    shown = noted._store.photo_by_path(folder / Path(drawn_photos.red_disc.path).name)
    turn_over(noted._store, EncodingRow, "image", at=2, photo_id=shown.id, space_id=1)
    (folder / "page.md").write_text(f"what ![]({Path(shown.path).name}) is\n")
    report = noted.ingest(folder)
    (failed,) = report.failed
    assert Path(failed.path).stem == "page" and f"photo {shown.id} are not those that were written" in failed.detail
    assert "page" not in dict(notes_found(noted))
    noted.repair()
    assert "page" in dict(notes_found(noted)) and noted.failed() == []
    assert all(check.ok for check in noted.verify())
