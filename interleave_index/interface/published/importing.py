"""A released file into a folder that an index can use: every key mapped, weights as safetensors, nothing unpickled."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from safetensors.torch import save_file
from torch import Tensor

from ...errors import InputError, ModelError, WeightsMissing
from ...models.hub import local
from ...models.text.language import TOKENIZER
from ...records import RGB, Size
from ...regular import sha256_of
from .classes import COCO_PANOPTIC
from .folder import FORMAT, KIND, LANGUAGE, PREPARED, TEXTS, WEIGHTS, load_published, read_config, read_state
from .keys import LanguageSizes, Sorted, sizes_of, sort_keys
from .network import PRESETS, sides_of
from .prepared import bank_material, write_prepared

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    class AnySizes(DataclassInstance, LanguageSizes, Protocol):
        """Sizes of any released model."""

        @property
        def short(self) -> int:
            """Shorter side that photos are resized to."""

        @property
        def long(self) -> int:
            """Longest side."""


SizesT = TypeVar("SizesT", bound="AnySizes")
Sides: TypeAlias = tuple[int | None, int | None]
SHOWN, LONGEST = 8, 200  # problems in one message, and characters of each
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


class KeysDoNotFit(ModelError):
    """Keys of a checkpoint are unknown, missing or misshapen.

    Attributes:
        problems: one line a key.
    """

    def __init__(self, file: Path, problems: Sequence[str], family: str) -> None:
        self.problems = tuple(problems)
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        super().__init__(
            f"{len(problems)} keys of {file.name} do not fit a checkpoint of {family}, and nothing was written: "
            f"{'; '.join(problem[:LONGEST] for problem in problems[:SHOWN])}{more}"
        )


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import wrote.

    Attributes:
        folder: of the model.
        preset: the published model whose sizes it has, or None.
        tensors, parameters: of the network without its language model.
        language: `inside`, `referred` or `none`.
        left_out: keys of training and of unused layers.
    """

    folder: Path
    preset: str | None
    tensors: int
    parameters: int
    language: str
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """What a state dict turned out to be.

    Attributes:
        family: of models, in words.
        kind, form: of the config.json that is written.
        sizes: of the model, a dataclass.
        keys: of the file, sorted.
        preset: the released model that has these sizes, or None.
        unseen: what no tensor shows and yet changes vectors; part of the identity of a space.
    """

    family: str
    kind: str
    form: int
    sizes: AnySizes
    keys: Sorted
    preset: str | None
    unseen: tuple[int | str | None, ...]


ReleaseOf: TypeAlias = Callable[[Mapping[str, Tensor]], Release]


def find_release(state: Mapping[str, Tensor], heads: int, sides: Sides) -> Release:
    """What a released state dict of FIND is.

    Args:
        heads: attention heads of the interface, which no tensor shows.
        sides: shorter and longest side that photos are resized to; None takes the one published for the backbone.

    Raises:
        ModelError: it is of another model.
    """
    sizes = with_sides(sizes_of(state, heads), sides)
    preset = preset_of(sizes, sides_of(sizes.backbone), PRESETS)
    return Release("FIND", KIND, FORMAT, sizes, sort_keys(state, sizes), preset, (heads,))


def with_sides(sizes: SizesT, sides: Sides) -> SizesT:
    """The sizes, photos being resized to other sides where these are given."""
    short, long = sides
    return replace(sizes, short=short or sizes.short, long=long or sizes.long)


def preset_of(sizes: SizesT, sides: Size, presets: Mapping[str, SizesT]) -> str | None:
    """Name of the released model that has these sizes, whatever photos are resized to.

    Args:
        sides: what photos are resized to by the authors.
    """
    short, long = sides
    plain = replace(sizes, short=short, long=long)
    return next((name for name, known in presets.items() if known == plain), None)


def take_in(
    file: Path, name: str, release_of: ReleaseOf, *, language: str | None = None, home: Path | None = None
) -> Imported:
    """Read a released state dict and write a model folder.

    An import of the same file that was stopped before it was prepared, or made without a language model, is made
    again in its place; token states that it has read stay.

    Args:
        file: a plain state dict as torch saves it, read with `weights_only`, or a .safetensors file.
        name: of the new folder in `home`.
        release_of: what the state dict is.
        language: folder or pulled hub name of the language model: tokenizer.json, and weights where `file` brings none.
        home: folder of models; None takes the one that `models pull` fills.
    Raises:
        KeysDoNotFit: a key is unknown, missing or misshapen; nothing is written.
        ModelError, WeightsMissing, InputError: the file or the language model cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"model name is {name!r}, expected letters, digits, dots and dashes")
    folder = (home or local.home()) / name
    if folder.exists() and not _unfinished(folder, file):
        raise InputError(f"there is a model {name} already, in {folder}; take another name, or remove that folder")
    state = read_state(file)
    release = release_of(state)
    keys = release.keys
    if keys.problems:
        raise KeysDoNotFit(file, keys.problems, release.family)
    draft = folder.with_name(f".{name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        save_file(_apart({key: state[key] for key in keys.network}), draft / WEIGHTS)
        language_model = _language(draft, state, release, language)
        _write_config(draft, name, file, release, language_model)
        if folder.exists():  # an unfinished import of the same file: texts read so far stay
            if (folder / TEXTS).is_dir():
                (folder / TEXTS).rename(draft / TEXTS)
            shutil.rmtree(folder)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Imported(
        folder,
        release.preset,
        len(keys.network),
        sum(state[key].numel() for key in keys.network),
        "none" if language_model is None else "inside" if language_model["inside"] else "referred",
        keys.left_out,
    )


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each in memory of its own: safetensors keeps none that share theirs, as tied weights do."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone().contiguous() if memory in seen else tensor.contiguous()
        seen.add(memory)
    return apart


def _unfinished(folder: Path, file: Path) -> bool:
    """Whether a folder is an import of this very file that was never prepared, for want of time or of a language."""
    source = local.describe(folder).config.get("source")
    if (folder / PREPARED).exists() or not source or not file.is_file():
        return False
    return bool(source["sha256"] == sha256_of(file))


def _language(draft: Path, state: Mapping[str, Tensor], release: Release, source: str | None) -> dict[str, Any] | None:
    """Put the language model beside the network, or note where it is."""
    keys, sizes = release.keys, release.sizes
    if source is None:
        if sizes.language == "unicl" or keys.language:
            raise WeightsMissing(
                "the checkpoint brings its language model but no tokenizer; name its folder by --language"
            )
        return None
    place = local.find(source)
    _wanted(place, TOKENIZER, "the fast tokenizer that belongs to the language model")
    if not keys.language:
        weights = sorted(place.glob("*.safetensors"))
        if not weights:
            raise WeightsMissing(f"no *.safetensors in {place}, and the checkpoint brings no language model")
        named = str(place.absolute()) if place == Path(source) else source
        return {"inside": False, "source": named, "checkpoint": _digest([*weights, place / TOKENIZER])}
    target = draft / LANGUAGE
    target.mkdir()
    save_file(_apart({name: state[key] for name, key in keys.language.items()}), target / WEIGHTS)
    shutil.copyfile(place / TOKENIZER, target / TOKENIZER)
    if sizes.language == "llama":
        shutil.copyfile(_wanted(place, local.CONFIG, "the one of LLaMA-7B"), target / local.CONFIG)
    return {"inside": True, "source": None, "checkpoint": _digest([target / WEIGHTS, target / TOKENIZER])}


def _wanted(folder: Path, name: str, what: str) -> Path:
    if not (folder / name).is_file():
        raise WeightsMissing(f"no {name} in {folder}, expected {what}")
    return folder / name


def _write_config(draft: Path, name: str, file: Path, release: Release, language: dict[str, Any] | None) -> None:
    weights = _digest([draft / WEIGHTS])
    identity = json.dumps([*release.unseen, weights, (language or {}).get("checkpoint")])
    config = {
        "format": release.form,
        "kind": release.kind,
        "name": name,
        "preset": release.preset,
        "checkpoint": hashlib.sha256(identity.encode()).hexdigest(),
        "source": {"file": file.name, "sha256": _digest([file])},
        "sizes": asdict(release.sizes),
        "language": language,
        "class_names": list(COCO_PANOPTIC),
    }
    record = {"name": name, "revision": None, "licence": None, "files": {WEIGHTS: weights}}
    for target, content in ((local.CONFIG, config), (local.RECORD, record)):
        (draft / target).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _digest(files: Sequence[Path]) -> str:
    if len(files) == 1:
        return sha256_of(files[0])
    return hashlib.sha256("".join(sha256_of(file) for file in files).encode()).hexdigest()


def prepare(
    folder: Path,
    captions: Sequence[str] | None = None,
    pictures: Sequence[RGB] | None = None,
    *,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Make the class table and the banks of an imported model, see `write_prepared`.

    Args:
        captions, pictures: None takes every third of the package's own captions, and drawn pictures.
    """
    captions, pictures = bank_material(captions, pictures)
    model = load_published(folder, device=device)
    write_prepared(folder, model, read_config(folder)["class_names"], captions, pictures, progress)
