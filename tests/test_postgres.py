"""A catalog in PostgreSQL, used as people use it: several machines, servers that go away, backups, what is shown."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from interleave_index import Config, Index
from interleave_index.config import index_folder, shown_index
from interleave_index.errors import ConfigError, IndexBusy, IndexNotFound, SchemaTooNew, StorageError
from interleave_index.interface.toy import ToyInterface
from interleave_index.storage import words
from interleave_index.storage.backup import restore_backup
from interleave_index.storage.store import Store

TOY = Config().with_flags(models_interface="toy", ingest_workers=0)
Open = Callable[..., Index]


@pytest.fixture
def url(postgres: Any, tmp_path: Path) -> Callable[..., str]:
    """What opens the index of the test by the folder of one machine, in a new database or in that of another name."""
    databases: dict[str, str] = {}

    def name(folder: str = "index", database: str = "a") -> str:
        if database not in databases:
            databases[database] = postgres.new_database()
        return str(postgres.url(databases[database], tmp_path / folder))

    return name


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens an index with the toy interface, and closes it at the end."""
    made: list[Index] = []

    def open_index(name: str, **options: Any) -> Index:
        made.append(Index.open(name, config=TOY, interface=ToyInterface(), **options))
        return made[-1]

    yield open_index
    for index in made:
        index.close()


def failing(index: Index) -> list[str]:
    return [f"{check.name}: {check.detail}" for check in index.verify() if not check.ok]


def answers(index: Index) -> list[tuple[int, float]]:
    return [(hit.photo.id, hit.score) for hit in index.search("[red] beside [blue]", 10)]


# --- names -------------------------------------------------------------------------------------


def test_a_url_has_to_name_the_folder_and_says_so():
    for name in ("postgresql://me:secret@host/photos", "postgresql+psycopg://host/photos?connect_timeout=3"):
        with pytest.raises(ConfigError, match=r"names 0 folders.*\?folder=") as told:
            Store.open(name, create=True)
        assert "secret" not in str(told.value)
    with pytest.raises(ConfigError, match=r"postgresql\+asyncpg://…, expected a folder"):
        Store.open("postgresql+asyncpg://host/photos?folder=/x")
    with pytest.raises(ConfigError, match="%40"):
        Store.open("postgresql://me:p@ss@host/photos?folder=/x")


def test_nothing_secret_is_shown_or_kept(postgres, url, opened, drawn_photos, tmp_path, run):
    name = url() + "&password=hidden"
    named = name.replace(f"{postgres.user}@", f"{postgres.user}:hidden@")
    code, out, err = run("ingest", drawn_photos.folder, "--index", named, "--model", "toy")
    assert code == 0, err
    said = [out, err, *run("status", "--index", named)[1:], *run("status", "--index", named, "--json")[1:]]
    said += [*run("doctor", "--no-trial", "--index", named)[1:], *run("texts", "--index", named, "--json")[1:]]
    said += [*run("verify", "--index", named)[1:], *run("backup", tmp_path / "b.tar", "--index", named)[1:]]
    said += [file.read_text() for file in (tmp_path / "index").glob("*.*") if file.is_file()]
    assert len(said) > 12 and not any("hidden" in text for text in said)
    assert not any(f"{postgres.user}@" in text for text in said)
    assert b"hidden" not in (tmp_path / "b.tar").read_bytes()
    postgres.stop()
    try:
        code, out, err = run("status", "--index", named)
    finally:
        postgres.start()
    assert code == 1 and "hidden" not in out + err and err.count("\n") == 1 and "cannot be reached just now" in err
    with pytest.raises(ConfigError) as told:
        Store.open("postgresql://me:x@host:hidden/photos?folder=/x")
    assert "no URL of a database" in str(told.value)


def test_status_names_the_database(url, opened, drawn_photos, run):
    name = url()
    run("ingest", drawn_photos.folder, "--index", name, "--model", "toy")
    code, out, _ = run("status", "--index", name)
    assert code == 0 and "catalog PostgreSQL" in out.replace("  ", " ") and shown_index(name) in out
    assert json.loads(run("status", "--index", name, "--json")[1])["catalog"].startswith("PostgreSQL ")


def test_a_folder_belongs_to_one_catalog(url, opened, toy_index, tmp_path):
    opened(url(), create=True)
    with pytest.raises(ConfigError, match="belongs to the catalog"):
        Store.open(url("index", "b"), create=True)
    for create in (True, False):
        with pytest.raises(ConfigError, match="name the URL of that database"):
            Store.open(tmp_path / "index", create=create)
    toy_index.close()
    with pytest.raises(ConfigError, match="is an index of its own"):
        Store.open(url("photos.index", "c"), create=True)
    with pytest.raises(IndexNotFound, match="no index in postgresql"):
        Store.open(url("other", "d"))
    assert not (tmp_path / "other").exists()


def test_a_database_of_another_encoding_is_refused(postgres, tmp_path):
    postgres.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0")
    with pytest.raises(ConfigError, match="encoding LATIN1, expected UTF8"):
        Store.open(postgres.url("latin", tmp_path / "x"), create=True)


def test_a_newer_schema_is_refused_in_words(postgres, url):
    Store.open(url(), create=True).close()
    database = postgres.last
    postgres.sql("UPDATE alembic_version SET version_num = '9999'", database)
    with pytest.raises(SchemaTooNew, match="schema 9999"):
        Store.open(url())


def test_a_user_who_may_only_read_searches_and_is_told_what_does_not_work(postgres, url, opened, drawn_photos):
    index = opened(url(), create=True)
    index.ingest(drawn_photos.folder)
    found = answers(index)
    postgres.sql("DROP ROLE IF EXISTS reader")
    postgres.sql("CREATE ROLE reader LOGIN")
    postgres.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", postgres.last)
    index.close()
    reader = opened(url().replace(f"{postgres.user}@", "reader@"))
    assert answers(reader) == found and failing(reader) == []
    with pytest.raises(StorageError, match="read-only for this user"):
        reader.forget([1])


# --- several machines --------------------------------------------------------------------------


def test_each_machine_has_faiss_files_of_its_own_and_sees_what_the_others_write(url, opened, drawn_photos, tmp_path):
    one, two = opened(url("one"), create=True), opened(url("two"), create=True)
    one.ingest(drawn_photos.folder)
    one.optimize()
    assert answers(two) == answers(one) and two.status()["generations"] == []
    two.optimize()
    files = [sorted(path.name for path in (tmp_path / name / "faiss").glob("*.faiss")) for name in ("one", "two")]
    assert len(files[0]) == len(files[1]) == 2 and not set(files[0]) & set(files[1])
    two.forget([1])
    two.optimize()
    assert failing(one) == failing(two) == [] and 1 not in dict(answers(one))
    one.close()
    shutil.rmtree(tmp_path / "one" / "faiss")
    again = opened(url("one"))
    assert failing(again) == [] and answers(again) == answers(two) and len(again.status()["generations"]) == 2


def test_what_another_machine_took_in_meanwhile_is_not_called_missing(url, opened, drawn_photos, tmp_path, monkeypatch):
    from interleave_index.ingest import pipeline

    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(drawn_photos.red_disc.path, folder / "a.png")
    (folder / "a.md").write_text("red")
    one, two = opened(url("one"), create=True), opened(url("two"), create=True)
    listed = pipeline._survey

    def survey_and_wait(*given: Any) -> Any:
        made = listed(*given)
        if threading.current_thread() is not threading.main_thread():
            return made
        shutil.copy(drawn_photos.green_square.path, folder / "b.png")
        (folder / "b.md").write_text("green")
        other = threading.Thread(target=two.ingest, args=(folder,))
        other.start()
        other.join()
        return made

    monkeypatch.setattr(pipeline, "_survey", survey_and_wait)
    report = one.ingest(folder)
    assert (report.missing, report.texts["missing"]) == (0, 0)
    status = two.status()
    assert (status["photos"], status["missing"], status["texts"]["missing"]) == (2, 0, 0) and failing(two) == []
    (folder / "b.png").unlink()
    (folder / "b.md").unlink()
    report = one.ingest(folder)
    assert (report.missing, report.texts["missing"]) == (1, 1)


def test_a_writer_that_waits_too_long_is_told_who_writes(url, opened, monkeypatch):
    from interleave_index.storage import postgres as module

    monkeypatch.setattr(module, "BEGIN_WRITING", text(str(module.BEGIN_WRITING).replace("'30000'", "'100'")))
    one, two = opened(url("one"), create=True), opened(url("two"))
    with one._store._session.writing("a long one"), pytest.raises(IndexBusy, match=f"process {os.getpid()} on "):
        two._store.forget_placeless()
    two._store.forget_placeless()


WORK = """
import sys
from interleave_index import Config, Index
from interleave_index.interface.toy import ToyInterface
config = Config().with_flags(models_interface="toy", ingest_workers=0, ingest_batch=3)
with Index.open(sys.argv[1], config=config, interface=ToyInterface(), create=True) as index:
    print("open", flush=True)
    report = index.ingest(sys.argv[2:])
    print(report.added, flush=True)
"""


def work(name: str, *folders: Path) -> subprocess.Popen[str]:
    """An ingest in a process of its own."""
    words = [sys.executable, "-c", WORK, name, *map(str, folders)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def trees(draw, tmp_path) -> tuple[Path, Path, Path]:
    """Folders of 24, 24 and 48 photos, each with a page; the third holds what the other two hold."""
    folders = tmp_path / "x", tmp_path / "y", tmp_path / "z"
    for number in range(48):
        rgb = draw.paint({"red": draw.rectangle(number, 3, number + 30, 40)})
        place = draw.save(rgb, folders[number // 24] / f"{number}.png")
        Path(place).with_suffix(".md").write_text(f"page {number} ![]({number}.png)")
    for folder in folders[:2]:
        shutil.copytree(folder, folders[2], dirs_exist_ok=True)
    return folders


def sound(index: Index, folders: tuple[Path, ...]) -> None:
    """No row is lost and none is there twice, after one more ingest of everything."""
    assert failing(index) == []
    index.ingest(list(folders))
    status = index.status()
    assert (status["photos"], status["locations"], status["missing"], status["failed"]) == (48, 96, 0, 0)
    assert (status["encodings"], status["texts"]["documents"]) == (48, 96) and failing(index) == []


@pytest.mark.parametrize("seconds", [0.5, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.1, 1.0))])
def test_two_processes_write_one_catalog_and_one_is_killed(url, opened, trees, seconds):
    x, y, z = trees
    opened(url("one"), create=True).close()
    killed, other = work(url("one"), z, x), work(url("two"), y, z)
    assert killed.stdout is not None and killed.stdout.readline() == "open\n"
    time.sleep(seconds)
    killed.send_signal(signal.SIGKILL)
    _, said = other.communicate()
    killed.communicate()
    assert (killed.returncode, other.returncode) == (-signal.SIGKILL, 0), said
    index = opened(url("one"))
    assert failing(index) == [] and index.status()["photos"] == 48
    sound(index, trees)


# --- a server that goes away -------------------------------------------------------------------


def test_a_server_that_dies_in_the_middle_loses_nothing_and_a_retry_goes_on(postgres, url, opened, trees, run):
    x, y, z = trees
    name = url()
    opened(name, create=True)
    going = work(name, x, y, z)
    assert going.stdout is not None and going.stdout.readline() == "open\n"
    time.sleep(0.5)
    postgres.kill()
    _, said = going.communicate()
    code, out, err = run("search", "red", "--index", name, "--no-server")
    assert code == 1 and out == "" and err.count("\n") == 1 and "cannot be reached just now" in err
    postgres.start()
    assert going.returncode != 0 and "StorageError: catalog postgresql" in said.splitlines()[-1]
    index = opened(name)
    assert failing(index) == []
    sound(index, trees)


def test_a_server_that_dies_at_many_rows_is_one_error_and_no_warning(postgres, url, opened, caplog):
    index = opened(url(), create=True)
    rows = [{"number": number} for number in range(20_000)]
    with pytest.raises(StorageError, match="just now"), index._store._session.writing("a lost one") as connection:
        postgres.kill()
        connection.execute(text("UPDATE catalog SET change = change + :number"), rows)
    postgres.start()
    assert [record.message for record in caplog.records] == []


def test_an_open_index_goes_on_when_its_server_was_started_anew(postgres, url, opened, drawn_photos):
    index = opened(url(), create=True)
    index.ingest(drawn_photos.folder)
    found = answers(index)
    postgres.stop()
    with pytest.raises(StorageError, match="cannot be reached just now"):
        answers(index)
    postgres.start()
    assert answers(index) == found and index.forget([1]) == 1


# --- backup ------------------------------------------------------------------------------------


def test_an_index_moves_by_backup_between_both_databases_and_back(url, opened, toy_index, drawn_photos, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text(f"Café Müller ![]({drawn_photos.red_disc.path})")
    toy_index.ingest(tmp_path / "notes")
    last = toy_index.ids().max()
    before = answers(toy_index)
    toy_index.forget([int(last)])
    found = [entry for entry in before if entry[0] != last]
    toy_index.backup(tmp_path / "one.tar")
    restore_backup(tmp_path / "one.tar", url("moved"))
    moved = opened(url("moved"))
    moved.optimize()
    assert failing(moved) == [] and answers(moved) == found and moved.thumbnail(1).is_file()
    named = [[hit.photo.id for hit in index.search('"cafe muller"')] for index in (moved, toy_index)]
    assert named[0] == named[1] and len(named[0]) == 1
    moved.backup(tmp_path / "two.tar")
    restore_backup(tmp_path / "two.tar", tmp_path / "back")
    back = opened(str(tmp_path / "back"))
    assert failing(back) == [] and answers(back) == found
    for index in (moved, back):  # the id of a photo that was forgotten is never used again
        shutil.copy(drawn_photos.red_disc.path, tmp_path / "notes" / "n.png")
        with (tmp_path / "notes" / "n.png").open("ab") as file:
            file.write(index.name.encode())
        index.ingest(tmp_path / "notes")
        assert index.ids().max() == last + 1


def test_a_backup_goes_into_an_empty_database_only_and_wholly_or_not_at_all(
    postgres, url, opened, toy_index, tmp_path, monkeypatch
):
    toy_index.backup(tmp_path / "b.tar")
    Store.open(url("used"), create=True).close()
    with pytest.raises(StorageError, match="expected an empty database"):
        restore_backup(tmp_path / "b.tar", url("new"))
    assert not (tmp_path / "new").exists()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(StorageError, match="no space left on device; see that"):
        patched.setattr(words, "put_all_names", fail)
        restore_backup(tmp_path / "b.tar", url("new", "c"))
    assert not (tmp_path / "new").exists() and [path for path in tmp_path.iterdir() if path.name[0] == "."] == []
    with pytest.raises(IndexNotFound):
        Store.open(url("new", "c"))
    restore_backup(tmp_path / "b.tar", url("new", "c"))
    assert failing(opened(url("new", "c"))) == []


def test_commands_take_a_url_from_the_variable_and_the_settings(url, drawn_photos, run, monkeypatch, tmp_path):
    (tmp_path / "c.yaml").write_text(f"index: {url()}\nmodels: {{interface: toy}}\n")
    assert run("ingest", drawn_photos.folder, "--config", tmp_path / "c.yaml")[0] == 0
    monkeypatch.setenv("INTERLEAVE_INDEX", url())
    code, out, _ = run("search", "red", "--json")
    assert code == 0 and len(json.loads(out)["hits"]) == 6
    run("backup", tmp_path / "b.tar")
    monkeypatch.setenv("INTERLEAVE_INDEX", url("again", "b"))
    code, out, err = run("restore", tmp_path / "b.tar")
    assert code == 0 and "holds 6 photos" in out, err
    assert index_folder(url("again", "b")) == tmp_path / "again" and run("verify")[0] == 0
