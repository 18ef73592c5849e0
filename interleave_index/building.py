"""Models as the settings name them: the one place where words of settings become loaded models. Knows no index."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from .config import Config
from .errors import WeightsMissing
from .paths import user_path

if TYPE_CHECKING:
    from .interface.protocol import Interface
    from .interface.reranker import Reranker
    from .segmentation.classes import SegmentClass
    from .segmentation.segmenters import Segmenter

OWN_MODELS = ("find-mini", "toy", "read")  # names of models that are no words for sets


def expand_set(config: Config, *, check: bool = False) -> Config:
    """Settings in which a word for a set of models, as `models.interface`, has become the models of the set.

    Args:
        check: whether models of the set that are not here are an error at once.
    Raises:
        WeightsMissing: they are not here.
        ConfigError: the table of sets is damaged.
    """
    word = config.models.interface
    if word in OWN_MODELS or "/" in word or ":" in word or os.path.isdir(word):
        return config
    from .models.hub.local import is_imported
    from .models.hub.sets import find_set

    chosen = None if is_imported(word) else find_set(word)
    if chosen is None:
        return config
    lacking = [member.name for member in chosen.lacking()] if check else []
    if lacking:
        raise WeightsMissing(
            f"the set {word} is not whole on this machine, it lacks {', '.join(lacking)}; "
            f"get it with: interleave-index models pull {word}"
        )
    return config.with_flags(**{f"models_{key}": name for key, name in chosen.settings().items() if name})


def build_interface(config: Config) -> Interface:
    """The model that the settings name.

    Raises:
        WeightsMissing, BackendMissing, ConfigError: it cannot be built.
    """
    from .interface.registry import load

    settings = asdict(expand_set(config).models)
    for name in ("interface", "proposals"):
        settings[name] = user_path(settings[name])  # a folder may be meant
    settings["grounders"] = _user_paths(settings["grounders"])
    del settings["reranker"]
    return load(settings.pop("interface"), **settings)


def build_marker(config: Config) -> Interface | None:
    """What masks marks on photos, where `models.interface` names a segmenter such as SAM, and no interface; else None.

    Raises:
        WeightsMissing, BackendMissing, ModelError: it cannot be built.
    """
    from .interface.registry import load_marker

    return load_marker(user_path(config.models.interface), device=config.models.device)


def build_segmenter(config: Config, classes: Sequence[SegmentClass] | None = None) -> Segmenter:
    """What segments whole photos by the model that the settings name, which may also be a universal segmenter.

    Args:
        classes: what is looked for; None takes those of the model, or COCO's where it has none of its own.
    Raises:
        WeightsMissing, BackendMissing, ModelError, ConfigError: it cannot be built, or takes no classes.
    """
    from .segmentation.segmenters import load_segmenter

    models = config.models
    return load_segmenter(
        user_path(models.interface),
        classes=None if classes is None else tuple(classes),
        device=models.device,
        dtype=models.dtype,
        proposals=user_path(models.proposals),
    )


def check_grounders(config: Config) -> None:
    """Whether the models that `models.grounders` names are here; builds none, so that it is said before one is built.

    Raises:
        WeightsMissing, ModelError, ConfigError: one is not, or helps with nothing.
    """
    from .interface.registry import check_grounders

    check_grounders(_user_paths(expand_set(config).models.grounders))


def check_reranker(config: Config) -> None:
    """Whether the model that `models.reranker` names is here; builds nothing.

    Raises:
        WeightsMissing, ModelError: it is not, or does not rerank.
    """
    from .interface.registry import check_reranker

    check_reranker(user_path(config.models.reranker))


def _user_paths(names: str) -> str:
    """Names by commas, of which folders may be meant."""
    return ",".join(user_path(name.strip()) for name in names.split(","))


def build_reranker(config: Config) -> Reranker:
    """The model that `models.reranker` names.

    Raises:
        WeightsMissing, ModelError, BackendMissing: it cannot be built.
    """
    from .interface.registry import load_reranker

    models = config.models
    return load_reranker(user_path(models.reranker), device=models.device, dtype=models.dtype)
