"""Run the teacher networks over photo packs once and keep what the student is to learn, compactly.

    python tools/cache_teachers.py --teachers DIR --out runs/targets PACK.tar...

Writes one `.npz` a pack: keys, pooled features (N, 2304) float16 (EdgeTPU operator 73, unit length, joined with
0.7 x labeler operator 64, unit length), and for both segmenters the arg-max class and its probability on a
48 x 48 grid, uint8, with the class names. Every photo is squashed to the teacher's square, as the student sees it.
The teachers are for training only and belong to no release; the package never reads them, only these files.
Needs `ai-edge-litert`.
"""

import argparse
import io
import json
import multiprocessing
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

GRID = 48
SKIPPED_SOURCES = {"human-seg", "camvid"}  # the weakest terms of all sources
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
            np.asarray(Image.fromarray(plane).resize((GRID, GRID), Image.Resampling.BILINEAR))
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


def start(folder: Path) -> None:
    nets.update({name: Teacher(folder / file, operator, side) for name, (file, operator, side) in TEACHERS.items()})


def targets(item: tuple[str, bytes]) -> tuple[str, np.ndarray, np.ndarray]:
    key, jpeg = item
    photo = Image.open(io.BytesIO(jpeg)).convert("RGB")
    pooled = np.concatenate([unit(nets["edgetpu"](photo).ravel()), 0.7 * unit(nets["labeler"](photo).ravel())])
    voc, voc_sure = painted(nets["voc"](photo))
    ade, ade_sure = painted(nets["ade"](photo))
    return key, pooled.astype(np.float16), np.stack([voc, voc_sure, ade, ade_sure])


def photos(pack: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(pack) as tar:
        jpeg = b""
        for member in tar:
            data = tar.extractfile(member).read()  # type: ignore[union-attr]
            if member.name.endswith(".jpg"):
                jpeg = data
            elif (record := json.loads(data))["source"] not in SKIPPED_SOURCES:
                yield record["key"], jpeg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packs", nargs="+", type=Path)
    parser.add_argument("--teachers", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/targets"))
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(args.processes, start, (args.teachers,)) as pool:
        for pack in args.packs:
            out = args.out / f"{pack.stem}.npz"
            if out.exists():
                print(f"{out} is there", flush=True)
                continue
            rows = []
            for row in pool.imap(targets, photos(pack), chunksize=16):
                rows.append(row)
                if len(rows) % 500 == 0:
                    print(f"{pack.name}: {len(rows)} photos", flush=True)
            np.savez(
                out.with_suffix(".part.npz"),
                keys=np.array([r[0] for r in rows]),
                pooled=np.stack([r[1] for r in rows]),
                painted=np.stack([r[2] for r in rows]),
                voc_names=names(args.teachers / "labels-voc21.txt"),
                ade_names=names(args.teachers / "labels-ade32.txt"),
            )
            out.with_suffix(".part.npz").rename(out)
            print(f"wrote {out}: {len(rows)} photos", flush=True)


if __name__ == "__main__":
    main()
