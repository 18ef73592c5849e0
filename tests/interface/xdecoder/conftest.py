"""Tiny imported models of the family."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interface.xdecoder import family_toys as toys


@pytest.fixture(scope="session")
def family_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("family")
    toys.imported(home, "xdecoder-tiny", toys.tiny_sizes("xdecoder", None))
    for version in ("v0", "v1", "demo"):
        toys.imported(home, f"seem-tiny-{version}", toys.tiny_sizes("seem", version))
    toys.imported(home, "seem-sam-tiny-v1", toys.tiny_sizes("seem", "v1", sam=True))
    return home
