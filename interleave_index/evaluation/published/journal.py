"""What a benchmark has measured so far, on disk, so that a stopped run goes on where it was.

One folder a run: `records.jsonl`, a head line that says what is measured of what, then one line an item; vectors
that are too large for that lie in `vectors/`, one `.npz` an item, in half precision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ...errors import InputError
from ...records import Floats
from ...whole_files import replaced

Record: TypeAlias = dict[str, Any]  # what was measured of one item: plain JSON values, and arrays
RECORDS, VECTORS = "records.jsonl", "vectors"


class Journal:
    """Records of one benchmark in one folder.

    Args:
        folder: made when it is not there.
        head: what is measured of which model with which settings; plain JSON values.
    Attributes:
        records: of each item by its key.
    Raises:
        InputError: the folder holds records of something else, or cannot be written to.
    """

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        self._folder, self._file = folder, folder / RECORDS
        self.records: dict[str, Record] = {}
        line = json.dumps(head, sort_keys=True)
        try:
            (folder / VECTORS).mkdir(parents=True, exist_ok=True)
            if self._file.exists():
                self._read(line)
            else:
                self._file.write_text(line + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"{folder} cannot be written to: {error.strerror or error}; name another --work"
            ) from error

    def add(self, key: str, measured: Record) -> None:
        """Keep what was measured of one item; it is on disk when this returns, its vectors before its line."""
        record, halves = {}, {}
        for name, value in measured.items():
            if isinstance(value, np.ndarray):
                halves[name] = value.astype(np.float16)
            else:
                record[name] = value
        if halves:
            path = self._vectors(key)
            with replaced(path) as draft, draft.open("wb") as file:  # given a path, numpy adds an ending of its own
                np.savez(file, allow_pickle=False, **halves)
        self.records[key] = record
        with open(self._file, "a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **record}) + "\n")

    def rows(self) -> list[tuple[str, Record]]:
        """Keys and records in the order of their keys, whatever the order of the runs."""
        return sorted(self.records.items())

    def values(self, name: str) -> list[Any]:
        """The entries of this name in all records, in the order of `rows`."""
        return [record[name] for _, record in self.rows()]

    def pooled(self, name: str) -> list[Any]:
        """The lists of this name in all records as one, in the order of `rows`."""
        return list(chain.from_iterable(self.values(name)))

    def arrays(self, name: str, part: slice = slice(None)) -> list[Floats]:
        """The arrays of this name of all items or a part of them, in the order of `rows`."""
        return self.arrays_of([key for key, _ in self.rows()[part]], name)

    def arrays_of(self, keys: Sequence[str], name: str) -> list[Floats]:
        """The arrays of this name of some items, in their order."""
        arrays = []
        for key in keys:
            with np.load(self._vectors(key), allow_pickle=False) as file:
                arrays.append(file[name].astype(np.float32))
        return arrays

    def _read(self, head: str) -> None:
        lines = self._file.read_text(encoding="utf-8").split("\n")
        if lines[0] != head:
            before, now = json.loads(lines[0] or "{}"), json.loads(head)
            differs = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
            raise InputError(
                f"{self._folder} holds a run with other {', '.join(differs)}; name another --work, or "
                "delete that folder"
            )
        kept = [head]
        for line in lines[1:]:
            try:
                record = json.loads(line)
            except ValueError:
                continue  # the line that was being written when the run was killed
            self.records[record.pop("key")] = record
            kept.append(line)
        self._file.write_text("\n".join(kept) + "\n", encoding="utf-8")

    def _vectors(self, key: str) -> Path:
        return self._folder / VECTORS / f"{hashlib.sha1(key.encode()).hexdigest()}.npz"
