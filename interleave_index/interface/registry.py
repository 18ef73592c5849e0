"""Models by their names: finding, describing and building them. What kinds there are stands in `kinds`.

Everything that lists, describes or builds a model by its name goes through here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..errors import InterleaveError, ModelError, WeightsMissing
from ..models.hub import local
from .kinds import KINDS, SEEM, XDECODER, Description, LoadSettings, Model
from .reranker import Reranker

if TYPE_CHECKING:
    from ..models.segmenters.grounders import Grounders
    from .dual.proposals import Proposer
    from .protocol import Interface

NO_PROPOSALS = "none"


def names() -> list[str]:
    """Interfaces that work without any download."""
    return ["find-mini", "toy"]


def find(name: str) -> Model:
    """The model that a name means; opens no connection.

    Raises:
        WeightsMissing: there is none of this name, or it was not pulled.
    """
    own_name, _, named = name.partition(":")
    for kind in KINDS:
        if kind.locate is not None and kind.name == own_name:
            folder = kind.locate(named)
            return Model(name, kind, None if folder is None else local.describe(folder))
    if not Path(name).is_dir() and not local.is_hub_name(name) and not local.is_imported(name):
        raise WeightsMissing(
            f"no model {name!r}, expected one of {', '.join(names())}, the folder of a model, or owner/name of a hub"
        )
    files = local.describe(local.find(name))
    with local.damage_in_words(name):
        kind = next(kind for kind in KINDS if kind.recognise(files.config))
    return Model(name, kind, files)


def describe(name: str) -> Description:
    """What is known of a model without building it; its `error` is why it cannot be used, or None."""
    try:
        model = find(name)
        description = model.kind.describe(model)
    except InterleaveError as error:
        return Description("not here", error=str(error))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # a config.json comes from anywhere: one that lacks what its kind needs must not hide the other models
        return Description("not here", error=f"config.json of {name} is damaged: {error!r}; get the model again")
    if model.files is None:
        return description
    return replace(description, bytes=model.files.bytes, licence=description.licence or model.files.licence)


def load(
    name: str = "find-mini",
    *,
    device: str = "auto",
    offline: bool = False,
    dtype: str = "auto",
    regions: str = "attention",
    proposals: str = "find-mini",
    grounding: str = "auto",
    grounders: str = "",
    width: int = 0,
) -> Interface:
    """Build an interface. Opens no connection.

    Args:
        name: ``find-mini``, ``toy``, the folder that `interleave-index train` wrote or that of a checkpoint as a
            hub holds it, or the name of a model that was pulled or imported; ``read`` or ``read:FOLDER`` for READ,
            which only grounds.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        offline: never touch the network; loading does not, with or without it.
        dtype: of a model from a hub or of READ: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        regions: how a model from a hub makes region vectors: ``attention``, ``patches`` or ``crop``.
        proposals: name of the interface, or of the segmenter, whose masks become the regions of a model from a hub.
        grounding: how a photo is looked at exactly: ``own``, ``points``, or ``auto``, which takes points for a dual
            encoder and where grounders are named.
        grounders: names or folders of models that segment or detect, by commas; loaded when first needed.
        width: how many numbers of a vector of an interleaved encoder are kept; 0 keeps all.
    Raises:
        WeightsMissing: no such name or folder, or one that was not pulled.
        ModelError: the device is not there.
        BackendMissing: the model needs a package that is not installed.
    """
    model = find(name)
    if model.kind.on_torch or device != "auto":  # without a network torch takes longer to import than all else
        device = torch_device(device)
    settings = LoadSettings(device, dtype, regions, width, lambda: load_proposer(proposals, device))
    with local.damage_in_words(name):
        interface = model.kind.load(model, settings)
    helpers = _named(grounders)
    if grounding == "auto":
        grounding = "points" if model.kind.by_points or helpers else "own"
    if grounding == "own" or not interface.capabilities.encodes:
        return interface
    from .points import PointsInterface

    return PointsInterface(interface, lambda: _load_grounders(helpers, torch_device(device)))


def load_marker(name: str, *, device: str = "auto") -> Interface | None:
    """What masks marks on a photo, where the name is that of a segmenter and of nothing else; None for other models.

    Args:
        name: an interface such as ``find-mini``, or a folder or pulled model of `models.segmenters.table`.
    Raises:
        WeightsMissing, ModelError, BackendMissing: it cannot be built.
    """
    from ..models.segmenters.table import proposing_part

    model = find(name)
    part = proposing_part(str(model.config.get("model_type")))
    if part is None:
        return None
    from .segmenter import SegmenterInterface

    device = torch_device(device)
    with local.damage_in_words(name):
        return SegmenterInterface(name, part.build(model.folder, device=device), device=device)


def check_grounders(names: str) -> None:
    """Whether models that are named to help with grounding are here and can help; builds none.

    Args:
        names: as the `grounders` of `load`.
    Raises:
        WeightsMissing, ModelError, ConfigError: one is not here, or helps with nothing.
    """
    from ..models.segmenters.grounders import find_grounder

    for name in _named(names):
        with local.damage_in_words(name):
            if not _released_kind(name):
                find_grounder(name)


def _named(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _load_grounders(names: list[str], device: str) -> Grounders:
    """The grounders by name; a released SEEM or X-Decoder helps with what no other model is named for."""
    from ..models.segmenters.grounders import load_grounders

    released = [name for name in names if _released_kind(name)]
    with local.damage_in_words(", ".join(names)):
        grounders = load_grounders([name for name in names if name not in released], device=device)
    for name in released:
        from .xdecoder.parts import with_released

        grounders = with_released(grounders, find(name).folder, device)
    return grounders


def _released_kind(name: str) -> bool:
    return (Path(name).is_dir() or local.is_imported(name)) and find(name).kind.name in (XDECODER, SEEM)


def load_proposer(name: str, device: str) -> Proposer:
    """What makes masks of everything: an interface by its regions, or a segmenter.

    Args:
        name: an interface such as ``find-mini``, an imported SEEM, or a folder or pulled model that
            `models.segmenters.table` says proposes: of the SAM family, or a universal segmenter such as Mask2Former;
            ``none`` for photos as a whole.
        device: where it runs, as torch names it.
    Raises:
        WeightsMissing, ModelError, BackendMissing: it cannot be built.
    """
    from ..models.segmenters.table import proposing_part
    from .dual.proposals import AutomaticMasks, InterfaceProposals, NoProposals, UniversalMasks

    if name == NO_PROPOSALS:
        return NoProposals()
    model = find(name)
    if model.kind.name == SEEM:
        from .xdecoder.interface import SeemInterface
        from .xdecoder.parts import SeemProposals

        return SeemProposals(SeemInterface.load(model.folder, device=device))
    part = proposing_part(str(model.config.get("model_type")))
    if part is None:
        return InterfaceProposals(load(name, device=device, grounding="own"))
    named = f"{model.folder.name} {local.checkpoint_of(model.folder)[:8]}"
    with local.damage_in_words(name):
        segmenter = part.build(model.folder, device=device)
    return AutomaticMasks(segmenter, named) if part.proposes == "prompts" else UniversalMasks(segmenter, named)


def _qwen_reranker(folder: Path, device: str, dtype: str) -> Reranker:
    from .vlm.reranker import QwenReranker

    return QwenReranker(folder, device=device, dtype=dtype)


def _blip_matcher(folder: Path, device: str, dtype: str) -> Reranker:
    from .dual.matching import BlipMatcher

    return BlipMatcher(folder, device=device, dtype=dtype)


BuildReranker: TypeAlias = Callable[[Path, str, str], Reranker]
RERANKERS: dict[str, BuildReranker] = {  # by the class of transformers that a reranker's config.json names
    "Qwen3VLForConditionalGeneration": _qwen_reranker,
    "BlipForImageTextRetrieval": _blip_matcher,
}


def load_reranker(name: str, *, device: str = "auto", dtype: str = "auto") -> Reranker:
    """A model that is shown a query and a photo together and says whether they fit. Opens no connection.

    Args:
        name: a folder, or a pulled model such as ``Qwen/Qwen3-VL-Reranker-2B`` or ``Salesforce/blip-itm-base-coco``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
    Raises:
        WeightsMissing, ModelError, BackendMissing: it cannot be built.
    """
    model, build = _find_reranker(name)
    with local.damage_in_words(name):
        return build(model.folder, torch_device(device), dtype)


def check_reranker(name: str) -> None:
    """Whether a model is here and reranks, as `load_reranker` says it; builds nothing.

    Raises:
        WeightsMissing, ModelError: it is not, or does not.
    """
    _find_reranker(name)


def _find_reranker(name: str) -> tuple[Model, BuildReranker]:
    model = find(name)
    if not model.config:
        raise WeightsMissing(f"models.reranker names {name}, which has no config.json, expected a model with files")
    named = model.config.get("architectures") or []
    build = next((RERANKERS[kind] for kind in named if kind in RERANKERS), None)
    if build is None:
        raise ModelError(
            f"models.reranker names {name}, which holds a model of type {model.config.get('model_type')!r}, expected "
            f"{' or '.join(RERANKERS)} such as Qwen/Qwen3-VL-Reranker-2B"
        )
    return model, build


def torch_device(name: str) -> str:
    """The device that a setting names, as torch names it.

    Raises:
        ModelError: it is not there.
    """
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there.get(name, False):
        raise ModelError(
            f"device {name!r} is not available here, expected auto or one of "
            f"{', '.join(kind for kind, on in there.items() if on)}"
        )
    return name
