"""What the tasks ask of a model: towers around one interface, as in `find_mini.model` and `published.model`."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from ...models.vision.pixel_decoder import Pyramid
from .network import FindInterface
from .outputs import Output, Pass
from .prompter import Prompter
from .prompts import MaskPrompt, Prompts, VisualTokens


class FindModel(Protocol):
    """A vision tower, a text tower and the interface between them."""

    @property
    def interface(self) -> FindInterface:
        """The network of all tasks."""

    @property
    def prompter(self) -> Prompter:
        """The language side."""

    def see(self, pyramid: Pyramid, prompts: Prompts, **options: Any) -> Pass:
        """One pass of the interface over photos; options as `FindInterface.forward` takes them."""

    def read(self, prompts: Prompts) -> Output:
        """The last predictions of a pass without photos."""

    def sample(self, pyramid: Pyramid, masks: MaskPrompt, generator: torch.Generator | None = None) -> VisualTokens:
        """Visual tokens of masks on photos, to be used in a pass over other photos or none."""
