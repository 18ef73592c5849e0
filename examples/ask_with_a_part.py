"""Ask with a part of a picture in the middle of a sentence, and write a page with the masks painted.

    python examples/ask_with_a_part.py my.index mug.jpg 10 20 200 180 --after "on a wooden table" --page hits.html

The four numbers are a box in pixels of the upright picture: left, top, right, bottom.
"""

import argparse
from pathlib import Path

from interleave_index import Index, Picture, Query
from interleave_index.export.asked import query_pictures
from interleave_index.export.page import write_page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("box", type=float, nargs=4)
    parser.add_argument("--before", default="", help="words before the part")
    parser.add_argument("--after", default="", help="words after it")
    parser.add_argument("--page", type=Path, default=Path("hits.html"))
    args = parser.parse_args()

    x0, y0, x1, y1 = args.box
    query = Query(args.before, Picture(args.picture, box=(x0, y0, x1, y1)), args.after)
    print(query)  # the same query as a string: what the command line takes
    with Index.open(args.index) as index:
        # "exact" runs the model on every hit again, with the query; "stored" would take the regions of the ingest
        answer = index.search(query, top_k=8, ground="exact")
        for hit in answer:
            print(f"{hit.rank}  {hit.score:.3f}  {hit.relevance:.2f}  {hit.photo.path!r}")
        write_page(answer, args.page, load_pixels=index.pixels, pictures=query_pictures(query, index.load_picture))
    print(f"written: {args.page}")


if __name__ == "__main__":
    main()
