"""Writing a file whole or not at all: a draft beside it takes its place when everything is written."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME_KEPT = 48  # characters of the name in the draft's, so that it stays within the 255 bytes that file systems take


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """The path of a draft that takes the place of a file when the block ends well.

    The draft lies in the same folder under a name of its own, so that several processes and threads may write one file
    at once; the last one stays. It takes over the permissions of a file that is there. Whoever reads sees the old
    content or the new, never a part. When the block or the exchange fails, the draft is removed and `target` is as it
    was. What is written is whole even if the process is killed, but not if the machine loses power.

    Args:
        target: in a folder that is there. A link is replaced itself, not what it points to.
    Raises:
        OSError: the draft cannot be put in its place, or was not written.
    """
    draft = target.with_name(f".{target.name[:NAME_KEPT]}.{secrets.token_hex(6)}.tmp")
    try:
        yield draft
        with suppress(FileNotFoundError):  # a new file, or a draft that was not written: the exchange says so
            mode = stat.S_IMODE(target.stat().st_mode)
            if mode != stat.S_IMODE(draft.stat().st_mode):  # some file systems have one mode, and refuse to be told any
                draft.chmod(mode)
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
