"""FAISS files that one machine publishes and others take: two index folders with one catalog in PostgreSQL."""

from __future__ import annotations

import threading

import pytest

from interleave_index.config import Config
from interleave_index.errors import ConfigError, IndexDamaged, RemoteError, StorageError
from interleave_index.interface.toy import ToyInterface
from interleave_index.service import Index
from interleave_index.storage import published

TOY = Config().with_flags(models_interface="toy", ingest_workers=0)
QUERIES = ("[photo:1]", "[photo:4] a [red] thing", "a [blue] square")


@pytest.fixture
def machines(postgres, tmp_path, drawn_photos):
    """Two machines with folders of their own; the first has taken photos in and has FAISS files."""
    database = postgres.new_database()
    opened: list[Index] = []

    def machine(name):
        index = Index.open(
            postgres.url(database, tmp_path / name), config=TOY, interface=ToyInterface(), create=not opened
        )
        opened.append(index)
        return index

    first = machine("first")
    first.ingest(drawn_photos.folder)
    first.optimize()
    yield first, machine("second")
    for index in opened:
        index.close()


def files(index):
    return sorted(path.name for path in (index.folder / "faiss").glob("*.faiss"))


def rows_in_files(index):
    """Of both kinds, how many rows are searched in files and how many beside them."""
    indexes = index._store.indexes(index._store.active_space()[0])
    return [(sum(len(tier.segment) for tier in one.tiers), len(one.delta)) for one in (indexes.image, indexes.region)]


def answers(index):
    return [
        [(hit.photo.id, hit.score) for hit in index.search(query, mode=mode)]
        for query in QUERIES
        for mode in ("exact", "ann")
    ]


def failing(index):
    return [f"{check.name}: {check.detail}" for check in index.verify() if not check.ok]


@pytest.fixture
def place(request, tmp_path):
    """Where files are published: a folder that both machines see, or in tests marked so one in a store."""
    if getattr(request, "param", "folder") == "folder":
        return str(tmp_path / "shared" / "faiss")
    return f"{request.getfixturevalue('bucket').url}/faiss"


@pytest.mark.parametrize("place", ["folder", "s3"], indirect=True)
def test_files_are_taken_by_another_machine_which_answers_as_the_first(machines, place):
    first, second = machines
    assert [held for held, _ in rows_in_files(second)] == [0, 0]
    copied = first.optimize(publish=place)
    assert copied == [f"{len(files(first))} FAISS files copied to {place}"]
    assert second.optimize(fetch=place) == [f"{len(files(first))} FAISS files taken from {place}"]
    assert rows_in_files(second) == rows_in_files(first) and all(late == 0 for _, late in rows_in_files(second))
    assert answers(second) == answers(first) and failing(second) == []
    own = {path.read_bytes() for path in (first.folder / "faiss").glob("*.faiss")}
    assert {path.read_bytes() for path in (second.folder / "faiss").glob("*.faiss")} == own
    assert not set(files(first)) & set(files(second))  # each machine owns its files


@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_what_is_there_is_neither_copied_nor_taken_again(machines, place):
    first, second = machines
    first.optimize(publish=place)
    second.optimize(fetch=place)
    before = files(second)
    assert first._store.publish(place) == 0
    assert second.optimize(fetch=place) == [f"0 FAISS files taken from {place}"] and files(second) == before


def test_what_was_removed_after_files_were_published_is_not_found_by_whoever_takes_them(machines, place):
    first, second = machines
    first.optimize(publish=place)
    first.forget([2])
    second.optimize(fetch=place)
    assert 2 not in {photo_id for hits in answers(second) for photo_id, _ in hits}
    assert answers(second) == answers(first) and failing(second) == []


def test_a_later_state_takes_the_place_of_an_earlier_one(machines, place, tmp_path, draw):
    first, second = machines
    first.optimize(publish=place)
    second.optimize(fetch=place)
    for number in range(12):
        rgb = draw.paint({"red": draw.disc(10 + number * 8, 40, 6), "blue": draw.rectangle(number, 60, 60, 90)})
        draw.save(rgb, tmp_path / "more" / f"{number}.png")
    first.ingest(tmp_path / "more")
    first.optimize(publish=place)
    assert rows_in_files(second)[0] == (6, 12)
    second.optimize(fetch=place)
    assert rows_in_files(second)[0] == (18, 0)
    assert answers(second) == answers(first) and failing(second) == [] and failing(first) == []


@pytest.mark.parametrize("damage", ["torn", "changed"])
def test_a_file_that_was_put_there_by_halves_is_never_opened(machines, bucket, damage):
    first, second = machines
    url = f"{bucket.url}/torn"
    first.optimize(publish=url)
    name = next(name for name in bucket.names() if name.startswith("torn/"))
    data = bucket.get(name)
    bucket.put(name, data[: len(data) // 2] if damage == "torn" else b"\xff" + data[1:])
    said = second.optimize(fetch=url)
    assert said == [
        f"0 FAISS files taken from {url}",
        f"{bucket.url}/{name} is not what the catalog says, and was not taken",
    ]
    assert answers(second) == answers(first) and failing(second) == []
    assert not list((second.folder / "faiss").glob("*.part"))


def test_files_that_are_no_longer_live_are_not_taken(machines, tmp_path, monkeypatch):
    first, second = machines
    place = str(tmp_path / "shared")
    first.optimize(publish=place)
    whole = published._commit

    def late(session, chain, copies):
        first.optimize()  # the first machine makes all anew while the second one copies
        return whole(session, chain, copies)

    monkeypatch.setattr(published, "_commit", late)
    before = rows_in_files(second)
    assert second._store.fetch(place, second._store.active_space()[0]).files == ()
    assert rows_in_files(second) == before and files(second) == [] and failing(second) == []


def test_two_machines_that_publish_at_once_leave_whole_files(machines, place):
    first, second = machines
    second.optimize()
    threads = [threading.Thread(target=index._store.publish, args=(place,)) for index in machines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert first._store.publish(place) == second._store.publish(place) == 0


def test_a_damaged_file_is_not_published(machines, tmp_path):
    first, _ = machines
    path = first.folder / "faiss" / files(first)[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IndexDamaged, match="repair --apply` mends it"):
        first._store.publish(str(tmp_path / "shared"))


def test_a_catalog_in_a_folder_has_no_other_machine(toy_index, tmp_path):
    with pytest.raises(ConfigError, match="expected a catalog in PostgreSQL"):
        toy_index.optimize(fetch=tmp_path / "shared")


def test_what_cannot_be_reached_is_one_line(machines, bucket, tmp_path):
    first, second = machines
    first.optimize(publish=f"{bucket.url}/faiss")
    bucket.server.stop()
    with pytest.raises(RemoteError, match=f"{bucket.url} cannot be used"):
        second.optimize(fetch=f"{bucket.url}/faiss")
    assert failing(second) == []
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="not a directory"):
        first.optimize(publish=tmp_path / "file")


def test_the_command_publishes_and_takes(postgres, drawn_photos, bucket, run, tmp_path):
    database, url = postgres.new_database(), f"{bucket.url}/faiss"
    first, second = (postgres.url(database, tmp_path / name) for name in ("first", "second"))
    run("ingest", drawn_photos.folder, "--index", first, "--model", "toy", "--workers", 0)
    code, _, err = run("optimize", "--index", first, "--publish", url)
    assert code == 0 and f"copied to {url}" in err
    code, _, err = run("optimize", "--index", second, "--fetch", url)
    assert code == 0 and f"2 FAISS files taken from {url}" in err
    code, out, _ = run("verify", "--index", second)
    assert code == 0, out
