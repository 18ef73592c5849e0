"""What a benchmark has measured so far, on disk, so that a stopped run goes on where it was.

One folder a run: `records.jsonl`, a head line that says what is measured of what, then one line an item; vectors
that are too large for that lie in `vectors/`, one `.npz` an item.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError

RECORDS, VECTORS = "records.jsonl", "vectors"


class Journal:
    """Records of one benchmark in one folder.

    Args:
        folder: made when it is not there.
        head: what is measured of which model with which settings; plain JSON values.
    Raises:
        InputError: the folder holds records of something else, or cannot be written to.
    """

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        self._folder, self._file = folder, folder / RECORDS
        self.records: dict[str, dict[str, Any]] = {}
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

    def add(self, key: str, record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Keep what was measured of one item; it is on disk when this returns, its vectors before its line."""
        if arrays:
            draft = self._vectors(key).with_suffix(".part")
            with open(draft, "wb") as file:
                np.savez(file, allow_pickle=False, **{name: _narrow(rows) for name, rows in arrays.items()})
            draft.replace(self._vectors(key))
        self.records[key] = dict(record)
        with open(self._file, "a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **record}) + "\n")

    def array(self, key: str, name: str) -> NDArray[Any]:
        """One array of one item, floats as float32; the others of the item are not read."""
        with np.load(self._vectors(key), allow_pickle=False) as file:
            return _wide(file[name])

    def each(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Keys and records in the order of their keys, whatever the order of the runs."""
        yield from sorted(self.records.items())

    def _read(self, head: str) -> None:
        lines = self._file.read_text(encoding="utf-8").split("\n")
        if lines[0] != head:
            was, now = json.loads(lines[0] or "{}"), json.loads(head)
            differs = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
            raise InputError(
                f"{self._folder} holds a run with other {', '.join(differs)}; name another --work, or "
                "delete that folder"
            )
        kept = [lines[0]]
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


def _narrow(rows: NDArray[Any]) -> NDArray[Any]:
    return rows.astype(np.float16) if rows.dtype == np.float32 else rows


def _wide(rows: NDArray[Any]) -> NDArray[Any]:
    return rows.astype(np.float32) if rows.dtype == np.float16 else rows
