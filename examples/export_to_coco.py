"""Turn the hits of a query into a COCO file and mask pictures, and read the file back with pycocotools.

python examples/export_to_coco.py my.index "[a dog]" out/
"""

import argparse
from pathlib import Path

from pycocotools.coco import COCO

from interleave_index import Index
from interleave_index.export.coco import write_coco
from interleave_index.export.masks import write_masks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("query")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)  # outputs make no folders, and go over nothing

    with Index.open(args.index) as index:
        answer = index.search(args.query, top_k=20)
        write_coco(answer, args.out / "hits.json")
        pictures = write_masks(answer, args.out / "masks", load_pixels=index.pixels)
    print(f"{len(answer)} hits, {len(pictures)} pictures in {args.out / 'masks'}")

    coco = COCO(str(args.out / "hits.json"))
    for annotation in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(annotation)  # (height, width) of the upright photo
        name = coco.loadCats([annotation["category_id"]])[0]["name"]
        print(f"photo {annotation['image_id']}: {name}, {int(mask.sum())} pixels, score {annotation['score']:.2f}")


if __name__ == "__main__":
    main()
