"""What of a text a model can read: known and unknown words, near words, singulars, the list of the bundled model."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interleave_index.errors import ModelError
from interleave_index.interface.find_mini import WEIGHTS
from interleave_index.interface.find_mini.words import KnownWords, without, words_of

SHIPPED = KnownWords.from_file(WEIGHTS / "words.txt")
FEW = KnownWords(
    {"dog": 90, "dogs": 20, "cafe": 3, "umbrella": 9, "kettle": 4, "giraffe": 5, "run": 7, "smile": 5, "do": 8,
     "carry": 2, "hot": 6, "leaf": 1, "man": 50, "in": 99, "going": 3},
    {"dogs": "dog"},
)  # fmt: skip

known_texts = st.lists(st.sampled_from(sorted(SHIPPED.counts)), max_size=8).map(" ".join)
mixed_texts = st.lists(
    st.one_of(
        st.sampled_from(["dog", "Dog's", "don't", "hot-dog", "xyzzy", "café", "собака", "狗", "🐕", "👨‍👩‍👧", "-",
                         "'", ",", "\u0301", "\u200d", " ", "  ", "\n", "3", "a"]),
        st.text(max_size=3),
    ),
    max_size=10,
).map("".join)  # fmt: skip


# --- unknown ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "", "  ", "A dog.", "dogs!", "DOG in café, cafe\u0301", "3 dogs' 4x4; 30th, 5pm", "dog's", "dog’s",
    "I'm a 20% o'dog ($5, €7, 20°)", "hot-dog", "don't", "won't", "running smiling smiled carried carries smiles",
    "leaves", "giraffes",
])  # fmt: skip
def test_known_words_their_forms_numbers_and_punctuation_are_never_reported(text):
    assert FEW.unknown(text) == ()


@pytest.mark.parametrize(("text", "unknown"), [
    ("a Hund, a dog and Hund", ("Hund", "and")),
    ("Hund hund HUND", ("Hund",)),
    ("umbrela-dog", ("umbrela",)),
    ("Giraff's", ("Giraff",)),
    ("läuft", ("läuft",)),
    ("собака dog на Собака", ("собака", "на")),
    ("狗在草地上 dog 狗", ("狗在草地上", "狗")),
    ("dog狗dog", ("狗",)),
    ("a dog 🐕", ("🐕",)),
    ("👨‍👩‍👧🏽 🇩🇪", ("👨‍👩‍👧🏽", "🇩🇪")),
    ("हिन्दी", ("हिन्दी",)),
    ("١٢ dogs", ("١٢",)),
    ("“dog” — dog…\u200b\ufeff", ()),
    ("dres ing sed", ("dres", "ing", "sed")),
    ("hing going", ("hing",)),
])  # fmt: skip
def test_other_words_scripts_and_emoji_are_reported_as_written_in_order_each_once(text, unknown):
    assert FEW.unknown(text) == unknown


@given(known_texts)
def test_texts_of_known_words_hold_no_unknown_ones(text):
    assert SHIPPED.unknown(text) == () and SHIPPED.unknown(text.upper()) == ()


@given(mixed_texts)
def test_unknown_words_stand_in_the_text_and_none_is_given_twice(text):
    found = FEW.unknown(text)
    assert len(set(found)) == len(found) and all(word and word in text for word in found)


# --- without ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "words", "left"), [
    ("a  dog \n in a xyzzy", [], "a dog in a xyzzy"),
    ("a xyzzy dog", ["xyzzy"], "a dog"),
    ("XYZZY, a dog.", ["xyzzy"], "a dog."),
    ("a dog, xyzzy, a cat", ["xyzzy"], "a dog, a cat"),
    ("a dog 🐕 .", ["🐕"], "a dog."),
    ("xyzzy's dog", ["xyzzy"], "dog"),
    ("xyzzy-dog foo-xyzzy", ["xyzzy"], "dog foo"),
    ("xyzzy-dog foo", ["xyzzy-foo"], "dog"),
    ("Café dog cafe\u0301", ["cafe"], "dog"),
    ("xyzzyx", ["xyzzy"], "xyzzyx"),
    ("dog狗cat", ["狗"], "dog cat"),
    ("xyzzy!", ["xyzzy"], ""),
    ("", ["xyzzy"], ""),
])  # fmt: skip
def test_words_are_taken_out_and_blanks_tidied(text, words, left):
    assert without(text, words) == left


@given(mixed_texts, st.lists(st.sampled_from(["dog", "xyzzy", "狗", "🐕", "a", ","]), max_size=3))
@example("isn't-xyzzy", ["xyzzy"])
def test_no_double_blank_and_none_at_the_ends_is_ever_left(text, words):
    left = without(text, words)
    assert left == " ".join(left.split())
    assert without(left, words) == left


@given(mixed_texts)
def test_without_its_unknown_words_a_text_is_known(text):
    assert FEW.unknown(without(text, FEW.unknown(text))) == ()


# --- near ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("dgo", "dog"),
        ("umbrela", "umbrella"),
        ("giraff", "giraffe"),
        ("kettel", "kettle"),
        ("Giráff", "giraffe"),
        ("umbrrela", "umbrella"),
    ],
)
def test_the_nearest_spelling_comes_first(word, near):
    assert FEW.near(word)[0] == near


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("dgo", "dog"),
        ("umbrela", "umbrella"),
        ("giraff", "giraffe"),
        ("bycicle", "bicycle"),
        ("skatebord", "skateboard"),
        ("wierd", "weird"),
    ],
)
def test_the_bundled_list_knows_what_was_meant(word, near):
    assert SHIPPED.unknown(word) == (word,) and SHIPPED.near(word)[0] == near


@pytest.mark.parametrize("word", ["xyzzy", "", "q", "do", "собака", "🐕", "two words", "Schmetterling"])
def test_nothing_is_near_a_word_of_another_kind(word):
    assert SHIPPED.near(word) == ()


def test_commoner_words_come_first_among_equally_near_ones_and_no_more_are_given_than_asked_for():
    words = KnownWords({"hat": 3, "cat": 500, "cut": 900})
    assert words.near("cet") == ("cut", "cat")
    assert words.near("cet", most=1) == ("cut",)
    assert words.near("cat") == ("cut", "hat")  # never the word itself


# --- singular --------------------------------------------------------------------------------


@pytest.mark.parametrize(("plural", "singular"), [
    ("dogs", "dog"), ("Dogs", "dog"), ("people", "person"), ("men", "man"), ("women", "woman"), ("children", "child"),
    ("knives", "knife"), ("skis", "ski"), ("buses", "bus"), ("dresses", "dress"), ("puppies", "puppy"),
    ("giraffes", "giraffe"), ("feet", "foot"), ("boxes", "box"), ("horses", "horse"),
])  # fmt: skip
def test_plurals_have_a_singular(plural, singular):
    assert SHIPPED.singular(plural) == singular


@pytest.mark.parametrize(
    "word",
    [
        "bus",
        "dress",
        "glasses",
        "pants",
        "scissors",
        "grass",
        "tennis",
        "jeans",
        "shorts",
        "sunglasses",
        "sheep",
        "his",
        "they",
        "runs",
        "sits",
        "Dog",
        "xyzzys",
        "собаки",
        "",
    ],
)
def test_other_words_stay_as_they_are(word):
    assert SHIPPED.singular(word) == word


def test_a_plural_that_is_not_in_the_list_has_the_singular_that_is():
    assert [FEW.singular(word) for word in ("giraffes", "leaves", "men", "mice")] == ["giraffe", "leaf", "man", "mice"]


def tool():
    """The module of the tool that writes the list."""
    file = Path(__file__).parents[3] / "tools" / "known_words.py"
    spec = importlib.util.spec_from_file_location("known_words", file)
    assert spec is not None and spec.loader is not None
    module = sys.modules["known_words"] = importlib.util.module_from_spec(spec)  # its records look themselves up there
    spec.loader.exec_module(module)
    return module


def test_singulars_are_of_known_nouns_that_are_not_mostly_plural():
    counts = {"dog": 5, "dogs": 25, "jean": 1, "jeans": 6, "person": 1, "people": 99, "run": 4, "runs": 4, "bus": 3,
              "glass": 9, "glasses": 9, "cats": 3, "men": 8, "man": 9, "mens": 1, "3": 1}  # fmt: skip
    found = tool().singulars_of(counts, lambda plural, singular: singular != "run")
    assert found == {"dogs": "dog", "people": "person", "men": "man"}


# --- the list --------------------------------------------------------------------------------


def test_a_list_is_read_as_it_was_written(tmp_path):
    file = tmp_path / "words.txt"
    FEW.write(file)
    assert KnownWords.from_file(file) == FEW
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines == sorted(lines) and "dogs\t20\tdog" in lines and "cafe\t3" in lines


@pytest.mark.parametrize("content", [b"dog\n", b"dog\tmany\n", b"dog\t3\tdo\tg\n", b"\xff\xfe\n", b"dog\t3\n\n"])
def test_a_damaged_list_is_an_error_that_says_where(tmp_path, content):
    (tmp_path / "words.txt").write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged after [01] words.*copy the model again"):
        KnownWords.from_file(tmp_path / "words.txt")


def test_a_list_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        KnownWords.from_file(tmp_path / "words.txt")


def test_the_bundled_list_holds_the_words_of_captions_labels_and_names():
    assert len(SHIPPED.counts) > 5000
    assert SHIPPED.counts["dog"] > SHIPPED.counts["dogs"] > SHIPPED.counts["accordion"] >= 1
    assert all(word in SHIPPED.counts for one in SHIPPED.singulars.items() for word in one)
    assert all(list(words_of(word)) == [word] for word in SHIPPED.counts)


def test_words_are_split_as_the_tokenizer_splits_them():
    found = list(words_of("A Dog's hot-dog isn't at the Café, 3 x 狗 'mp3'"))
    assert found == ["dog", "hot", "dog", "at", "the", "cafe", "mp3"]


def test_reading_words_loads_no_dictionary():
    code = (
        "import sys; from interleave_index.interface.find_mini.words import KnownWords\n"
        "words = KnownWords({'dog': 2, 'person': 3}); words.unknown('dogs people'); words.singular('people')\n"
        "print([name for name in ('inflect', 'rapidfuzz', 'torch') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
