"""Settings of a recipe: a typed dataclass, and one YAML file in its package that holds every value.

The order is: the recipe's own file < a file of the user, which may leave out any key < overrides by dotted key, as in
``interface.minutes``. Unknown keys and values of another kind are errors.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from ..errors import ConfigError

T = TypeVar("T")


def read_settings(kind: type[T], own: Path, file: Path | None, overrides: Mapping[str, Any]) -> T:
    """Settings of one recipe.

    Args:
        kind: a dataclass, whose fields may be dataclasses.
        own: the recipe's file.
        file: of the user, or None.
        overrides: values by dotted key.
    Raises:
        ConfigError: a file that cannot be read, a key that is not known (with the nearest known one), a value of
            another kind, or a field without a value.
    """
    values = _read(own)
    if file is not None:
        _overlay(values, _read(file))
    for key, value in overrides.items():
        for name in reversed(key.split(".")):
            value = {name: value}
        _overlay(values, value)
    settings: T = _typed(values, kind, "")
    return settings


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


def to_plain(value: Any) -> Any:
    """Settings as JSON has them: paths by their names, dataclasses and mappings as objects."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(one) for one in value]
    return value.name if isinstance(value, Path) else value


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"recipe {file} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"recipe {file} holds {type(values).__name__}, expected keys with values")
    return values


def _overlay(values: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(values.get(key), dict):
            _overlay(values[key], value)
        else:
            values[key] = value


def _typed(value: Any, kind: Any, name: str) -> Any:
    """A plain value as what a field of this kind holds."""
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, Mapping):
        return _dataclass(value, kind, f"{name}." if name else "")
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        return _typed(value, next(part for part in parts if part is not type(None)), name)
    if origin is dict and isinstance(value, Mapping):
        return {key: _typed(one, parts[1], f"{name}.{key}") for key, one in value.items()}
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_typed(one, parts[0], name) for one in value)
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is None and isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    raise ConfigError(f"setting {name} is {value!r}, expected {getattr(kind, '__name__', kind)}")


def _dataclass(values: Mapping[str, Any], kind: Any, prefix: str) -> Any:
    kinds = get_type_hints(kind)
    for key in values:
        if key not in kinds:
            (near,) = difflib.get_close_matches(str(key), kinds, n=1, cutoff=0.0)
            raise ConfigError(f"unknown setting {prefix}{key}; the nearest known one is {prefix}{near}")
    for field in fields(kind):
        if field.name not in values and field.default is MISSING:
            raise ConfigError(f"setting {prefix}{field.name} has no value")
    return kind(**{key: _typed(value, kinds[key], f"{prefix}{key}") for key, value in values.items()})
