"""Files of models that are broken on purpose: released ones, and those of folders that an index loads."""

from __future__ import annotations

import io
import os
import shutil
import struct
import zipfile
from pathlib import Path
from random import Random

from interleave_index.errors import InterleaveError

from .fuzz_answers import Outcome, said_well
from .mutations import flipped, mutated, mutated_json

FIND, XDECODER, PAIR, READ, MINI = "find-published", "xdecoder", "clip", "read", "find-mini"
BROKEN = {  # files of each model that are broken, the more often named the more often
    FIND: ("config.json", "config.json", "model.safetensors", "prepared.safetensors", "pulled.json"),
    XDECODER: ("config.json", "config.json", "model.safetensors", "prepared.safetensors", "language/model.safetensors"),
    PAIR: ("config.json", "config.json", "model.safetensors", "preprocessor_config.json", "tokenizer_config.json"),
    READ: ("config.json", "config.json", "model.safetensors", "tokenizer.json"),
    MINI: ("config.json", "config.json", "model.safetensors", "tokenizer.json"),
}
RELEASED = ("find.pt", "find.pt", "find-old.pt", "find.safetensors", "xdecoder.pt")


class Checkpoints:
    """Released files as `models import` takes them, and folders of models as an index loads them."""

    shared: Path

    def start_from(self, shared: Path) -> None:
        """Remember the folder of the models."""
        self.shared = shared

    def prepare(self, shared: Path) -> None:
        """Write tiny models of five kinds with random weights, and the released files of two."""
        import torch
        from safetensors.torch import save_file

        from tests.interface import tiny_read
        from tests.interface.published import published_toys
        from tests.interface.xdecoder import family_toys
        from tests.models import tiny

        shared.mkdir(parents=True, exist_ok=True)
        published_toys.imported_model(shared / "made").rename(shared / FIND)
        shutil.copytree(shared / "made" / "llama", shared / "llama")
        state = torch.load(shared / "made" / "released.pt", weights_only=True)
        small = {name: value.half() for name, value in state.items()}
        torch.save(small, shared / "find.pt")
        torch.save(small, shared / "find-old.pt", _use_new_zipfile_serialization=False)
        save_file(small, shared / "find.safetensors")
        sizes = family_toys.tiny_sizes("xdecoder", None)
        family_toys.imported(shared / "family", XDECODER, sizes).rename(shared / XDECODER)
        (shared / "family" / f"{XDECODER}.pt").rename(shared / "xdecoder.pt")
        (shared / "family" / "clip").rename(shared / "words")
        tiny.save(shared / PAIR, "clip")
        tiny_read.make(shared / READ)  # type: ignore[no-untyped-call]
        _save_find_mini(shared / MINI)

    def case(self, random: Random) -> tuple[str, bytes]:
        """A broken file of a model; its name is its path below the folder of all models."""
        if random.random() < 0.35:
            name = random.choice(RELEASED)
        else:
            model = random.choice(list(BROKEN))
            name = f"{model}/{random.choice(BROKEN[model])}"
        return name, self._broken((self.shared / name), random)

    def _broken(self, file: Path, random: Random) -> bytes:
        data = file.read_bytes()
        if file.suffix == ".json":
            return mutated_json(data.decode(), random)
        if file.suffix == ".safetensors":
            return broken_safetensors(data, random)
        return broken_pickle(data, random)

    def give(self, name: str, content: bytes, scratch: Path) -> Outcome:
        """Import it, or load the model that it is a part of."""
        import torch

        torch.set_num_threads(1)  # threads of a parent do not outlive a fork
        try:
            if "/" in name:
                self._load(name, content, scratch / "model")
            else:
                self._import(name, content, scratch)
        except InterleaveError as error:
            said_well(str(error))
            return "refused"
        return "taken"

    def _import(self, name: str, content: bytes, scratch: Path) -> None:
        from interleave_index.interface.importing import import_released

        file = scratch / name
        file.write_bytes(content)
        language = self.shared / ("words" if name == "xdecoder.pt" else "llama")
        try:
            import_released(file, "broken", language=str(language), sides=(64, 96), home=scratch / "home")
        finally:
            file.unlink()
            shutil.rmtree(scratch / "home", ignore_errors=True)

    def _load(self, name: str, content: bytes, folder: Path) -> None:
        from interleave_index.interface import registry
        from interleave_index.interface.model_files import contents
        from interleave_index.interface.read.interface import ReadInterface

        model, _, inside = name.partition("/")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.shared / model, folder, copy_function=os.symlink)
        broken = folder / inside
        broken.unlink(missing_ok=True)
        broken.write_bytes(content)
        described = registry.describe(str(folder))
        if described.error is not None:
            said_well(described.error)
        try:
            contents(str(folder))
        finally:
            interface = registry.load(str(folder), device="cpu", proposals="none")
            if isinstance(interface, ReadInterface):
                _ = interface.model  # which is read when it is first asked for


def _save_find_mini(folder: Path) -> None:
    """A find-mini of small widths with random weights."""
    import numpy as np
    import torch

    from interleave_index.interface.calibration import Calibration
    from interleave_index.interface.find_mini.bundle import save_bundle
    from interleave_index.interface.find_mini.caption_expansion import Vocabulary
    from interleave_index.interface.find_mini.model import MiniConfig, MiniModel
    from interleave_index.models.text.tower import train_tokenizer

    inner = {"width": 32, "heads": 4, "ffn": 32, "layers": 3}
    config = MiniConfig(
        side=64,
        vision={"widths": [32] * 4, "depths": [1] * 4, **inner},
        text=inner,
        interface={
            **inner,
            "features": 32,
            "width": 64,
            "object_queries": 6,
            "text_width": 32,
            "memories": 4,
            "towers": 64,
            "seeds": 4,
        },
    )
    torch.manual_seed(0)
    model = MiniModel(config, train_tokenizer(["a red square on white"], size=50))
    banks = {name: np.ones((4, 32), np.float32) for name in ("captions", "phrases", "pictures", "regions")}
    facts = {"name": "tiny", "class_names": ["square"], "trained_on": []}
    save_bundle(folder, model, Calibration.of_banks(banks), facts, Vocabulary(("red",), torch.ones(1, 32)), None)


def broken_safetensors(data: bytes, random: Random) -> bytes:
    """A safetensors file with another header, another length of it, or another end."""
    length = int.from_bytes(data[:8], "little")
    header, tensors = data[8 : 8 + length], data[8 + length :]
    kind = random.randrange(6)
    if kind <= 2:
        header = mutated_json(header.decode(), random)
        return struct.pack("<Q", len(header)) + header + tensors
    if kind == 3:
        wrong = random.choice((0, 1, 7, length - 1, length + 1, len(data), 2**31, 2**62, 2**64 - 1))
        return struct.pack("<Q", wrong) + header + tensors
    if kind == 4:
        return data[: random.choice((0, 4, 8, 9, random.randint(0, 8 + length), random.randint(0, len(data))))]
    return data[:8] + mutated(header, random) + tensors


def broken_pickle(data: bytes, random: Random) -> bytes:
    """A file of torch with another pickle in it, or with other bytes around its tensors."""
    if random.random() < 0.7 and zipfile.is_zipfile(io.BytesIO(data)):
        written = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(written, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                new.writestr(name, _other_pickle(content, random) if name.endswith("data.pkl") else content)
        return written.getvalue()
    kind = random.randrange(4)
    if kind == 0:
        return data[: random.randint(0, len(data))]
    if kind == 1:
        return flipped(data[-2048:], random).rjust(2048, b"\0") + data
    head, rest = data[:2048], data[2048:]
    return (flipped(head, random) if kind == 2 else _other_pickle(head, random)) + rest


def _other_pickle(data: bytes, random: Random) -> bytes:
    if random.random() < 0.5:
        return flipped(data, random)
    opcodes = (b"\x8b\xff\xff\xff\x7f", b"r\xff\xff\xff\xff", b"cos\nsystem\n", b"R", b"(", b"}", b"Q", b"h\xff", b".")
    return mutated(data, random, opcodes)
