"""Sets of models that fit together, each called by a word; `sets.yaml` is the table. Opens no connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ...errors import ConfigError, WeightsMissing
from .local import find, home, is_hub_name

TABLE = Path(__file__).with_name("sets.yaml")
Use = Literal["encoder", "proposals", "grounder", "reranker"]


@dataclass(frozen=True, slots=True)
class Member:
    """One model of a set.

    Attributes:
        name: of the hub, or of an interface that needs no download.
        uses: what it is for in the set.
        mib: size of the download, about; 0 where there is none.
        licence: as its card says, or empty.
        gflop: billions of operations a photo, a look or a pair, about, or these by use; 0 where it is not known.
        unread: which of ``size`` and ``licence`` were not read on the model's own page.
    """

    name: str
    uses: tuple[Use, ...]
    mib: int = 0
    licence: str = ""
    gflop: float | Mapping[Use, float] = 0.0
    unread: Sequence[str] = ()

    def operations(self, use: Use) -> float:
        """How many it takes for one use, about; 0 where it is not known."""
        return 1e9 * (self.gflop.get(use, 0.0) if isinstance(self.gflop, Mapping) else self.gflop)

    @property
    def is_here(self) -> bool:
        """Whether it can be loaded without a download."""
        if not is_hub_name(self.name):
            return True
        try:
            find(self.name)
        except WeightsMissing:
            return False
        return True


@dataclass(frozen=True, slots=True)
class ModelSet:
    """An encoder, and what goes with it.

    Attributes:
        name: the word.
        what: whom it is for.
        members: the encoder first, each model once.
    """

    name: str
    what: str
    members: tuple[Member, ...]

    def settings(self) -> dict[str, str]:
        """The settings of `models` that the set stands for: `interface`, `proposals`, `grounders`, `reranker`."""
        of: dict[Use, list[str]] = {"encoder": [], "proposals": [], "grounder": [], "reranker": []}
        for member in self.members:
            for use in member.uses:
                of[use].append(member.name)
        return {
            "interface": of["encoder"][0],
            "proposals": of["proposals"][0],
            "grounders": ",".join(of["grounder"]),
            "reranker": ",".join(of["reranker"]),
        }

    def lacking(self) -> list[Member]:
        """Models that are not on this machine."""
        return [member for member in self.members if not member.is_here]


def names() -> list[str]:
    """The words, in the order of the table."""
    return list(_tables(home())["sets"])


def find_set(name: str) -> ModelSet | None:
    """The set of a word, or None.

    Raises:
        ConfigError: the table is damaged.
    """
    tables = _tables(home())
    row = tables["sets"].get(name)
    if row is None:
        return None
    try:
        uses: dict[str, list[Use]] = {str(row["encoder"]): ["encoder"]}
        uses.setdefault(str(row.get("proposals", "find-mini")), []).append("proposals")
        for grounder in row.get("grounders", ()):
            uses.setdefault(str(grounder), []).append("grounder")
        if row.get("reranker"):
            uses.setdefault(str(row["reranker"]), []).append("reranker")
        members = tuple(Member(model, tuple(of), **tables["models"].get(model, {})) for model, of in uses.items())
        return ModelSet(name, str(row.get("what", "")), members)
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"the set {name!r} in {' or '.join(str(file) for file in _files(home()))} is damaged ({error!r}); "
            "expected encoder, proposals, grounders and reranker by name"
        ) from error


def _files(place: Path) -> list[Path]:
    """The tables in their order: what stands in a later one counts."""
    return [TABLE, place / "sets.yaml"]


def _tables(place: Path) -> dict[str, dict[str, Any]]:
    joined: dict[str, dict[str, Any]] = {"models": {}, "sets": {}}
    for file in _files(place):
        if file.is_file():
            for part, rows in _table(file, file.stat().st_mtime_ns).items():
                joined[part] |= rows
    return joined


@cache
def _table(file: Path, changed: int) -> Mapping[str, dict[str, Any]]:
    """What a file holds; `changed` is when it was written last."""
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        return {part: dict(content.get(part) or {}) for part in ("models", "sets")}
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        words = " ".join(str(error).split())[:200]
        raise ConfigError(f"{file} is no table of sets ({words}); expected models and sets, each with rows") from error
