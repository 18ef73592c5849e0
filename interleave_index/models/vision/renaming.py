"""Modules of another library whose state dict has the published parameter names: renamed when loaded and when saved."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

from torch import Tensor, nn

Patterns: TypeAlias = Sequence[tuple[str, str]]  # regular expression of the library's name, the published name


def renamed(name: str, patterns: Patterns) -> str:
    """The published name of a parameter.

    >>> renamed("layers.3.layer_norm1.bias", [(r"^layers\\.(\\d+)\\.layer_norm", r"blocks.\\1.norm")])
    'blocks.3.norm1.bias'
    """
    for pattern, replacement in patterns:
        name = re.sub(pattern, replacement, name)
    return name


def use_published_names(module: nn.Module, patterns: Patterns) -> None:
    """Make the state dict of a module come out and go in under published names."""
    module.register_state_dict_post_hook(partial(_rename_out, patterns))
    module.register_load_state_dict_pre_hook(partial(_rename_in, patterns))


def _rename_out(patterns: Patterns, _: nn.Module, state: dict[str, Tensor], prefix: str, __: Any) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        state[prefix + renamed(key[len(prefix) :], patterns)] = state.pop(key)


def _rename_in(patterns: Patterns, module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    for own in [name for name, _ in module.named_parameters()]:
        known = prefix + renamed(own, patterns)
        if known != prefix + own and known in state:
            state[prefix + own] = state.pop(known)
