"""Which FAISS files had the right checksum when they were last read through, so that each is read once. Knows no SQL.

The list lies beside the files and may be deleted at any time. A file is on it by its inode, size, time of the content
and time of the last change of any kind, which nobody can set back: bytes that are written to it, a copy in its place
and a restored backup are all read again.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from ..whole_files import replaced

NAME = "checked.json"
SETTLED_NS = 2_000_000_000  # clocks of file systems are coarse: a file that just changed may change again unseen

State = list[int]


def state_of(file: Path) -> State:
    """Inode, size and the two times of a file; OSError when it is gone."""
    facts = os.stat(file)
    return [facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]


def is_checked(file: Path, sha256: str, state: State) -> bool:
    """Whether a file in this state was found to have this checksum."""
    return _read(file.parent).get(file.name) == [sha256, *state]


def remember(file: Path, sha256: str, state: State) -> None:
    """Keep that a file in this state, taken before it was read, has this checksum, if the list can be written."""
    if time.time_ns() - max(state[2:]) < SETTLED_NS:
        return
    with suppress(OSError):  # then it is read again by the next process
        if state_of(file) != state:
            return
        kept = {name: row for name, row in _read(file.parent).items() if (file.parent / name).is_file()}
        kept[file.name] = [sha256, *state]
        with replaced(file.parent / NAME) as draft:
            draft.write_text(json.dumps(kept), "utf-8")


def _read(folder: Path) -> dict[str, list[object]]:
    try:
        found = json.loads((folder / NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
