"""The fixtures of ingest and storage, for cases that cross both."""

from __future__ import annotations

from tests.storage.conftest import library as library
