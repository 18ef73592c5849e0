"""The settings: few, typed, with one place for their defaults. Knows YAML files and no other package.

The order is default < file < flag. `config.yaml` in the repository lists every setting with its default and a comment;
a test holds the two equal. Only `service.Index` sees a whole `Config`; packages are given plain arguments.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints
from urllib.parse import parse_qs

from .errors import ConfigError
from .paths import user_path
from .records.texts import TEXT_KINDS
from .whole_files import replaced

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("auto", "float32", "bfloat16", "float16")
REGION_METHODS = ("attention", "patches", "crop")
GROUNDINGS = ("auto", "own", "points")
INDEX_VARIABLE, CONFIG_VARIABLE = "INTERLEAVE_INDEX", "INTERLEAVE_CONFIG"
KEPT = "config.yaml"  # in the folder of an index
FOLDER = "folder"  # what names it in the URL of a database
POSTGRESQL = ("postgresql+psycopg", "postgresql", "postgres")  # schemes of URLs
# The user's name and password end at the first @, as SQLAlchemy has it.
_URL = re.compile(
    r"(?P<scheme>(?!sqlite:)[a-z][a-z0-9+.-]+)://(?:[^:/@]*(?::[^@]*)?@)?"
    r"(?P<host>[^/?]*)(?P<database>/[^?]*)?(?:\?(?P<query>.*))?",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which interface embeds and grounds, and where it runs.

    Attributes:
        interface: `find-mini` (bundled), `toy`, a folder with config.json and model.safetensors, or the name of a
            model that was pulled from a hub.
        device: `auto`, `cpu`, `cuda` or `mps`.
        dtype: `auto` (bfloat16 or float16 on an accelerator, else float32), `float32`, `bfloat16` or `float16`; of
            models from a hub.
        regions: how a model from a hub makes region vectors: `attention`, `patches` or `crop`.
        width: how many numbers of a vector of an interleaved encoder are kept; 0 keeps all.
        proposals: interface or segmenter whose masks become the regions of a model from a hub; `none` for photos as a
            whole.
        grounding: how a photo is looked at again: `own` (the interface's way), `points` (similarity as points), or
            `auto`, which takes points for a model from a hub and where grounders are named.
        grounders: names or folders of models that segment or detect, by commas; `points` asks them.
        reranker: name or folder of a model that is shown the query with each of the best photos, see `query.rerank`.
        offline: never open a network connection; a picture or a folder of photos given by URL is then an error.
    """

    interface: str = "find-mini"
    device: str = "auto"
    dtype: str = "auto"
    regions: str = "attention"
    width: int = 0
    proposals: str = "find-mini"
    grounding: str = "auto"
    grounders: str = ""
    reranker: str = ""
    offline: bool = False

    def __post_init__(self) -> None:
        if not self.interface.strip():
            raise ConfigError("models.interface is empty, expected find-mini, toy or a folder with a checkpoint")
        if not self.proposals.strip():
            raise ConfigError("models.proposals is empty, expected find-mini, toy or a folder with a checkpoint")
        for name, known in (
            ("device", DEVICES),
            ("dtype", DTYPES),
            ("regions", REGION_METHODS),
            ("grounding", GROUNDINGS),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(f"models.{name} is {getattr(self, name)!r}, expected one of {', '.join(known)}")
        _check("models.width", self.width, 0, 65_535)


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """How photos are read.

    Attributes:
        workers: processes that decode ahead of the model; 0 decodes in the process of the model, -1 takes
            one less than the processors there are.
        batch: photos of one transaction, 1 to 256; what a kill loses at most.
        max_pixels: a picture with more is a failed file.
        thumbnail_side: long side of a stored thumbnail, pixels.
        text: kinds of texts that are taken in beside the photos: what is written inside the photos' files
            (embedded), sidecars (xmp, txt, takeout), captions.jsonl (captions), and pages (markdown, html).
        exclude: patterns of files and folders that are left out, in the form of gitignore, from each folder that is
            taken in on.
    """

    workers: int = -1
    batch: int = 64
    max_pixels: int = 200_000_000
    thumbnail_side: int = 512
    text: tuple[str, ...] = TEXT_KINDS
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for kind in self.text:
            if kind not in TEXT_KINDS:
                raise ConfigError(f"ingest.text names {kind!r}, expected kinds out of {', '.join(TEXT_KINDS)}")
        _check("ingest.workers", self.workers, -1, 256)
        _check("ingest.batch", self.batch, 1, 256)
        _check("ingest.max_pixels", self.max_pixels, 1, 2**40)
        _check("ingest.thumbnail_side", self.thumbnail_side, 16, 4096)


@dataclass(frozen=True, slots=True)
class QuerySettings:
    """How hits are ranked and shown.

    Attributes:
        top_k: hits of one answer.
        entity_weight: weight of the entities beside a long sentence; entities alone always count 1.
        negative_weight: weight of what negatives take off.
        candidates: photos that the approximate path takes of each list of an exact FAISS index, at most.
        cutoff: relevance under which a hit is greyed, 0 to 1; null lets the model's calibration decide, query by query.
        rerank: so many of the best photos are looked at again by `models.reranker`, with the query; 0 by none.
    """

    top_k: int = 10
    entity_weight: float = 0.3
    negative_weight: float = 1.0
    candidates: int = 200
    cutoff: float | None = None
    rerank: int = 0

    def __post_init__(self) -> None:
        _check("query.top_k", self.top_k, 1, 100_000)
        _check("query.rerank", self.rerank, 0, 1000)
        _check("query.entity_weight", self.entity_weight, 0, 100)
        _check("query.negative_weight", self.negative_weight, 0, 100)
        _check("query.candidates", self.candidates, 1, 1_000_000)
        if self.cutoff is not None:
            _check("query.cutoff", self.cutoff, 0, 1)


@dataclass(frozen=True, slots=True)
class Config:
    """All settings.

    Attributes:
        index: folder of the index, or URL of its database, when no command or variable names one.

    >>> Config.from_mapping({"query": {"top_k": 3}}).query.top_k
    3
    """

    index: str = "photos.index"
    models: ModelSettings = field(default_factory=ModelSettings)
    ingest: IngestSettings = field(default_factory=IngestSettings)
    query: QuerySettings = field(default_factory=QuerySettings)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], source: str = "settings") -> Config:
        """Defaults overlaid with the values of one file.

        Args:
            values: sections and keys as in config.yaml; any may be left out.
            source: name of the file, for messages.
        Raises:
            ConfigError: an unknown key (with the nearest known one) or a value of the wrong kind or range.
        """
        return _build(cls, values, source, "")

    @classmethod
    def load(cls, path: Path | str) -> Config:
        """Read one YAML file; an empty file gives the defaults.

        Raises:
            ConfigError: the file cannot be read, is not YAML, or holds something that is no setting.
        """
        import yaml

        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"config file {path} cannot be read: {error}; check the path") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"config file {path} is not YAML: {' '.join(str(error).split())}") from error
        return cls.from_mapping({} if values is None else values, str(path))

    def with_flags(self, **flags: Any) -> Config:
        """A copy in which flags win; a flag is `section_key`, and None leaves the setting as it is.

        >>> Config().with_flags(query_top_k=3, models_device=None).query.top_k
        3
        """
        changed = self
        for name, value in flags.items():
            if value is None:
                continue
            section, _, key = name.partition("_")
            part = getattr(changed, section)
            changed = replace(changed, **{section: replace(part, **{key: value}) if key else value})
        return changed

    def to_mapping(self) -> dict[str, Any]:
        """All settings as plain values, in the order of config.yaml."""
        values = asdict(self)
        values["ingest"]["text"] = list(self.ingest.text)
        values["ingest"]["exclude"] = list(self.ingest.exclude)
        return values

    def dump(self) -> str:
        """All settings as YAML text that `load` reads back to an equal Config."""
        import yaml

        text: str = yaml.safe_dump(self.to_mapping(), sort_keys=False, allow_unicode=True)
        return text


def kept_config(folder: Path | str) -> Config | None:
    """The settings that an index keeps, or None when there is no index or it keeps none.

    Args:
        folder: of the index, or the URL that names it.
    """
    file = index_folder(folder) / KEPT
    return Config.load(file) if file.is_file() else None


def keep_config(folder: Path, config: Config, space_id: int | None, *, active: bool) -> None:
    """Write settings into the index: one file a space, and one with those of the active space.

    The URL of a database is kept without its user and password.

    Args:
        space_id: whose settings they are; None where the index has no space yet.
        active: whether it is the active one.
    """
    shown = replace(config, index=shown_index(config.index))
    text = f"# Settings that this index keeps.\n{shown.dump()}"
    names = [f"config-{space_id}.yaml"] if space_id is not None else []
    for name in (*names, *([KEPT] if active else [])):
        _write_whole(folder / name, text)


def activate_config(folder: Path, space_id: int) -> None:
    """Put the settings of a space in force, if the index keeps any of it."""
    file = folder / f"config-{space_id}.yaml"
    if file.is_file():
        _write_whole(folder / KEPT, file.read_text(encoding="utf-8"))


def named_index(flag: str | Path | None, config: Config) -> str:
    """Folder of the index: the flag, else the variable INTERLEAVE_INDEX, else the setting `index`.

    ``sqlite:///`` before a folder is the same folder, and ``~`` the home folder; any other URL is given back as it is,
    for the store to judge.
    """
    named = str(flag) if flag else os.environ.get(INDEX_VARIABLE) or config.index
    return user_path(named.removeprefix("sqlite:///"))


def index_folder(named: Path | str) -> Path:
    """The folder of FAISS files, thumbnails and settings of an index, absolute: the name itself, or what its URL names.

    Raises:
        ConfigError: a URL that is not of PostgreSQL, or one that names no folder.

    >>> index_folder("postgresql+psycopg://ann@host/photos?folder=/srv/photos.index").as_posix()
    '/srv/photos.index'
    """
    text = os.fspath(named)
    url = _URL.fullmatch(text)
    if url is None:
        return Path(text).absolute()
    if url["scheme"].lower() not in POSTGRESQL:
        expected = f"a folder, sqlite:///path/of/folder or {POSTGRESQL[0]}://host/database?{FOLDER}=/path/of/folder"
        raise ConfigError(f"index is {url['scheme']}://…, expected {expected}")
    if "@" in url["host"]:
        raise ConfigError("index is a URL with two @, expected one before the host; write that in a password as %40")
    folders = parse_qs(url["query"] or "").get(FOLDER, [])
    if len(folders) != 1:
        raise ConfigError(
            f"index {shown_index(text)} names {len(folders)} folders, expected one on this machine, for FAISS files "
            f"and thumbnails; end the URL with ?{FOLDER}=/path/of/folder"
        )
    return Path(user_path(folders[0])).absolute()


def shown_index(named: Path | str) -> str:
    """An index by its name as it may be shown or kept: of a URL without user, password and options.

    >>> shown_index("postgresql://ann:secret@host:5433/photos?folder=/f&password=x"), shown_index("photos.index")
    ('postgresql://host:5433/photos', 'photos.index')
    """
    url = _URL.fullmatch(os.fspath(named))
    if url is None:
        return os.fspath(named)
    return f"{url['scheme']}://{url['host'].rpartition('@')[2]}{url['database'] or ''}"


def _write_whole(file: Path, text: str) -> None:
    with replaced(file) as draft:
        draft.write_text(text, encoding="utf-8")


_Section = TypeVar("_Section")


def _build(cls: type[_Section], values: object, source: str, prefix: str) -> _Section:
    if not isinstance(values, Mapping):
        name = prefix.rstrip(".") or "the file"
        raise ConfigError(f"{source}: {name} is {_shown(values)}, expected keys with values")
    kinds = get_type_hints(cls)
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for key, value in values.items():
        if key not in kinds:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)
            raise ConfigError(f"{source}: unknown setting {prefix}{key}; the nearest known one is {prefix}{near[0]}")
        kind = kinds[key]
        given[key] = (
            _build(kind, value, source, f"{prefix}{key}.")
            if hasattr(kind, "__dataclass_fields__")
            else _value(value, kind, source, f"{prefix}{key}")
        )
    try:
        return cls(**given)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def _value(value: object, kind: Any, source: str, name: str) -> object:
    if kind == tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{source}: {name} is {_shown(value)}, expected a list of names")
        return tuple(value)
    wanted, word = {
        str: ((str,), "a text"),
        bool: ((bool,), "true or false"),
        int: ((int,), "a whole number"),
        float: ((int, float), "a number"),
    }.get(kind, ((int, float, type(None)), "a number or null"))
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{source}: {name} is {_shown(value)}, expected {word}")
    return float(value) if kind is float and isinstance(value, int) else value


def _shown(value: object) -> str:
    return repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} is {value}, expected {low} to {high}")
