"""Settings of a recipe: one YAML file in its package declares every key, with its value and so with its kind.

The order is: the recipe's own file < a file of the user, which may leave out any key < overrides by dotted key, as in
``interface.minutes``. Unknown keys and values of another kind are errors; a key whose value is null takes anything.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml

from ..errors import ConfigError

Settings = TypeVar("Settings")


def load_settings(
    kind: type[Settings], own: Path, data: Path, out: Path, recipe: Path | None, overrides: Mapping[str, Any] | None
) -> Settings:
    """The settings of a recipe as its dataclass: `own`, a file of the user over it, overrides by dotted key over both.

    Args:
        kind: a dataclass with `data`, `out`, and a field for every key of the recipe; keys of keys are of a dataclass
            too, or a dict.
        own: the recipe's file.
        recipe: of the user, or None.
        overrides: values by dotted key.
    Raises:
        ConfigError: a file that cannot be read, a key that is not known (with the nearest known one), or a value of
            another kind.
    """
    settings = _read(own)
    if recipe is not None:
        _overlay(settings, _read(recipe), "")
    for key, value in (overrides or {}).items():
        for name in reversed(key.split(".")):
            value = {name: value}
        _overlay(settings, value, "")
    hints = get_type_hints(kind)
    for name, value in settings.items():
        hint = hints[name]
        if isinstance(hint, type) and is_dataclass(hint):
            settings[name] = hint(**value)
        elif Path in get_args(hint) and value is not None:
            settings[name] = [Path(path) for path in value] if isinstance(value, list) else Path(value)
    return kind(**{"data": data, "out": out, **settings})


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """Overrides as the command line takes them.

    >>> parse_overrides(["interface.minutes=2.5", "limit=null"])
    {'interface.minutes': 2.5, 'limit': None}
    """
    overrides = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"--set is {word!r}, expected KEY=VALUE, as in interface.minutes=30")
        overrides[key.strip()] = yaml.safe_load(value)
    return overrides


def to_plain(settings: Any, *, without: Sequence[str]) -> dict[str, Any]:
    """Settings as JSON has them, but for some keys; paths by their names."""
    values = {key: value for key, value in asdict(settings).items() if key not in without}
    plain: dict[str, Any] = json.loads(json.dumps(values, default=lambda path: path.name))
    return plain


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"recipe {file} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"recipe {file} holds {type(values).__name__}, expected keys with values")
    return values


def _overlay(values: dict[str, Any], more: Mapping[str, Any], prefix: str) -> None:
    """Put values in the place of those that are there."""
    for key, value in more.items():
        if key not in values:
            (near,) = difflib.get_close_matches(str(key), values, n=1, cutoff=0.0)
            raise ConfigError(f"unknown setting {prefix}{key}; the nearest known one is {prefix}{near}")
        kind = type(values[key])
        if kind is dict and isinstance(value, Mapping):
            _overlay(values[key], value, f"{prefix}{key}.")
            continue
        if kind is float and type(value) is int:
            value = float(value)
        elif kind is list and isinstance(value, tuple):
            value = list(value)
        elif kind is not type(None) and type(value) is not kind:
            raise ConfigError(f"setting {prefix}{key} is {value!r}, expected {kind.__name__}")
        values[key] = value
