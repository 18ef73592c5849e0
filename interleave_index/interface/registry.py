"""The models there are: one table of kinds, each with how it is recognised, described and loaded.

Everything that lists, describes or builds a model by its name goes through here; nothing else distinguishes kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InterleaveError, ModelError, WeightsMissing
from ..models.hub import local
from .find_mini import WEIGHTS

if TYPE_CHECKING:
    from ..models.segmenters.grounders import Grounders
    from .dual.proposals import Proposer
    from .protocol import Interface
    from .reranker import Reranker

NO_PROPOSALS = "none"


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of a model without building it.

    Attributes:
        what: in a few words.
        dim: D, or None where it is only known once built.
        checkpoint: SHA-256, or None where it is only known once built.
        licence: as its card says, or None.
        bytes: of its files.
        error: why it cannot be used, or None.
    """

    what: str
    dim: int | None = None
    checkpoint: str | None = None
    licence: str | None = None
    bytes: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How a model is to be built, see `load`; a kind takes what it knows of."""

    device: str  # as torch names it
    dtype: str = "auto"
    regions: str = "attention"
    proposals: str = "find-mini"
    width: int = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of model.

    Attributes:
        name: of the kind; with `locate` also the name of a model, or what stands before ``:FOLDER``.
        recognise: whether a folder with this config.json (empty where it has none) is of the kind.
        describe, load: what is known of a model of the kind, and its interface.
        locate: folder of the model that has the kind's own name, by what follows the colon; None where it has no files.
        by_points: whether it grounds by points unless the settings say otherwise.
    """

    name: str
    recognise: Callable[[dict[str, Any]], bool]
    describe: Callable[[Model], Description]
    load: Callable[[Model, LoadSettings], Interface]
    locate: Callable[[str], Path | None] | None = None
    by_points: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """A model that was named: its kind, and its files where it has any."""

    name: str
    kind: Kind
    files: local.ModelFolder | None

    @property
    def folder(self) -> Path:
        """Of its files.

        Raises:
            WeightsMissing: it has none.
        """
        if self.files is None:
            raise WeightsMissing(f"model {self.name} has no weights, expected a model with files, such as find-mini")
        return self.files.folder

    @property
    def config(self) -> dict[str, Any]:
        """Its config.json; empty where there is none."""
        return {} if self.files is None else self.files.config


# --- the kinds --------------------------------------------------------------------------------


def _load_toy(model: Model, settings: LoadSettings) -> Interface:
    from .toy import ToyInterface

    return ToyInterface()


def _locate_read(named: str) -> Path:
    from .read.interface import locate

    return locate(named)


def _load_read(model: Model, settings: LoadSettings) -> Interface:
    from .read.interface import ReadInterface

    return ReadInterface(model.folder, device=settings.device, dtype=settings.dtype)


def _describe_published(model: Model) -> Description:
    sizes = model.config["sizes"]
    return Description(
        f"FIND as published ({model.config['preset'] or sizes['backbone']['kind']}, {sizes['language']})",
        dim=sizes["interface"]["width"],
        checkpoint=model.config["checkpoint"],
        error=None if model.config["language"] else "imported without its language model, see models info",
    )


def _load_published(model: Model, settings: LoadSettings) -> Interface:
    from .published.interface import PublishedFind

    return PublishedFind.load(model.folder, device=settings.device, dtype=settings.dtype)


def _describe_family(model: Model) -> Description:
    sizes = model.config["sizes"]
    interface, is_seem = sizes["interface"], model.config["kind"] == "seem"
    what = model.config["preset"] or sizes["backbone"]["kind"]
    if is_seem:
        return Description(f"SEEM as released ({what}), which only grounds", checkpoint=model.config["checkpoint"])
    return Description(
        f"X-Decoder as released ({what})", dim=2 * interface["width"], checkpoint=model.config["checkpoint"]
    )


def _load_xdecoder(model: Model, settings: LoadSettings) -> Interface:
    from .xdecoder.interface import XDecoderInterface

    return XDecoderInterface.load(model.folder, device=settings.device, dtype=settings.dtype)


def _load_seem(model: Model, settings: LoadSettings) -> Interface:
    from .xdecoder.interface import SeemInterface

    return SeemInterface.load(model.folder, device=settings.device, dtype=settings.dtype)


def _load_pair(model: Model, settings: LoadSettings) -> Interface:
    from .published.trained import load_trained

    return load_trained(model.folder, device=settings.device)


def _describe_dual(model: Model) -> Description:
    from ..models.hub.families import dim_of, family_of

    family = model.config["model_type"]
    if not isinstance(family, str):
        raise TypeError("model_type is no name")
    if family_of(model.config) is None:
        return Description(f"{family}, no dual encoder", error=_why_no_dual(family))
    return Description(
        f"a dual encoder ({family})", dim=dim_of(model.config), checkpoint=local.checkpoint_of(model.folder)
    )


def _why_no_dual(model_type: str) -> str:
    """Why a model is no dual encoder, and which setting takes it instead."""
    from ..models.hub.families import classes_of
    from ..models.segmenters.table import settings_for

    why = f"{model_type} encodes no photos and texts together"
    if settings := settings_for(model_type):
        return f"{why}: a part for grounding; name it in {' or '.join(settings)}"
    if classes := classes_of(model_type):
        return f"{why} in this form; take a checkpoint of {' or '.join(classes)}"
    return f"{why}, and no other setting takes it"


def _load_dual(model: Model, settings: LoadSettings) -> Interface:
    from ..models.hub.dual_encoder import DualEncoder
    from ..models.hub.families import family_of
    from .dual.interface import DualInterface

    if family_of(model.config) is None:
        raise ModelError(_why_no_dual(str(model.config.get("model_type"))))
    encoder = DualEncoder(model.folder, device=settings.device, dtype=_dtype(model, settings))
    return DualInterface(encoder, load_proposer(settings.proposals, settings.device), method=settings.regions)


def _dtype(model: Model, settings: LoadSettings) -> str:
    """The setting; on a processor ``auto`` is what was measured to be best for the model, else float32."""
    if settings.dtype != "auto" or settings.device != "cpu":
        return settings.dtype
    return local.measured_dtype(local.checkpoint_of(model.folder))


def _is_interleaved(config: dict[str, Any]) -> bool:
    return config.get("model_type") in ("qwen3_vl", "embedding_gemma2")


def _describe_interleaved(model: Model) -> Description:
    from .vlm.encoder import dim_of

    what = f"an interleaved encoder ({model.config['model_type']})"
    return Description(what, dim=dim_of(model.config), checkpoint=local.checkpoint_of(model.folder))


def _load_interleaved(model: Model, settings: LoadSettings) -> Interface:
    from .vlm.encoder import InterleavedEncoder
    from .vlm.interface import VlmInterface

    dtype = _dtype(model, settings)
    encoder = InterleavedEncoder(model.folder, device=settings.device, dtype=dtype, width=settings.width)
    return VlmInterface(encoder, load_proposer(settings.proposals, settings.device), method=settings.regions)


def _describe_find_mini(model: Model) -> Description:
    if model.folder != WEIGHTS:
        return Description("a checkpoint folder")
    what = "small towers and the FIND interface, trained here; works offline on a CPU"
    return Description(what, licence="see WEIGHTS_LICENSE")


def _load_find_mini(model: Model, settings: LoadSettings) -> Interface:
    from .find_mini.interface import FindMini

    return FindMini(model.folder, device=settings.device)


XDECODER, SEEM = "xdecoder", "seem"
KINDS = (  # a folder is of the first kind that recognises it
    Kind(
        "toy",
        recognise=lambda config: False,
        describe=lambda model: Description("eight colours and no weights, for trying things out"),
        load=_load_toy,
        locate=lambda named: None,
    ),
    Kind(
        "read",
        recognise=lambda config: "READForCausalLM" in config.get("architectures", ()),
        describe=lambda model: Description("READ, which only grounds, one photo at a time"),
        load=_load_read,
        locate=_locate_read,
    ),
    Kind(
        "find-published",
        recognise=lambda config: config.get("kind") == "find-published",
        describe=_describe_published,
        load=_load_published,
    ),
    Kind(
        XDECODER,
        recognise=lambda config: config.get("kind") == XDECODER,
        describe=_describe_family,
        load=_load_xdecoder,
    ),
    Kind(
        SEEM,
        recognise=lambda config: config.get("kind") == SEEM,
        describe=_describe_family,
        load=_load_seem,
    ),
    Kind(
        "find-pair",
        recognise=lambda config: config.get("kind") == "find-pair",
        describe=lambda model: Description("a checkpoint folder"),
        load=_load_pair,
    ),
    Kind(
        "interleaved encoder",
        recognise=_is_interleaved,
        describe=_describe_interleaved,
        load=_load_interleaved,
        by_points=True,
    ),
    Kind(
        "dual encoder",
        recognise=lambda config: "model_type" in config,
        describe=_describe_dual,
        load=_load_dual,
        by_points=True,
    ),
    Kind(
        "find-mini",
        recognise=lambda config: True,
        describe=_describe_find_mini,
        load=_load_find_mini,
        locate=lambda named: WEIGHTS,
    ),
)


# --- by name ----------------------------------------------------------------------------------


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
    device = torch_device(device)
    with local.damage_in_words(name):
        interface = model.kind.load(model, LoadSettings(device, dtype, regions, proposals, width))
    helpers = [helper.strip() for helper in grounders.split(",") if helper.strip()]
    if grounding == "auto":
        grounding = "points" if model.kind.by_points or helpers else "own"
    if grounding == "own" or not interface.capabilities.encodes:
        return interface
    from .points import PointsInterface

    return PointsInterface(interface, lambda: _load_grounders(helpers, device))


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


RERANKERS = {  # class of transformers that a reranker's config.json names, and how it is built
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
    with local.damage_in_words(name):
        return build(model.folder, torch_device(device), dtype)


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
