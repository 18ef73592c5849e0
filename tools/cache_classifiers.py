"""Write the last layers of the two classifying teachers, so that names can be read from cached features.

    python tools/cache_classifiers.py --teachers DIR --out runs/targets/classifiers.npz PACK.tar

`features @ weights.T + bias` are logits of a cached (unit length) feature: the weights are multiplied by the mean
length of real features, measured on photos of the pack. Arrays: imagenet_weights (1001, 1280), imagenet_bias,
imagenet_names (synonyms joined by "|"); object_weights (631, 1024), object_bias, object_names.
For training only; the package never reads the teachers, only this file.
"""

import argparse
import importlib.util
import io
from pathlib import Path

import numpy as np
from cache_teachers import TEACHERS, Teacher, photos
from PIL import Image

PHOTOS = 64


def last_layer(teachers: Path, file: str, operator: int) -> tuple[np.ndarray, np.ndarray]:
    spec = importlib.util.spec_from_file_location("tflite_torch", teachers / "tflite_torch.py")
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    net = module.Net(str(teachers / file))
    weights, bias = getattr(net, f"w{operator}").numpy(), getattr(net, f"b{operator}").numpy()
    return weights.reshape(len(bias), -1), bias


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("--teachers", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/targets/classifiers.npz"))
    args = parser.parse_args()
    arrays = {}
    for name, teacher, operator in (("imagenet", "edgetpu", 74), ("object", "labeler", 65)):
        file, *rest = TEACHERS[teacher]
        net = Teacher(args.teachers / file, *rest)
        lengths = [
            float(np.linalg.norm(net(Image.open(io.BytesIO(jpeg)).convert("RGB"))))
            for (_, jpeg), _ in zip(photos(args.pack), range(PHOTOS), strict=False)
        ]
        weights, bias = last_layer(args.teachers, file, operator)
        print(name, weights.shape, "mean length", np.mean(lengths), "spread", np.std(lengths))
        arrays |= {f"{name}_weights": weights * np.mean(lengths), f"{name}_bias": bias}
    imagenet = (args.teachers / "labels-imagenet1001.txt").read_text().lower().splitlines()
    lines = (args.teachers / "labels-object631.tsv").read_text().splitlines()
    objects = [line.split("\t")[2].strip().lower() for line in lines]
    arrays["imagenet_names"] = np.array(["|".join(part.strip() for part in line.split(",")) for line in imagenet])
    arrays["object_names"] = np.array(objects)
    np.savez(args.out, **arrays)


if __name__ == "__main__":
    main()
