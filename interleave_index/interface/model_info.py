"""What is known of a model without building it: for lists of models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import InterleaveError
from ..models.hub import local


@dataclass(frozen=True, slots=True)
class Described:
    """One model by name.

    Attributes:
        what: in a few words.
        folder: of its files, or None when it has none.
        dim: D, or None where only building tells.
        checkpoint: SHA-256, or None where only building tells.
        licence: as its card says, or None.
        bytes: of its files.
        error: why it cannot be used, or None.
    """

    what: str
    folder: Path | None = None
    dim: int | None = None
    checkpoint: str | None = None
    licence: str | None = None
    bytes: int = 0
    error: str | None = None


def describe(name: str, bundled: dict[str, Path]) -> Described:
    """What is known of a bundled model, a folder or a pulled model.

    Args:
        name: as `load` takes it.
        bundled: folders by name.
    """
    if name == "toy":
        return Described("no weights")
    try:
        folder = bundled[name] if name in bundled else local.find(name)
        facts = local.describe(folder)
        if name in bundled:
            return Described("comes with the package", folder, bytes=facts.bytes, licence="see WEIGHTS_LICENSE")
        return _of_folder(facts)
    except InterleaveError as trouble:
        return Described("not here", error=str(trouble))


def _of_folder(facts: local.Pulled) -> Described:
    if facts.config.get("kind") == "find-published":
        sizes = facts.config["sizes"]
        return Described(
            f"FIND as published ({facts.config['preset'] or sizes['backbone']['kind']}, {sizes['language']})",
            facts.folder,
            dim=sizes["interface"]["width"],
            licence=facts.licence,
            bytes=facts.bytes,
            checkpoint=facts.config["checkpoint"],
            error=None if facts.config["language"] else "imported without its language model, see models info",
        )
    family = facts.config.get("model_type")
    if family is None:
        return Described("a checkpoint folder", facts.folder, licence=facts.licence, bytes=facts.bytes)
    from ..models.hub.dual_encoder import checkpoint_of, dim_of, family_of

    known = family_of(facts.config) is not None
    return Described(
        f"a dual encoder ({family})" if known else f"{family}, no dual encoder",
        facts.folder,
        dim=dim_of(facts.config) if known else None,
        licence=facts.licence,
        bytes=facts.bytes,
        checkpoint=checkpoint_of(facts.folder) if known else None,
        error=None if known else f"{family} encodes no photos and texts together: a part for grounding, if anything",
    )
