"""Many users, one model: batches, order, limits, clients that leave, and an ingest beside it all."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from interleave_index.interface.toy import ToyInterface
from interleave_index.web.model import Cancelled, SharedInterface, left


class Slow(ToyInterface):
    """The toy, which takes its time, remembers what it was given, and can be held."""

    def __init__(self):
        self.batches, self.order, self.go = [], [], threading.Event()
        self.go.set()
        self.entered = threading.Event()

    def encode_queries(self, queries):
        self.batches.append(len(queries))
        return [super(Slow, self).encode_query(query) for query in queries]

    def encode_query(self, query):
        self.entered.set()
        self.go.wait(10)
        self.order.append("query")
        return super().encode_query(query)

    def encode_photos(self, photos):
        self.entered.set()
        self.go.wait(10)
        self.order.append(f"{len(photos)} photos")
        return super().encode_photos(photos)


def caption(text):
    from interleave_index.records import ResolvedPart

    return (ResolvedPart("caption", "text", text),)


@pytest.fixture
def slow():
    return Slow()


@pytest.fixture
def shared(slow):
    interface = SharedInterface(lambda: slow, gather_seconds=0.2)
    yield interface
    slow.go.set()
    interface.close()


def test_questions_that_come_together_are_one_batch_and_each_gets_its_own_answer(shared, slow):
    words = ["red", "green", "blue", "yellow"]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda word: shared.encode_query(caption(word)).legend, words))
    assert sum(slow.batches) >= 2
    for word, legend in zip(words, found, strict=True):
        assert legend.tolist() == ToyInterface().encode_query(caption(word)).legend.tolist()


def test_marks_go_to_the_model_itself_and_its_own_way_to_mask_them(shared, slow, drawn_photos, monkeypatch):
    photo, part = drawn_photos.red_disc.rgb, caption("a part")[0]
    asked = []

    def interact(_self, *given):
        asked.append((threading.current_thread().name, given))
        return ["mask"]

    monkeypatch.setattr(Slow, "interact", interact)
    assert shared.interact(photo, [part]) == ["mask"]
    assert asked == [("model", (photo, [part]))]


def test_words_that_were_asked_before_are_not_encoded_again(shared, slow, drawn_photos):
    from interleave_index.records import ResolvedPart

    first, again = (shared.encode_query(caption("red")) for _ in range(2))
    assert first is again and slow.order == ["query"]
    picture = (ResolvedPart("entity", "picture", "[image:a]", photo=drawn_photos.red_disc.rgb),)
    other = (ResolvedPart("entity", "picture", "[image:a]", photo=drawn_photos.green_square.rgb),)
    assert shared.encode_query(picture).legend.tolist() != shared.encode_query(other).legend.tolist()


def test_questions_go_before_photos_which_come_a_few_at_a_time(shared, slow, drawn_photos):
    photos = [photo.rgb for photo in drawn_photos] * 2
    slow.go.clear()
    with ThreadPoolExecutor(2) as threads:
        taking = threads.submit(shared.encode_photos, photos)
        assert slow.entered.wait(5)
        asking = threads.submit(shared.encode_query, caption("red"))
        time.sleep(0.05)
        slow.go.set()
        assert len(taking.result(10)) == 12
        asking.result(10)
    assert slow.order == ["4 photos", "query", "4 photos", "4 photos"]


class Reading(Slow):
    """The slow toy, which remembers how many passages it was given at once, and can be held with them."""

    def encode_queries(self, queries):
        self.entered.set()
        self.go.wait(10)
        self.order.append(f"{len(queries)} passages")
        return [ToyInterface.encode_query(self, query) for query in queries]


def test_passages_of_an_ingest_come_some_at_a_time_and_after_questions():
    words, reading = [caption(f"passage {number} is red") for number in range(70)], Reading()
    shared = SharedInterface(lambda: reading, gather_seconds=0.2)
    reading.go.clear()
    with ThreadPoolExecutor(2) as threads:
        taking = threads.submit(shared.encode_queries, words)
        assert reading.entered.wait(5)
        asking = threads.submit(shared.encode_query, caption("red"))
        time.sleep(0.05)
        reading.go.set()
        found = taking.result(10)
        asking.result(10)
    shared.close()
    assert reading.order == ["32 passages", "query", "32 passages", "6 passages"]
    assert [one.legend.tolist() for one in found] == [ToyInterface().encode_query(one).legend.tolist() for one in words]


def test_work_of_a_client_that_left_is_not_done(shared, slow):
    gone = threading.Event()

    def ask():
        left.set(gone)
        return shared.encode_query(caption("red"))

    slow.go.clear()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(shared.encode_query, caption("blue"))
        assert slow.entered.wait(5)
        second = threads.submit(ask)
        time.sleep(0.05)
        gone.set()
        slow.go.set()
        first.result(10)
        with pytest.raises(Cancelled):
            second.result(10)
    assert slow.order == ["query"]


def test_an_error_of_one_question_is_not_that_of_its_neighbours(drawn_photos):
    class Picky(ToyInterface):
        def encode_query(self, query):
            if query[0].label == "bad":
                raise ValueError("not this one")
            return super().encode_query(query)

    shared = SharedInterface(Picky, gather_seconds=0.2)
    with ThreadPoolExecutor(3) as threads:
        good, bad = (threads.submit(shared.encode_query, caption(word)) for word in ("red", "bad"))
        assert good.result(10).legend.any()
        with pytest.raises(ValueError, match="not this one"):
            bad.result(10)
    shared.close()


def test_a_model_that_knows_what_it_cannot_read_says_so_through_the_server(make_server):
    class Reader(ToyInterface):
        def reading(self, text):
            from interleave_index.interface.protocol import TextReading

            odd = tuple(word for word in text.split() if word not in ("red", "on"))
            return TextReading(odd, nothing=len(odd) == len(text.split()))

    client = make_server(Reader)
    note = "the model does not know the word 'xyzzyq' and may misread it"
    for parts, some in (([{"entity": "red"}, {"text": "on xyzzyq"}], True), ([{"entity": "xyzzyq"}], False)):
        answer = client.post("/api/search", json={"parts": parts}).json()
        assert answer["notes"] == [note] and any(hit["meant"] for hit in answer["hits"]) <= some
    assert client.server.shared.reading("a b").unknown == ("a", "b")


def test_a_model_that_does_not_tell_what_it_cannot_read_is_taken_at_its_word(shared):
    assert shared.reading("xyzzyq").unknown == ()


def test_a_model_that_cannot_be_built_is_told_to_everyone_who_asks(make_server):
    from interleave_index.errors import WeightsMissing

    def build():
        raise WeightsMissing("no model.safetensors in /models")

    client = make_server(build=build)
    for _ in range(2):
        answer = client.post("/api/search", json={"query": "red"})
        assert (answer.status_code, answer.json()["error"]) == (503, "WeightsMissing")
    assert client.get("/api/photos").status_code == 200


def test_too_many_requests_are_told_when_to_come_back_and_status_still_answers(make_server, slow):
    client = make_server(build=lambda: slow, running=1, waiting=1)
    client.post("/api/search", json={"query": "[red]"})
    slow.entered.clear()
    slow.go.clear()
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(client.post, "/api/search", json={"query": f"[red] {n}"}) for n in range(2)]
        assert slow.entered.wait(5)
        deadline = time.monotonic() + 5
        while client.server.gate.waiting < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        refused = client.post("/api/search", json={"query": "[red]"})
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        assert client.get("/api/status").status_code == 200  # the event loop is free
        slow.go.set()
        assert [one.result(10).status_code for one in asked] == [200, 200]
    assert "interleave_refused_total 1.0" in client.get("/metrics").text


def test_many_searches_at_once_give_the_answers_of_one_at_a_time(client):
    queries = ["red on white", "[green]", "[blue] -[red]", "yellow", "[photo:1]", "[region:2/0]"] * 4
    alone = {query: client.post("/api/search", json={"query": query}).json()["hits"] for query in set(queries)}
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda query: client.post("/api/search", json={"query": query}), queries))
    for query, answer in zip(queries, together, strict=True):
        assert answer.status_code == 200
        assert answer.json()["hits"] == alone[query]


# --- taking photos in ------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path, drawn_photos, draw):
    """A folder with new photos, one that is no picture, and a link that leads out."""
    folder = tmp_path / "library"
    for number in range(5):
        draw.save(
            draw.paint({"red": draw.rectangle(10 * number, 5, 10 * number + 30, 50 + number)}),
            folder / "summer" / f"{number}.png",
        )
    (folder / "broken.jpg").write_text("this is no picture")
    (folder / "out").symlink_to(drawn_photos.folder)
    return folder


def finished(client, job):
    events = []
    with client.stream("GET", f"/api/ingest/{job}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("event: "):
                events.append([line[7:], None])
            elif line.startswith("data: "):
                events[-1][1] = json.loads(line[6:])
    return events


def test_an_ingest_tells_its_progress_and_its_failures_and_its_photos_are_found(make_server, library):
    client = make_server(roots=(library,))
    begun = client.post("/api/ingest", json={})
    assert begun.status_code == 202 and begun.headers["location"] == f"/api/ingest/{begun.json()['job']}"
    events = finished(client, begun.json()["job"])
    kind, end = events[-1]
    assert (kind, end["state"], end["report"]["added"]) == ("end", "done", 5)
    assert [failure["reason"] for failure in end["report"]["failed"]] == ["ImageUnreadable"]
    answer = client.post("/api/search", json={"query": "[red]", "filters": {"folder": str(library / "summer")}})
    assert len(answer.json()["hits"]) >= 1
    assert client.get("/api/status").json()["photos"] == 11
    assert client.get(f"/api/ingest/{begun.json()['job']}").json() == end


def test_an_ingest_stays_below_the_roots(make_server, library, drawn_photos, tmp_path):
    client = make_server(roots=(library,))
    for folder in (str(drawn_photos.folder), "..", "../..", "/etc", "summer/../../..", "out"):
        assert client.post("/api/ingest", json={"folder": folder}).status_code == 403, folder
    assert client.post("/api/ingest", json={"folder": "nowhere"}).status_code == 404
    assert client.post("/api/ingest", json={"folder": "\0"}).status_code == 422
    assert client.post("/api/ingest", json={"folder": "summer"}).status_code == 202
    assert make_server().post("/api/ingest", json={}).status_code == 403


def test_texts_behind_links_that_lead_out_of_the_roots_are_neither_read_nor_shown(
    make_server, library, drawn_photos, tmp_path
):
    (tmp_path / "secret.txt").write_text("hunter2 is the password")
    (tmp_path / "beyond").mkdir()
    (tmp_path / "beyond" / "page.md").write_text("hunter2 is a page, too")
    (library / "photo.png").write_bytes((drawn_photos.folder / "red_disc.png").read_bytes())
    (library / "photo.txt").symlink_to(tmp_path / "secret.txt")
    (library / "page.md").symlink_to(tmp_path / "beyond" / "page.md")
    (library / "linked").symlink_to(tmp_path / "beyond")
    (library / "inside.md").write_text("a page of the library")
    client = make_server(roots=(library,))
    job = client.post("/api/ingest", json={}).json()["job"]
    assert "hunter2" not in json.dumps(finished(client, job)[-1][1])
    answer = client.post("/api/search", json={"query": "hunter2 page", "target": "both"}).json()
    assert [hit["passage"]["name"] for hit in answer["texts"]] == ["inside.md"]
    assert "is the password" not in json.dumps(answer) and "is a page, too" not in json.dumps(answer)


def test_links_that_lead_out_of_the_roots_are_not_followed_and_no_byte_of_a_refused_file_is_reported(
    make_server, library, drawn_photos, tmp_path
):
    """A photo, a text and a folder beside the root are linked from inside it; a link within the root is followed."""
    (library / "photo.png").symlink_to(drawn_photos.red_disc.path)
    (tmp_path / "passwords.txt").write_text("hunter2 is the password")
    (library / "passwords.jpg").symlink_to(tmp_path / "passwords.txt")
    (library / "readable.jpg").write_text("hunter2 is the password")
    (library / "again").symlink_to(library / "summer")
    client = make_server(roots=(library,))
    job = client.post("/api/ingest", json={}).json()["job"]
    end = finished(client, job)[-1][1]
    report = end["report"]
    assert report["added"] == 5 and report["not_read"]["links_outside"] == 3
    assert {failure["path"] for failure in report["failed"]} == {
        str(library / "broken.jpg"),
        str(library / "readable.jpg"),
    }
    assert "hunter2" not in json.dumps(end)
    paths = [photo["path"] for photo in client.get("/api/photos", params={"limit": 200}).json()["photos"]]
    assert not [path for path in paths if "passwords" in path]


def test_one_ingest_at_a_time_which_can_be_stopped(make_server, library, slow):
    client = make_server(build=lambda: slow, roots=(library,))
    slow.go.clear()
    job = client.post("/api/ingest", json={"folder": "summer"}).json()["job"]
    assert slow.entered.wait(10)
    second = client.post("/api/ingest", json={})
    assert (second.status_code, second.json()["job"]) == (409, job)
    assert client.delete(f"/api/ingest/{job}").status_code == 202
    slow.go.set()
    assert finished(client, job)[-1][1]["state"] == "stopped"


def test_searches_during_an_ingest_are_answered_and_right(make_server, library, draw):
    for number in range(30):
        draw.save(
            draw.paint({"purple": draw.rectangle(number, 5, number + 30, 50)}), library / "more" / f"{number}.png"
        )
    client = make_server(roots=(library,))
    job = client.post("/api/ingest", json={}).json()["job"]
    asked = 0
    while client.get(f"/api/ingest/{job}").json()["state"] == "running" or asked < 5:
        answer = client.post("/api/search", json={"query": "[green]"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["hits"][0]["photo"]["name"] == "green_square.png"
        asked += 1
    assert finished(client, job)[-1][1]["report"]["added"] == 35


def test_photos_that_another_process_took_in_and_a_new_generation_are_found_without_a_restart(client, library):
    from interleave_index.service import Index

    state = client.server
    client.post("/api/search", json={"query": "[red]"})
    with Index.open(state.index.folder, config=state.config, interface=ToyInterface()) as other:
        other.ingest(library)
        other.optimize()
    found = client.post("/api/search", json={"query": "[red]", "stacks": False, "limit": 50}).json()["hits"]
    assert len(found) == 11
    shutil.rmtree(library / "summer")
    with Index.open(state.index.folder, config=state.config, interface=ToyInterface()) as other:
        other.ingest(library)
    assert len(client.post("/api/search", json={"query": "[red]", "stacks": False}).json()["hits"]) == 6


# --- places to work at ------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["deadline", "cancelled"])
def test_a_place_that_comes_at_the_moment_at_which_nobody_waits_any_more_is_not_lost(ending, run_to_end):
    """Both happen in one turn of the event loop, which is busy when they are due: first the place, then the end."""
    from interleave_index.web.gate import Overfull, Turns

    async def story():
        turns, loop = Turns(1, 4), asyncio.get_running_loop()
        await turns.take("somebody", 1)
        waiting = asyncio.create_task(turns.take("another", 0.06 if ending == "deadline" else 10))
        await asyncio.sleep(0)
        loop.call_later(0.03, turns.give_back)
        if ending == "cancelled":
            loop.call_later(0.06, waiting.cancel)
        time.sleep(0.1)
        with pytest.raises(Overfull if ending == "deadline" else asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(turns.take("a third", 0.05), 1)
        assert turns.count == 0

    run_to_end(story)


def test_work_that_is_stuck_is_counted_right_whoever_counts(run_to_end):
    from interleave_index.web.gate import SPARE, Threads
    from interleave_index.web.problems import Refused

    threads, go = Threads(2, "test"), threading.Event()

    async def give_up():
        for _ in range(SPARE):
            with pytest.raises(Refused):
                await threads.run(go.wait, 0.01)

    for _ in range(5):
        go.clear()
        run_to_end(give_up)
        assert threads.stuck == SPARE
        go.set()
        deadline = time.monotonic() + 5
        while threads.stuck and time.monotonic() < deadline:
            time.sleep(0.005)
        assert threads.stuck == 0
    threads.close()


def test_remembered_encodings_may_be_asked_for_while_old_ones_are_let_go(shared, slow, monkeypatch):
    monkeypatch.setattr("interleave_index.web.model.REMEMBERED", 2)
    words = ["red", "green", "blue", "yellow", "red green", "red blue"] * 20
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda word: shared.encode_query(caption(word)).legend, words))
    for word, legend in zip(words, found, strict=True):
        assert legend.tolist() == ToyInterface().encode_query(caption(word)).legend.tolist()


def test_the_encodings_that_were_asked_for_last_are_kept(shared, slow, monkeypatch):
    monkeypatch.setattr("interleave_index.web.model.REMEMBERED", 2)
    for word in ("red", "green", "red", "blue"):  # the fourth takes the place of green
        shared.encode_query(caption(word))
    asked = len(slow.order)
    shared.encode_query(caption("red"))
    assert len(slow.order) == asked == 3
