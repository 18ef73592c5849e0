"""From settings to the subjects that a benchmark asks: interfaces of an index, and models that are none of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...building import build_interface
from ...config import Config
from ...errors import InputError
from ...interface.registry import torch_device
from ...paths import user_path
from .parts import part_subject
from .subject import Subject, subjects_of

if TYPE_CHECKING:
    from .read import Answers


def open_subjects(
    config: Config, *, published_protocol: bool = False, answers: Sequence[Answers] | None = None
) -> list[Subject]:
    """The model that the settings name, in the ways that it is measured.

    Args:
        config: of its `models`, a segmenter or detector may stand as `interface` too: it is asked by itself, with the
            `grounders` as its helpers.
        published_protocol, answers: see `subjects_of`.
    Raises:
        WeightsMissing, BackendMissing, ConfigError: it cannot be built.
        InputError: it has no answers of its own.
    """
    models = config.models
    helpers = [user_path(name.strip()) for name in models.grounders.split(",") if name.strip()]
    part = part_subject([user_path(models.interface), *helpers], device=torch_device(models.device))
    if part is None:
        subjects = subjects_of(build_interface(config), published_protocol=published_protocol, answers=answers)
        for subject in subjects if helpers else ():
            subject.facts["grounders"] = ", ".join(helpers)
        return subjects
    if answers:
        raise InputError(f"--answers is for READ, the model here is {models.interface}; leave it out")
    return [part]
