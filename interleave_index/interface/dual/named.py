"""A proposer by name: an interface, or a promptable segmenter that is asked for everything."""

from __future__ import annotations

from ...models.hub import local
from .automatic import AutomaticMasks
from .proposals import InterfaceProposals, Proposer


def named_proposer(name: str, *, device: str = "cpu", offline: bool = False) -> Proposer:
    """What `models.proposals` names.

    Args:
        name: an interface such as ``find-mini``, or a folder or pulled model of the SAM family.
        device: where it runs.
    Raises:
        WeightsMissing, ModelError, BackendMissing: it cannot be built.
    """
    from ...models.segmenters.sam import KINDS, SamSegmenter
    from ..registry import load, names

    if name not in names():
        folder = local.find(name)
        facts = local.describe(folder)
        if facts.config.get("model_type") in KINDS:
            checkpoint = facts.files.get("model.safetensors") or local.sha256_of(folder / "model.safetensors")
            return AutomaticMasks(SamSegmenter(folder, device=device), f"{folder.name} {checkpoint[:8]}")
    return InterfaceProposals(load(name, device=device, offline=offline))
