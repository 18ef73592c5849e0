import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interleave_index.export.files import printable, safe_name, to_json_text


def test_a_name_that_is_not_utf8_comes_back_byte_for_byte():
    path = os.fsdecode(b"/pics/caf\xe9 \xf0\x9f\x90\xb1.jpg")
    text = to_json_text({"path": path})
    assert text.isascii() and os.fsencode(json.loads(text)["path"]) == b"/pics/caf\xe9 \xf0\x9f\x90\xb1.jpg"


def test_numbers_that_json_does_not_know_become_null_and_numpy_scalars_are_plain():
    value = {"a": [np.float32("nan"), np.int64(3), float("inf")], "b": (np.float32(0.5),)}
    assert json.loads(to_json_text(value)) == {"a": [None, 3, None], "b": [0.5]}
    assert json.loads(to_json_text(np.bool_(True))) is True


def test_what_is_no_json_value_is_refused():
    with pytest.raises(TypeError, match="set"):
        to_json_text({1, 2})


@given(st.text())
def test_a_safe_name_has_only_letters_digits_and_dashes(text):
    name = safe_name(text)
    assert 1 <= len(name) <= 40 and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and name[0] != "-"


@given(st.text(alphabet=st.characters(codec=None)))
def test_printable_text_can_always_be_written_as_utf8_without_control_characters(text):
    shown = printable(text).encode("utf-8").decode()
    assert "\n" not in shown and "\u202e" not in shown and "\x00" not in shown


def test_emoji_that_are_joined_stay_joined():
    assert printable("👨‍👩‍👧.jpg") == "👨‍👩‍👧.jpg"
