import os

import pytest

from interleave_index.errors import InputError
from interleave_index.paths import user_path


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_tilde_is_the_home_folder_unless_a_file_has_that_name(home):
    assert user_path("~/photos") == f"{home}/photos"
    assert user_path("~") == str(home)
    (home / "~").mkdir()
    assert user_path("~") == "~"


def test_a_home_folder_that_nobody_has_is_an_error(home):
    with pytest.raises(InputError, match="~nobody-has-this"):
        user_path("~nobody-has-this/photos")


def test_a_name_that_only_begins_with_a_tilde_stays(home):
    assert user_path("~$draft.jpg") == "~$draft.jpg"


def test_file_urls_are_paths(home):
    assert user_path("file:///a%20b/%C3%A9.jpg") == "/a b/é.jpg"
    assert user_path("FILE://localhost/a.jpg") == "/a.jpg"
    with pytest.raises(InputError, match="machine 'nas'"):
        user_path("file://nas/a.jpg")


def test_percent_signs_are_decoded_only_where_that_leads_to_a_file(home):
    assert user_path("a%20b.jpg") == "a%20b.jpg"
    (home / "a b.jpg").touch()
    assert user_path("a%20b.jpg") == "a b.jpg"
    (home / "a%20b.jpg").touch()
    assert user_path("a%20b.jpg") == "a%20b.jpg"


def test_bytes_that_are_not_utf8_come_back(home):
    (home / os.fsdecode(b"caf\xe9.jpg")).touch()
    assert os.fsencode(user_path("caf%E9.jpg")) == b"caf\xe9.jpg"


@pytest.mark.parametrize(
    "text", ["https://host/a%20b.jpg", "sqlite:///x", "//server/share/a.jpg", "C:\\photos", "a.jpg"]
)
def test_everything_else_stays_as_it_is(home, text):
    assert user_path(text) == text


@pytest.mark.parametrize("path", ["\\\\nas\\photos\\a.jpg", "smb://nas/photos/a.jpg", "NFS://nas/photos"])
def test_a_share_is_told_to_be_mounted(path):
    with pytest.raises(InputError, match="share of the machine 'nas', expected the path of the folder where"):
        user_path(path)
