"""Take in a folder of photos and search it with words.

    python examples/search_a_folder.py PHOTOS "[a dog] on a beach"

The index is made beside the photos' folder, as PHOTOS.index, and used again the next time.
"""

import argparse
from pathlib import Path

from interleave_index import Index
from interleave_index.config import Config
from interleave_index.export.words import verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("query")
    parser.add_argument("--model", default="find-mini")
    args = parser.parse_args()

    config = Config().with_flags(models_interface=args.model)
    with Index.open(f"{args.photos}.index", config=config, create=True) as index:
        report = index.ingest(args.photos)
        print(f"{report.added} added, {report.present} already there, {len(report.failed)} failed")
        for failed in report.failed:
            print(f"  {failed.path!r}: {failed.reason}: {failed.detail}")

        answer = index.search(args.query, top_k=5)
        for hit in answer:
            likely = "" if answer.meant(hit) else "  (probably not meant)"
            print(f"{hit.rank}  {hit.score:.3f}  {hit.photo.path!r}{likely}")
            for entity in hit.entities:
                where = [tuple(round(v) for v in region.box) for region in entity.regions]
                print(f"      {entity.text}: {verdict(entity, answer.meant(hit))}, box {where}")


if __name__ == "__main__":
    main()
