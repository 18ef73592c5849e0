"""Decoding runs ahead of the model: while it works on one batch, the next two are made ready."""

import time
from dataclasses import replace
from typing import Any

from interleave_index.config import Config
from interleave_index.ingest import pipeline
from interleave_index.records import IngestReport
from interleave_index.service import Index
from tests.ingest.conftest import Counting, Pictures

BATCH, PHOTOS = 4, 24


def test_while_the_model_works_on_a_batch_the_next_two_are_decoded(library, monkeypatch):
    for number in range(PHOTOS):  # each of another length: files as long as a known one are hashed before anything else
        data = Pictures.encoded(Pictures.drawn(number, (48, 64)), "BMP")
        (library.folder / f"{number}.bmp").write_bytes(data + bytes(number))
    pools: list[Any] = []
    taken: list[Any] = []
    ahead: list[bool] = []

    def decoders(*words):
        pool = made(*words)
        pools.append(pool)
        given = pool.next

        def counted(timeout):
            outcome = given(timeout)
            if outcome is not None:
                taken.append(outcome)
            return outcome

        monkeypatch.setattr(pool, "next", counted)
        return pool

    class Slow(Counting):
        """A model that is busy until the next two batches (or all that is left) are decoded."""

        def encode_photos(self, photos):
            wanted = min(PHOTOS, self.photos + len(photos) + 2 * BATCH)
            until = time.monotonic() + 60
            while decoded() < wanted and time.monotonic() < until:
                time.sleep(0.005)
            ahead.append(decoded() >= wanted)
            return super().encode_photos(photos)

    def decoded():
        return len(taken) + pools[0]._answers.qsize()

    made = pipeline._decoders
    monkeypatch.setattr(pipeline, "_decoders", decoders)
    model = Slow()
    report = library.ingest(model=model, workers=1, batch=8, model_batch=BATCH)
    assert report.added == PHOTOS and model.batches == [BATCH] * (PHOTOS // BATCH)
    assert all(ahead)


def test_an_interface_is_given_as_many_photos_at_a_time_as_it_likes(tmp_path, monkeypatch):
    asked = []

    class Hungry(Counting):
        @property
        def capabilities(self):
            return replace(super().capabilities, photos_at_a_time=40)

    def noted(store, interface, roots, *, settings, **_):
        asked.append(settings.model_batch)
        return IngestReport()

    monkeypatch.setattr(pipeline, "ingest", noted)
    for model, batch in ((Counting(), 64), (Hungry(), 64), (Hungry(), 8)):
        config = Config.from_mapping({"ingest": {"batch": batch}})
        with Index.open(tmp_path / str(len(asked)), config=config, interface=model, create=True) as index:
            index.ingest(tmp_path)
    assert asked == [16, 40, 8]
