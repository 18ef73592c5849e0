"""Released files of any family into folders that can be used as models: which family it is, its keys tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from ..errors import InputError
from ..models.hub import local
from .published import importing as find
from .published.folder import KIND as FIND
from .published.importing import Imported, Release, Sides, take_in
from .xdecoder import importing as family
from .xdecoder.config import Version
from .xdecoder.keys import is_family


def import_released(
    file: Path,
    name: str,
    *,
    language: str | None = None,
    heads: int = 8,
    sides: Sides = (None, None),
    seem_version: Version | None = None,
    home: Path | None = None,
) -> Imported:
    """Read a released file of FIND, X-Decoder or SEEM and write a model folder; see `take_in`.

    Args:
        heads: attention heads, which no tensor shows.
        sides: shorter and longest side that photos are resized to; None takes the one published for the model.
        seem_version: of a file of SEEM, which no tensor shows either.
    Raises:
        InputError: a version is missing, or given for another family.
        KeysDoNotFit, ModelError, WeightsMissing: as `take_in`.
    """

    def release_of(state: Mapping[str, Tensor]) -> Release:
        if is_family(state):
            return family.release(state, seem_version, heads, sides)
        if seem_version is not None:
            raise InputError(f"--seem-version is {seem_version}, and {file.name} is no file of SEEM; leave it out")
        return find.find_release(state, heads, sides)

    return take_in(file, name, release_of, language=language, home=home)


def prepare_released(
    folder: Path, *, device: str = "cpu", progress: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Make what an imported model makes once of its own texts: class table and banks."""
    kind = local.read_config(folder).get("kind")
    (find.prepare if kind == FIND else family.prepare)(folder, device=device, progress=progress)
