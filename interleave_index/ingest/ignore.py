"""What a user wants left out: patterns in gitignore's form, from the settings and from ignore files beside the photos.

A file `.interleaveignore` counts for its folder and all below. As in git the last pattern that matches decides, a
pattern with `!` takes in again, one that ends in `/` means folders, and the file nearest to the photo goes first. What
lies below a folder that is left out is not looked at, so that nothing in it can be taken in again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import ConfigError, RemoteError
from ..regular import open_regular

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".interleaveignore"
MOST_BYTES = 1 << 20  # of one ignore file that are read


@dataclass(slots=True)
class Ignored:
    """Patterns of one run.

    Args:
        patterns: of the settings; they count from each root on.
    """

    patterns: Sequence[str] = ()
    _settings: GitIgnoreSpec | None = None
    _files: dict[str, GitIgnoreSpec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.patterns:
            self._settings = spec_of(self.patterns)

    def enter(self, folder: str) -> None:
        """Read the ignore file of a folder that is about to be listed; one that cannot be read counts for nothing."""
        try:
            with open_regular(os.path.join(folder, IGNORE_FILE)) as file:
                lines = file.read(MOST_BYTES).decode("utf-8", "replace").splitlines()
        except (OSError, RemoteError):
            return
        try:
            self._files[folder] = spec_of(lines)
        except ConfigError:
            return

    def cover(self, path: str, top: str, *, folder: bool) -> bool:
        """Whether a file or folder is left out.

        Args:
            path: below `top`.
            top: the root whose files are listed; ignore files above it do not count.
        """
        if self._settings is None and not self._files:
            return False
        above = os.path.dirname(path)
        while True:
            said = _said(self._files.get(above), path, above, folder)
            if said is not None:
                return said
            if above == top or len(above) <= len(top):
                break
            above = os.path.dirname(above)
        return bool(_said(self._settings, path, top, folder))


def spec_of(patterns: Sequence[str]) -> GitIgnoreSpec:
    """Compiled patterns.

    Raises:
        ConfigError: one is no pattern.
    """
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise ConfigError(f"pattern of files to leave out: {error}; expected the form of gitignore") from error


def _said(spec: GitIgnoreSpec | None, path: str, base: str, folder: bool) -> bool | None:
    """What the patterns of a folder say of a path below it; None where none matches."""
    if spec is None:
        return None
    relative = os.path.relpath(path, base).replace(os.sep, "/")
    return spec.check_file(relative + "/" if folder else relative).include
