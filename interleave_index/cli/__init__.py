"""The command line: a thin layer over `Index`, training, evaluation and the demo.

`main` turns what the package raises into one line and an exit status; nothing else decides statuses:
0 done, 1 an error of ours (or `verify` found one), 2 wrong usage, 3 done but some files were skipped, 130 Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..errors import InterleaveError, QueryError
from ..threads import spin_briefly

__all__ = ["main"]

BROKEN_PIPE, INTERRUPTED = 141, 130


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave with its status.

    Args:
        arguments: words after the program's name; None takes those of the process.
    Raises:
        SystemExit: always.
    """
    spin_briefly()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a stream that was replaced by a plain object
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        from .app import app  # takes a good part of a second, in which Ctrl-C may come

        app(args=None if arguments is None else list(arguments), prog_name="interleave-index")
    except InterleaveError as error:
        _leave(1, f"error: {_one_line(error)}")
    except KeyboardInterrupt:
        _leave(INTERRUPTED, "stopped")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at exit must not fail again
        _leave(BROKEN_PIPE)
    except OSError as error:
        _leave(1, f"error: {_os_line(error)}")
    _leave(0)


def _one_line(error: InterleaveError) -> str:
    if isinstance(error, QueryError):  # it counts columns of the query: none of its blanks may fall away
        return "".join(" " if character.isspace() else character for character in str(error))
    return " ".join(str(error).split())


def _os_line(error: OSError) -> str:
    """What the operating system says, in words: no number, and the files that it is about.

    >>> _os_line(PermissionError(13, "Permission denied", "/photos/a.jpg"))
    '/photos/a.jpg: permission denied'
    """
    words = (error.strerror or str(error) or type(error).__name__).lower()
    files = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return " ".join(f"{' and '.join(files)}: {words}".removeprefix(": ").split())


def _leave(status: int, line: str = "") -> NoReturn:
    if line:
        print(line, file=sys.stderr)
    sys.exit(status)
