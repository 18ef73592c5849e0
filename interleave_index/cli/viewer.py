"""Opening files in the viewer of the system, which runs on by itself. Knows no index."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError

LINUX = ("xdg-open", "wslview", "gio open")
_still_open: list[subprocess.Popen[bytes]] = []  # Python warns of a process that is let go before it has ended
WAITED = 2.0  # seconds for the starters, which end as soon as they have found a viewer


def system_viewer() -> list[str]:
    """The command that opens a file in whatever shows it here; empty on Windows, which has a call for that.

    Raises:
        InputError: there is none, or no screen that it could open a window on.
    """
    if sys.platform == "win32":
        return []
    if sys.platform == "darwin":
        return ["open"]
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise InputError("--open needs a screen, and neither DISPLAY nor WAYLAND_DISPLAY is set; leave it out")
    for command in LINUX:
        program, *words = command.split()
        found = shutil.which(program)
        if found is not None:
            return [found, *words]
    raise InputError(f"--open needs one of {', '.join(LINUX)}, and none is installed; install xdg-utils")


def open_files(viewer: Sequence[str], files: Sequence[Path]) -> None:
    """Show files, each in a window of its viewer, and do not wait for these.

    Args:
        viewer: as `system_viewer` gives it.
        files: that are there.
    Raises:
        InputError: the viewer cannot be started, or says at once that it cannot show one of them.
    """
    if sys.platform == "win32":
        for file in files:
            os.startfile(file)
        return
    deadline = time.monotonic() + WAITED
    for file, started in [(file, _start(viewer, file)) for file in files]:
        try:
            status = started.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:  # it is the viewer itself, and stays
            _still_open.append(started)
            continue
        if status:
            raise InputError(f"{viewer[0]} cannot show {file} (status {status}); is a viewer for such files installed?")


def _start(viewer: Sequence[str], file: Path) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [*viewer, os.path.abspath(file)],  # absolute, so that no name is taken for an option
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise InputError(f"{viewer[0]} cannot be started: {error.strerror or error}") from error
