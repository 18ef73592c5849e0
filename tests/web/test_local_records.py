"""Answers on their way over the local socket: what comes back is what was sent."""

import json
from dataclasses import asdict

from interleave_index import Config, Index
from interleave_index.interface.toy import ToyInterface
from interleave_index.web.local_records import answer_of, hit_of, plain


def sent(record):
    return json.loads(json.dumps(asdict(record), default=plain))


def test_passages_and_what_texts_added_to_hits_come_back_as_they_were(tmp_path, drawn_photos):
    (tmp_path / "one.png").write_bytes((drawn_photos.folder / "red_disc.png").read_bytes())
    (tmp_path / "one.txt").write_text("Grandma Ilse with a red disc")
    (tmp_path / "page.md").write_text("A red disc ![](one.png) and one ![](gone.png) that is not there.")
    config = Config().with_flags(models_interface="toy", ingest_workers=0)
    with Index.open(tmp_path / "index", config=config, interface=ToyInterface(), create=True) as index:
        index.ingest(tmp_path)
        answer = index.search("[red disc] of Ilse -[blue]", target="both")
        hit = index.ground(answer[0].photo.id, "Ilse")
    assert answer[0].text is not None and answer.texts and answer.texts[0].passage.phrases
    assert answer_of(sent(answer)) == answer and hit_of(sent(hit)) == hit
