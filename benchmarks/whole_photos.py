"""From files on disk to the ten nearest photos: rclip and this program, each as a whole, with the same model.

    python benchmarks/whole_photos.py PHOTOS --work FOLDER --rclip PYTHON [--count 200] [--cpus 1]

rclip runs a CLIP tower of ViT-B/32 at 256 pixels by ONNX Runtime. One of that shape is drawn at random here, so that
nothing is downloaded: a folder as transformers keeps models for this program, and the same weights as an ONNX file for
rclip, where it would otherwise put what it downloads. Its text tower is not drawn, since no text is asked; that of ours
is a small one, and masks of regions are switched off, which rclip has none of.

Both commands take in the same photos, of which each process may use `--cpus` processors, and are then asked by a
photo. Told are time, processor time and the most memory of each command, the files, how alike the two vectors of a
photo are, and how many of the ten nearest are the same.

PYTHON is an interpreter with rclip and the package that writes ONNX files:

    python -m venv rclip; rclip/bin/pip install rclip onnx
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SIDE, PATCH, WIDTH, HEADS, LAYERS, DIM = 256, 32, 768, 12, 12, 512  # of the tower that rclip uses
TIMES = 5  # of asking
RCLIP_FILES = ("ViT-B-32-256-datacomp_s34b_b86k/textual.onnx", "tokenizer/bpe_simple_vocab_16e6.txt.gz")
RCLIP_TOWER = "ViT-B-32-256-datacomp_s34b_b86k/visual.onnx"


# --- one model in two forms ------------------------------------------------------------------


def draw_model(folder: Path) -> None:
    """A CLIP model with random weights as transformers keeps it, and beside it its vision tower as `vision.npz`."""
    import torch
    import transformers

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    words = write_tokenizer(folder)
    text = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    text |= {
        "vocab_size": words,
        "max_position_embeddings": 77,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    vision = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": LAYERS}
    vision |= {"num_attention_heads": HEADS, "image_size": SIDE, "patch_size": PATCH, "hidden_act": "gelu"}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=DIM)
    model = transformers.CLIPModel(config)
    with torch.no_grad():  # fresh weights are too small to tell photos apart
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(2)
    model.save_pretrained(folder)
    prepared = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": SIDE}, "resample": 3}
    prepared |= {"crop_size": {"height": SIDE, "width": SIDE}, "do_center_crop": True, "do_resize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    tower = {name: value.numpy() for name, value in model.state_dict().items() if name.startswith("vis")}
    np.savez(folder.parent / "vision.npz", **tower)


def write_tokenizer(folder: Path) -> int:
    """A vocabulary of single characters in CLIP's form; returns its size."""
    letters = [chr(code) for code in range(33, 127)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    named = dict.fromkeys(("eos_token", "unk_token", "pad_token"), "<|endoftext|>")
    told = {"tokenizer_class": "CLIPTokenizer", "bos_token": "<|startoftext|>", **named, "model_max_length": 77}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return len(words)


class Graph:
    """An ONNX graph that grows node by node; every method gives the name of its output."""

    def __init__(self, weights: Any) -> None:
        self.weights, self.nodes, self.constants = weights, [], {}

    def constant(self, name: str, value: Any) -> str:
        """Keep an array under a name."""
        self.constants[name] = np.asarray(value, order="C")  # a number stays one: `ascontiguousarray` gives it an axis
        return name

    def add(self, kind: str, *inputs: str, **options: Any) -> str:
        """Add a node of this kind."""
        from onnx import helper

        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **options))
        return output

    def linear(self, x: str, name: str) -> str:
        """x times the weights of a layer, and its bias."""
        product = self.add("MatMul", x, self.constant(f"{name}.w", self.weights[f"{name}.weight"].T))
        bias = f"{name}.bias"
        return self.add("Add", product, self.constant(bias, self.weights[bias])) if bias in self.weights else product

    def norm(self, x: str, name: str) -> str:
        """Layer normalization."""
        scale, bias = (self.constant(f"{name}.{part}", self.weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-5)

    def heads(self, x: str, order: list[int]) -> str:
        """(N, T, WIDTH) as heads, with the axes N, T, heads, width of a head in this order."""
        shape = self.constant("split", np.array([0, 0, HEADS, WIDTH // HEADS]))
        return self.add("Transpose", self.add("Reshape", x, shape), perm=order)

    def block(self, x: str, name: str) -> str:
        """One layer of the transformer."""
        normed = self.norm(x, f"{name}.layer_norm1")
        query, key, value = (self.linear(normed, f"{name}.self_attn.{part}_proj") for part in "qkv")
        scale = self.constant("scale", np.float32((WIDTH // HEADS) ** -0.5))
        likeness = self.add("MatMul", self.heads(query, [0, 2, 1, 3]), self.heads(key, [0, 2, 3, 1]))
        shares = self.add("Softmax", self.add("Mul", likeness, scale), axis=-1)
        mixed = self.add("Transpose", self.add("MatMul", shares, self.heads(value, [0, 2, 1, 3])), perm=[0, 2, 1, 3])
        joined = self.add("Reshape", mixed, self.constant("join", np.array([0, 0, WIDTH])))
        x = self.add("Add", x, self.linear(joined, f"{name}.self_attn.out_proj"))
        wide = self.linear(self.norm(x, f"{name}.layer_norm2"), f"{name}.mlp.fc1")
        return self.add("Add", x, self.linear(self.add("Gelu", wide), f"{name}.mlp.fc2"))


def write_onnx(weights_file: Path, target: Path) -> None:
    """The vision tower as ONNX: `input` (N, 3, SIDE, SIDE) to `output` (N, DIM); runs where onnx is installed."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    with np.load(weights_file) as kept:
        graph = Graph({name: kept[name] for name in kept.files})
    tower, embedded = "vision_model", "vision_model.embeddings"
    kernel = graph.constant("kernel", graph.weights[f"{embedded}.patch_embedding.weight"])
    grid = graph.add("Conv", "input", kernel, strides=[PATCH, PATCH])
    patches = graph.add("Reshape", grid, graph.constant("flat", np.array([0, WIDTH, -1])))
    patches = graph.add("Transpose", patches, perm=[0, 2, 1])
    photos = graph.add(
        "Slice", graph.add("Shape", "input"), graph.constant("from", np.array([0])), graph.constant("to", np.array([1]))
    )
    shape = graph.add("Concat", photos, graph.constant("one token", np.array([1, WIDTH])), axis=0)
    token = graph.constant("token", graph.weights[f"{embedded}.class_embedding"].reshape(1, 1, WIDTH))
    x = graph.add("Concat", graph.add("Expand", token, shape), patches, axis=1)
    x = graph.add("Add", x, graph.constant("places", graph.weights[f"{embedded}.position_embedding.weight"][None]))
    x = graph.norm(x, f"{tower}.pre_layrnorm")
    for number in range(LAYERS):
        x = graph.block(x, f"{tower}.encoder.layers.{number}")
    x = graph.add("Gather", x, graph.constant("first", np.array(0)), axis=1)
    x = graph.linear(graph.norm(x, f"{tower}.post_layernorm"), "visual_projection")
    graph.nodes.append(helper.make_node("Identity", [x], ["output"]))
    made = helper.make_graph(
        graph.nodes,
        "tower",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", DIM])],
        [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, target)


# --- both programs ---------------------------------------------------------------------------


def run(command: list[str], cpus: int, folder: Path, **environment: str) -> tuple[str, dict[str, float]]:
    """Its output, and its seconds, processor seconds and most memory (children too).

    Raises:
        SystemExit: it failed.
    """

    def held() -> None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cpus])

    output = folder.parent / "output.txt"
    began = time.perf_counter()
    with output.open("w") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.PIPE,
            cwd=folder,
            text=True,
            preexec_fn=held,
            env={**os.environ, "OMP_NUM_THREADS": str(cpus), **environment},
        )
        errors = process.stderr.read() if process.stderr else ""
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command[:4])} failed: {errors.strip()[-500:]}")
    return output.read_text(), {
        "s": round(time.perf_counter() - began, 2),
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": round(used.ru_maxrss / 1e3),
    }


def by_rclip(python: str, photos: Path, asked: list[Path], data: Path, cpus: int) -> dict[str, Any]:
    """What its command takes to index the photos and to be asked, with the paths that it found."""
    # `rclip` itself only looks whether these are there: they are opened for texts.
    for name in RCLIP_FILES:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).touch()
    command = [python, "-m", "rclip", "--filepath-only", "--top", "10"]
    settings = {"RCLIP_DATADIR": str(data)}
    _, indexed = run([*command, str(asked[0])], cpus, photos, **settings)
    found, times = [], []
    for photo in asked:
        output, used = run([*command, "--no-indexing", str(photo)], cpus, photos, **settings)
        found.append([Path(line).name for line in output.splitlines()])
        times.append(used)
    file = data / "db.sqlite3"
    with sqlite3.connect(file) as rows:
        stored = {
            Path(path).name: np.frombuffer(v, np.float32)
            for path, v in rows.execute("SELECT filepath, vector FROM images")
        }
    return {"ingest": indexed, "ask": middle(times), "files_mb": megabytes([file]), "found": found, "vectors": stored}


def by_ours(photos: Path, asked: list[Path], model: Path, index: Path, cpus: int) -> dict[str, Any]:
    """The same of this program."""
    from interleave_index.storage.store import Store

    config = index.parent / "config.yaml"
    config.write_text(
        f"models: {{interface: {json.dumps(str(model))}, proposals: none, device: cpu, dtype: float32}}\n"
    )
    command = [sys.executable, "-m", "interleave_index"]
    where = ["--index", str(index), "--config", str(config)]
    _, indexed = run([*command, "ingest", str(photos), *where, "--workers", "0"], cpus, photos)
    found, times = [], []
    for photo in asked:
        # Of rclip's ten, the photo that is asked by is none.
        output, used = run(
            [*command, "search", f"[image:{photo}]", *where, "-k", "11", "--paths", "--no-server"], cpus, photos
        )
        found.append([name for name in (Path(line).name for line in output.splitlines()) if name != photo.name][:10])
        times.append(used)
    with Store.open(index) as store:
        active = store.active_space()
        ids = store.encoded(active[0]) if active else []
        facts = store.photos([int(number) for number in ids])
        rows = store.vectors(active[0], ids).image if active else []
        stored = {Path(str(facts[int(number)].path)).name: row for number, row in zip(ids, rows, strict=True)}
    files = [file for file in index.rglob("*") if file.is_file()]
    return {"ingest": indexed, "ask": middle(times), "files_mb": megabytes(files), "found": found, "vectors": stored}


def checked(python: str) -> str:
    """The path of an interpreter, absolute.

    Raises:
        SystemExit: it cannot be run, or lacks one of the packages.
    """
    found = shutil.which(python)
    if found is None:
        raise SystemExit(f"--rclip is {python}, which cannot be run; expected an interpreter with rclip and onnx")
    path = os.path.abspath(found)  # links are kept: an environment is known by them
    asked = subprocess.run([path, "-I", "-c", "import rclip.main, onnx"], capture_output=True, text=True)
    if asked.returncode:
        raise SystemExit(f"--rclip is {python}, which lacks a package: {asked.stderr.strip().splitlines()[-1]}")
    return path


def middle(times: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure.

    >>> middle([{"s": 1.0}, {"s": 5.0}, {"s": 2.0}])
    {'s': 2.0}
    """
    return {key: statistics.median(one[key] for one in times) for key in times[0]}


def megabytes(files: list[Path]) -> float:
    """Size of some files."""
    return round(sum(file.stat().st_size for file in files) / 1e6, 1)


def likeness(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    """How alike the vectors of the two are, and the share of the ten found photos that both found.

    >>> one = {"vectors": {"a": np.array([1.0, 0.0])}, "found": [["a", "b"]]}
    >>> likeness(one, {"vectors": {"a": np.array([1.0, 0.0])}, "found": [["b", "c"]]})
    {'photos': 1, 'least_cosine': 1.0, 'median_cosine': 1.0, 'same_hits': 0.5}
    """
    both = sorted(ours["vectors"].keys() & theirs["vectors"].keys())
    cosines = [float(np.dot(ours["vectors"][name], theirs["vectors"][name])) for name in both]
    pairs = list(zip(ours["found"], theirs["found"], strict=True))
    same = [len(set(one) & set(other)) / max(len(one), len(other)) for one, other in pairs]
    return {
        "photos": len(both),
        "least_cosine": round(min(cosines), 5),
        "median_cosine": round(statistics.median(cosines), 5),
        "same_hits": round(statistics.mean(same), 3),
    }


def table(results: dict[str, Any]) -> str:
    """What each command took, and ours by theirs."""
    lines = ["| command | program | s | processor s | most memory, MB |", "|---|---|---|---|---|"]
    for part in ("ingest", "ask"):
        for name in ("rclip", "interleave-index"):
            used = results[name][part]
            lines.append(f"| {part} | {name} | {used['s']} | {used['cpu_s']} | {used['peak_mb']} |")
    files = ", ".join(f"{name} {results[name]['files_mb']} MB" for name in ("rclip", "interleave-index"))
    return "\n".join([*lines, "", f"files: {files}; {results['likeness']}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--work", type=Path, required=True, help="a folder that is emptied")
    parser.add_argument("--rclip", required=True, help="an interpreter with rclip and onnx installed")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    python = checked(args.rclip)
    work = args.work.resolve()
    taken = sorted(path for path in args.photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))[
        : args.count
    ]
    if len(taken) < 11:
        raise SystemExit(f"{args.photos} holds {len(taken)} photos, expected 11 or more")
    shutil.rmtree(work, ignore_errors=True)
    photos = work / "photos"
    photos.mkdir(parents=True)
    for number, path in enumerate(taken):
        shutil.copy(path, photos / f"{number:04d}{path.suffix.lower()}")
    asked = sorted(photos.iterdir())[:: max(1, len(taken) // TIMES)][:TIMES]
    draw_model(work / "model")
    data = work / "rclip"
    script = "import sys, whole_photos, pathlib; whole_photos.write_onnx(*map(pathlib.Path, sys.argv[1:]))"
    here = str(Path(__file__).parent)
    subprocess.run([python, "-c", script, str(work / "vision.npz"), str(data / RCLIP_TOWER)], check=True, cwd=here)
    theirs = by_rclip(python, photos, asked, data, args.cpus)
    ours = by_ours(photos, asked, work / "model", work / "index", args.cpus)
    results: dict[str, Any] = {
        "machine": f"{platform.machine()}, {args.cpus} of {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}",
        "date": datetime.date.today().isoformat(),
        "likeness": likeness(ours, theirs),
    }
    for name, told in (("rclip", theirs), ("interleave-index", ours)):
        results[name] = {key: value for key, value in told.items() if key not in ("vectors", "found")}
    print(json.dumps(results) if args.json else f"{results['machine']}, {results['date']}\n\n{table(results)}")


if __name__ == "__main__":
    main()
