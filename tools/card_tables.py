"""Print the tables of docs/model-card.md from the report of an evaluation.

interleave-index evaluate val-0.tar --hard-negatives val-hardneg.jsonl --json > report.json
python tools/card_tables.py report.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

RETRIEVAL = {
    "caption": "captions to photos",
    "interleaved_word_kept": "caption with the word bracketed",
    "interleaved": "the word replaced by a part of another photo",
    "interleaved_word_deleted": "the word left out",
}
GROUNDING = {
    "grounding_text": "by text, exact",
    "grounding_text_stored": "by text, stored region",
    "grounding_exemplar": "by a part of another photo, exact",
    "grounding_exemplar_stored": "by a part of another photo, stored region",
}
FORMS = {"bare": "dog", "a": "a dog", "the": "the dog", "plural": "dogs", "photo_of": "a photo of a dog"}
KINDS = {
    "words": "words",
    "bracketed": "words in brackets",
    "pictures": "whole pictures",
    "parts": "parts of pictures",
    "mixed_part": "caption with a part of a picture",
    "mixed_word": "caption with a word in brackets",
}
JUDGED = (
    "missed", "false", "precision", "recall", "f1", "best_f1", "best_f1_score", "f1_share", "ece", "monotone", "n",
)  # fmt: skip
PRESENCE = {"stored": "presence, stored", "exact": "presence, exact look"}


def row(*cells: object) -> str:
    return f"| {' | '.join(map(shown, cells))} |"


def shown(cell: object) -> str:
    """A count with its thousands apart, a figure with one decimal, all else as it is."""
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:.1f}" if isinstance(cell, float) else str(cell)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    report: dict[str, Any] = json.loads(parser.parse_args().report.read_text())
    for name, figures in report.items():
        print(name, json.dumps(figures))
    print()
    for key, title in RETRIEVAL.items():
        if key in report:
            f = report[key]
            print(row(title, *(f.get(f"IR@{k}", "") for k in (1, 5, 10)), f.get("chance_IR@10", ""), f.get("n", "")))
    for key, title in GROUNDING.items():
        f = report[key]
        print(row(title, f["mIoU"], f["cIoU"], f["P@0.5"], f["whole_image_mIoU"], f["mean_mask_mIoU"], f["n"]))
    table("label as", "stored mIoU", "exact mIoU", "presence", "whole photo", "gain")
    for key, title in FORMS.items():
        f = report["forms"][key]
        print(row(title, f["stored"], f.get("exact", ""), f["presence"], f["whole_photo"], f["gain"]))
    table("query", *JUDGED)
    for key, title in KINDS.items():
        print(row(title, *(report["judgement"][key][name] for name in JUDGED)))
    for key, title in PRESENCE.items():
        print(row(title, *(report["judgement"]["presence"][key].get(name, "") for name in JUDGED)))
    for name in ("negatives", "own_photo"):
        table(*report[name])
        print(row(*report[name].values()))


def table(*names: str) -> None:
    print()
    print(row(*names))
    print(f"|{'---|' * len(names)}")


if __name__ == "__main__":
    main()
