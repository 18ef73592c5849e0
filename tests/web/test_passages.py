"""Texts beside the photos over REST: passages, phrases, words, kinds, pages."""

import shutil

import pytest

from interleave_index import Config, Index
from interleave_index.interface.toy import ToyInterface
from interleave_index.web import shapes

MARK = "\N{OBJECT REPLACEMENT CHARACTER}"


@pytest.fixture
def noted(make_server, texts_index):
    """A server over photos with texts."""
    return make_server(index=texts_index)


@pytest.fixture
def ask(noted):
    def ask(query, **more):
        body = {"query": query} if isinstance(query, str) else {"parts": query}
        answer = noted.post("/api/search", json=body | more)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        shapes.SearchAnswer.model_validate(found)
        return found

    return ask


def lit(hit):
    """The words of a passage that answer each entity, by its number."""
    return {one["entity"]: hit["passage"]["text"][slice(*one["span"])] for one in hit["entities"] if one["span"]}


def test_photos_alone_are_ranked_unless_texts_are_asked_for(ask):
    answer = ask("[red]")
    assert len(answer["hits"]) == 6
    assert (answer["texts"], answer["next_texts"], answer["photos"]) == (None, None, {})


def test_passages_come_with_their_source_their_pictures_and_the_phrases_that_answer(ask, texts_folder):
    answer = ask("[red disc] and [blue triangle]", target="texts")
    assert (answer["hits"], answer["next"]) == ([], None)
    first = answer["texts"][0]
    passage = first["passage"]
    assert (passage["kind"], passage["name"], passage["folder"]) == ("markdown", "page.md", str(texts_folder))
    assert (passage["title"], passage["language"]) == ("Shapes & <i>things</i>", "en")
    assert passage["text"].count(MARK) == len(passage["pictures"]) == 2
    assert [answer["photos"][str(one)]["name"] for one in passage["pictures"]] == ["red_disc.png", "blue_triangle.png"]
    phrases = lit(first)
    assert "red disc" in phrases[0] and "blue triangle" in phrases[1]
    assert {"red", "disc", "blue", "triangle"} <= set(first["words"])
    missing = next(hit for hit in answer["texts"] if "alone" in hit["passage"]["text"])
    assert None in missing["passage"]["pictures"]


def test_entities_are_numbered_as_the_answer_lists_them_negatives_among_them(ask):
    for target in ("texts", "both"):
        answer = ask("-[green] and a [red disc] or -[purple] with [blue triangle]", target=target)
        assert [(one["text"], one["negative"]) for one in answer["entities"]] == [
            ("green", True),
            ("red disc", False),
            ("purple", True),
            ("blue triangle", False),
        ]
        best = next(hit for hit in answer["texts"] if "triangle" in hit["passage"]["text"])
        assert set(lit(best)) == {1, 3} and "red" in lit(best)[1] and "blue" in lit(best)[3]


def test_both_are_ranked_at_once_and_paged_apart(ask, noted):
    whole = ask("a disc", target="both", limit=50)
    assert len(whole["hits"]) == 6 and len(whole["texts"]) > 3
    answer = ask("a disc", target="both", limit=2)
    photos, texts = list(answer["hits"]), list(answer["texts"])
    assert len(photos) == len(texts) == 2
    for cursor, rows, name in (("next", photos, "hits"), ("next_texts", texts, "texts")):
        following = answer[cursor]
        while following:
            page = noted.get("/api/search", params={"cursor": following, "limit": 2}).json()
            shapes.SearchAnswer.model_validate(page)
            assert page["texts" if name == "hits" else "hits"] in (None, [])
            rows += page[name]
            following = page[cursor]
    assert [hit["photo"]["id"] for hit in photos] == [hit["photo"]["id"] for hit in whole["hits"]]
    assert [hit["passage"]["id"] for hit in texts] == [hit["passage"]["id"] for hit in whole["texts"]]
    assert [hit["rank"] for hit in texts] == list(range(1, len(texts) + 1))


def test_a_hit_says_what_its_texts_added(ask):
    hit = ask("Ilse")["hits"][0]
    assert hit["photo"]["name"] == "purple_stripe.png" and hit["text"]["added"] > 0
    assert (hit["text"]["words"], hit["text"]["passage"]["kind"]) == (["Ilse"], "txt")
    bare = "red_disc_and_blue_square.png"
    named = next(hit for hit in ask("square")["hits"] if hit["photo"]["name"] == bare)
    assert (named["text"]["words"], named["text"]["passage"]) == (["square"], None)


def test_a_look_at_one_photo_says_what_its_texts_added(noted, ask):
    photo = ask("Ilse")["hits"][0]["photo"]["id"]
    look = noted.post("/api/ground", json={"photo": photo, "query": "Ilse"}).json()
    shapes.GroundAnswer.model_validate(look)
    assert look["text"]["words"] == ["Ilse"]


def test_the_texts_of_a_photo_are_listed_page_by_page(noted, ask):
    photo = ask("yellow")["hits"][0]["photo"]["id"]
    listed = noted.get(f"/api/photos/{photo}/texts").json()
    shapes.TextsAnswer.model_validate(listed)
    assert [(one["kind"], one["text"]) for one in listed["texts"]] == [("captions", "a yellow disc in the night")]
    assert (listed["total"], listed["next"], list(listed["photos"])) == (1, None, [str(photo)])
    assert noted.get(f"/api/photos/{photo}/texts", params={"cursor": 1}).json()["texts"] == []
    assert noted.get("/api/photos/99/texts").status_code == 404


def test_kinds_of_texts_are_counted_and_can_be_asked_for(noted, ask):
    facets = noted.get("/api/facets").json()
    shapes.FacetsAnswer.model_validate(facets)
    kinds = {row["kind"]: row["passages"] for row in facets["texts"]}
    assert set(kinds) == {"markdown", "txt", "captions"} and kinds["markdown"] >= 2
    found = {hit["passage"]["kind"] for hit in ask("a disc", target="texts", text_kinds=["captions"])["texts"]}
    assert found == {"captions"}
    for wrong in ({"text_kinds": ["pdf"]}, {"target": "pages"}):
        assert noted.post("/api/search", json={"query": "red"} | wrong).status_code == 422


def test_texts_without_photos_stay_when_a_photo_is_gone_and_no_filter_is_set(make_server, texts_folder, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(texts_folder, folder)
    (folder / "page.md").write_text("words about nothing but a harbour")
    config = Config().with_flags(models_interface="toy", ingest_workers=0)
    with Index.open(tmp_path / "index", config=config, interface=ToyInterface(), create=True) as index:
        index.ingest(folder)
        (folder / "green_square.png").unlink()
        index.ingest(folder)
    client = make_server(index=tmp_path / "index")
    answer = client.post("/api/search", json={"query": "harbour", "target": "texts"}).json()
    assert answer["texts"][0]["passage"]["name"] == "page.md"
    filtered = {"query": "harbour", "target": "texts", "filters": {"folder": str(folder)}}
    assert "page.md" not in [
        hit["passage"]["name"] for hit in client.post("/api/search", json=filtered).json()["texts"]
    ]


def test_openapi_describes_texts_as_they_are_answered(noted):
    schemas = noted.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["SearchBody"]["properties"]["target"]["enum"] == ["photos", "texts", "both"]
    assert (
        schemas["SearchBody"]["properties"]["text_kinds"]["items"]["enum"]
        == schemas["PassageAnswer"]["properties"]["kind"]["enum"]
    )
    assert {"TextHitAnswer", "TextMatchAnswer", "PhraseAnswer", "TextsAnswer", "TextKindAnswer"} <= set(schemas)
