"""The kinds of models there are: one table, each with how it is recognised, described and loaded. Knows no names.

Nothing else distinguishes kinds; `registry` finds a model by its name and looks its kind up here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, WeightsMissing
from ..models.hub import local
from .find_mini import WEIGHTS

if TYPE_CHECKING:
    from .dual.proposals import Proposer
    from .protocol import Interface


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
    """How a model is to be built, see `registry.load`; a kind takes what it knows of.

    Attributes:
        device: as torch names it.
        dtype, regions, width: see `registry.load`.
        open_proposer: builds what finds the masks that become regions of a model from a hub.
    """

    device: str
    dtype: str
    regions: str
    width: int
    open_proposer: Callable[[], Proposer]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of model.

    Attributes:
        name: of the kind; with `locate` also the name of a model, or what stands before ``:FOLDER``.
        recognise: whether a folder with this config.json (empty where it has none) is of the kind.
        describe, load: what is known of a model of the kind, and its interface.
        locate: folder of the model that has the kind's own name, by what follows the colon; None where it has no files.
        by_points: whether it grounds by points unless the settings say otherwise.
        on_torch: whether it is a network, which runs on a device.
    """

    name: str
    recognise: Callable[[dict[str, Any]], bool]
    describe: Callable[[Model], Description]
    load: Callable[[Model, LoadSettings], Interface]
    locate: Callable[[str], Path | None] | None = None
    by_points: bool = False
    on_torch: bool = True


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
    return DualInterface(encoder, settings.open_proposer(), method=settings.regions)


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
    return VlmInterface(encoder, settings.open_proposer(), method=settings.regions)


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
        on_torch=False,
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
