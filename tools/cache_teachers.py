"""Run the teacher networks over photo packs once and keep what the student is to learn, compactly.

    python tools/cache_teachers.py --teachers DIR --out runs/targets PACK.tar...

Writes one `.npz` a pack: keys, pooled features (N, 2304) float16 (EdgeTPU operator 73, unit length, joined with
0.7 x labeler operator 64, unit length), and for both segmenters the arg-max class and its probability on a
48 x 48 grid, uint8, with the class names. Every photo is squashed to the teacher's square, as the student sees it.
With `--views N` it writes `PACK.views.npz` instead: for N crops of every photo their corners in shares of the photo,
`boxes` (N x photos, 4) float16, and the pooled features alone, so that the student sees exactly what the teacher saw.
With `--whole` the first of the N views is the whole photo, box 0, 0, 1, 1.
The teachers are for training only and belong to no release; the package never reads them, only these files.
Needs `ai-edge-litert`.
"""

import argparse
import hashlib
import io
import multiprocessing
from collections.abc import Iterator
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
from PIL import Image

from interleave_index.training.data import training_photos
from interleave_index.training.find_mini.samples import PAINTED_GRID

VIEW_SIDES = 0.35, 0.8  # of a crop, as shares of the photo's sides
TEACHERS = {
    "edgetpu": ("mobilenet_edgetpu_224_1.0_uint8.tflite", 73, 224),
    "labeler": ("object_labeler.tflite", 64, 224),
    "voc": ("deeplabv3_mnv2_pascal_quant.tflite", 68, 513),
    "ade": ("mobile_segmenter_r3_quant.tflite", 100, 512),
}


class Teacher:
    """One quantised network, cut after the operator that is wanted."""

    def __init__(self, path: Path, operator: int, side: int) -> None:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema
        from ai_edge_litert.interpreter import Interpreter

        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
        graph = model.subgraphs[0]
        graph.operators = graph.operators[: operator + 1]
        graph.outputs = [graph.operators[-1].outputs[0]]
        model.signatureDefs = []
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        self.side = side
        self.net = Interpreter(model_content=bytes(builder.Output()), num_threads=1)
        self.net.allocate_tensors()
        self.input = self.net.get_input_details()[0]["index"]
        self.output = self.net.get_output_details()[0]

    def __call__(self, photo: Image.Image) -> np.ndarray:
        """Real-valued output for one photo, channels last."""
        pixels = np.asarray(photo.resize((self.side, self.side), Image.Resampling.BILINEAR))
        self.net.set_tensor(self.input, pixels[None])
        self.net.invoke()
        scale, zero = self.output["quantization"]
        return (self.net.get_tensor(self.output["index"])[0].astype(np.float32) - zero) * scale


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


def painted(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Arg-max class and its probability x 255 on the grid, from (h, w, classes) logits."""
    grid = np.stack(
        [
            np.asarray(Image.fromarray(plane).resize((PAINTED_GRID, PAINTED_GRID), Image.Resampling.BILINEAR))
            for plane in np.ascontiguousarray(logits.transpose(2, 0, 1))
        ],
        -1,
    )
    odds = np.exp(grid - grid.max(-1, keepdims=True))
    odds /= odds.sum(-1, keepdims=True)
    return odds.argmax(-1).astype(np.uint8), (odds.max(-1) * 255).astype(np.uint8)


def names(file: Path) -> np.ndarray:
    """Class names of a segmenter, one a line, index 0 first."""
    return np.array(file.read_text().splitlines())


nets: dict[str, Teacher] = {}


def start(folder: Path, wanted: tuple[str, ...]) -> None:
    nets.update({name: Teacher(folder / file, *rest) for name, (file, *rest) in TEACHERS.items() if name in wanted})


def pooled(photo: Image.Image) -> np.ndarray:
    both = np.concatenate([unit(nets["edgetpu"](photo).ravel()), 0.7 * unit(nets["labeler"](photo).ravel())])
    return both.astype(np.float16)


def targets(item: tuple[str, bytes]) -> tuple[str, np.ndarray, np.ndarray]:
    key, jpeg = item
    photo = Image.open(io.BytesIO(jpeg)).convert("RGB")
    voc, voc_sure = painted(nets["voc"](photo))
    ade, ade_sure = painted(nets["ade"](photo))
    return key, pooled(photo), np.stack([voc, voc_sure, ade, ade_sure])


def crops(key: str, count: int) -> np.ndarray:
    """(count, 4) float16 corners x0, y0, x1, y1 in 0..1, the same for a key in every run."""
    rng = np.random.default_rng(int(hashlib.sha1(key.encode()).hexdigest()[:12], 16))
    sides = rng.uniform(*VIEW_SIDES, (count, 1)) * np.exp(rng.uniform(-0.15, 0.15, (count, 2)))
    corner = rng.uniform(0, 1, (count, 2)) * (1 - np.minimum(sides, 1))
    return np.concatenate([corner, corner + np.minimum(sides, 1)], 1).astype(np.float16)


def views(key: str, count: int, whole: bool) -> np.ndarray:
    """(count, 4) float16 corners of crops; with `whole` the first is the whole photo."""
    if not whole:
        return crops(key, count)
    return np.concatenate([np.array([[0, 0, 1, 1]], np.float16), crops(key, count - 1)])


def view_targets(item: tuple[str, bytes, int, bool]) -> tuple[str, np.ndarray, np.ndarray]:
    key, jpeg, count, whole = item
    photo = Image.open(io.BytesIO(jpeg)).convert("RGB")
    boxes = views(key, count, whole)
    scale = np.array([*photo.size, *photo.size])
    return key, np.stack([pooled(photo.crop(tuple(box))) for box in boxes.astype(np.float64) * scale]), boxes


def photos(pack: Path) -> Iterator[tuple[str, bytes]]:
    for _, photo in training_photos([pack]):
        yield photo.key, photo.jpeg


def write_views(pool: Pool, pack: Path, out: Path, count: int, whole: bool) -> None:
    """Pooled features of crops, one file a pack."""
    rows = []
    for row in pool.imap(view_targets, ((key, jpeg, count, whole) for key, jpeg in photos(pack)), chunksize=16):
        rows.append(row)
        if len(rows) % 500 == 0:
            print(f"{pack.name}: crops of {len(rows)} photos", flush=True)
    keys = np.repeat(np.array([r[0] for r in rows]), count)
    _replace(out, keys=keys, pooled=np.concatenate([r[1] for r in rows]), boxes=np.concatenate([r[2] for r in rows]))


def write_targets(pool: Pool, pack: Path, out: Path, folder: Path) -> None:
    """Pooled features and painted maps of whole photos, one file a pack."""
    rows = []
    for row in pool.imap(targets, photos(pack), chunksize=16):
        rows.append(row)
        if len(rows) % 500 == 0:
            print(f"{pack.name}: {len(rows)} photos", flush=True)
    _replace(
        out,
        keys=np.array([r[0] for r in rows]),
        pooled=np.stack([r[1] for r in rows]),
        painted=np.stack([r[2] for r in rows]),
        voc_names=names(folder / "labels-voc21.txt"),
        ade_names=names(folder / "labels-ade32.txt"),
    )


def _replace(out: Path, **arrays: np.ndarray) -> None:
    np.savez(out.with_suffix(".part.npz"), **arrays)
    out.with_suffix(".part.npz").rename(out)
    print(f"wrote {out}: {len(arrays['keys'])} rows", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packs", nargs="+", type=Path)
    parser.add_argument("--teachers", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/targets"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--views", type=int, default=0)
    parser.add_argument("--whole", action="store_true", help="the first of the views is the whole photo")
    args = parser.parse_args()
    if args.whole and not args.views:
        parser.error("--whole needs --views N: it makes the first of the N views the whole photo")
    args.out.mkdir(parents=True, exist_ok=True)
    wanted = ("edgetpu", "labeler") if args.views else tuple(TEACHERS)
    with multiprocessing.get_context("spawn").Pool(args.processes, start, (args.teachers, wanted)) as pool:
        for pack in args.packs:
            out = args.out / f"{pack.stem}{'.views' if args.views else ''}.npz"
            if out.exists():
                print(f"{out} is there", flush=True)
            elif args.views:
                write_views(pool, pack, out, args.views, args.whole)
            else:
                write_targets(pool, pack, out, args.teachers)


if __name__ == "__main__":
    main()
