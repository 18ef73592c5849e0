"""Names of catalogs and folders on the machines of a cluster, addresses, and what is said without Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from interleave_index.cluster import session
from interleave_index.cluster.ingesting import Stages
from interleave_index.cluster.places import is_shared, library_name, own_slot, parts_folder, with_folder
from interleave_index.errors import BackendMissing, ConfigError, StorageError

URL = "postgresql+psycopg://ann:secret@db.lan/photos?sslmode=require&folder=/srv/a"


def test_a_catalog_in_a_database_gets_the_folder_of_each_machine():
    assert with_folder(URL, Path("/x/y")) == "postgresql+psycopg://ann:secret@db.lan/photos?folder=/x/y&sslmode=require"
    assert with_folder("/srv/photos.index", Path("/x")) == "/srv/photos.index"
    assert is_shared(URL) and not is_shared("/srv/photos.index")


def test_a_library_has_one_name_whoever_asks():
    other = "postgresql+psycopg://bob@db.lan/photos?folder=/elsewhere"
    assert library_name(URL) == library_name(other) == library_name(URL)
    assert "secret" not in library_name(URL) and library_name(URL) != library_name(URL.replace("/photos", "/films"))


def test_a_place_is_one_processs_until_it_ends_and_is_found_again(tmp_path):
    with own_slot(tmp_path) as first, own_slot(tmp_path) as second:
        assert first != second
        with own_slot(tmp_path) as third:
            assert third not in (first, second)
    with own_slot(tmp_path) as again:
        assert again == first
    with pytest.raises(ValueError, match="of the body"), own_slot(tmp_path):
        raise ValueError("of the body")


def test_a_folder_that_cannot_be_used_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    refused = pytest.raises(StorageError, match=r"folder of parts .*file.* cannot be used.*INTERLEAVE_PARTS")
    with refused, own_slot(tmp_path / "file"):
        pass
    monkeypatch.setenv("INTERLEAVE_PARTS", str(tmp_path))
    assert parts_folder() == tmp_path


@pytest.mark.parametrize("address", ["", "remote", "host:", "host:0", "host:99999", ":6379"])
def test_an_address_that_can_be_none_is_refused(address):
    with pytest.raises(ConfigError, match=r"expected local, auto, or host:port"):
        session.check_address(address)


def test_an_address_where_nobody_listens_is_said_at_once():
    with pytest.raises(ConfigError, match=r"no cluster of Ray answers at '127\.0\.0\.1:1'.*ray start --head"):
        session._check_reachable("127.0.0.1:1")


def test_without_ray_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BackendMissing, match=r'ray is not installed.*pip install "interleave-index\[ray,postgres\]"'):
        session.load_ray("data")


def test_a_folder_of_one_machine_is_no_catalog_of_several(monkeypatch):
    class Ray:
        @staticmethod
        def nodes():
            return [{"NodeManagerHostname": "elsewhere", "Alive": True}]

    with pytest.raises(ConfigError, match=r"lies in a folder of this machine, and the cluster has elsewhere too"):
        session.check_catalog(Ray, "/srv/photos.index")
    session.check_catalog(Ray, URL)


def test_stages_leave_room_for_each_other():
    for cpus in ([1.0], [2.0, 2.0, 2.0], [16.0, 8.0], [0.0, 4.0]):
        stages = Stages.of(cpus, 0)
        largest = max(cpus)
        assert stages.model_cpus + stages.decode_cpus <= largest and stages.models >= 1
    assert Stages.of([8.0, 8.0], 3).models == 3


def test_nothing_loads_ray_before_it_is_used():
    modules = "partition, scatter, serving, ingesting, session"
    code = f"import sys; from interleave_index.cluster import {modules}; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
