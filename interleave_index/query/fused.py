"""The score of many photos by lines of tables, in one loop that numba compiles when this module is imported.

It adds up what `score.totals` does, photo by photo, and keeps a photo only where its score reaches a bar: nothing is
written for the others, and what negatives take off is not reckoned for a photo that is below the bar without them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..storage.compiled import jitted
from ..storage.kernel import COLUMNS

# Photos that go through one step before the next. No step branches on a score: a processor that guesses wrong throws
# away all that it had begun to fetch, which took longer than the rest together.
TOGETHER = 512


@jitted
def keep_above(
    image_lines: Any,
    image_table: Any,
    places: Any,
    lines: Any,
    first: Any,
    past: Any,
    tables: Any,
    beside: Any,
    gains: Any,
    whole: Any,
    negatives: Any,
    columns: Any,
    offset: float,
    bar: float,
    found: Any,
    scores: Any,
    best: Any,
) -> int:
    """Fill `found`, `scores` and `best` from their beginning, for those of some photos that reach the bar.

    Args:
        image_lines: (n,) int32, by photo the line of the table of images.
        image_table: (L, C) float32: products with the sentence, and in further columns what `whole` and `columns` name.
        places: (m,) int32, which of the n photos each of these is.
        lines, first, past: of their regions, see `outline.Run`.
        tables: (G, lines, COLUMNS) float32, G tables that have a column for each of the E entities, then for each of
            the N negatives.
        beside: (n,) float32, what is added to each score.
        gains: (E,) float32, what the best product of a region with each entity counts.
        whole: (E + N,) int64, column of the images where an image counts among its regions; -1 where it does not.
        negatives: (N, 3) float32: what each takes off at most, and the slope and middle of its curve.
        columns: (N,) int64, column of the images that each negative is compared with.
        offset: that every photo gets.
        bar: the least score that is kept.
        found: (m,) int32, `scores`: (m,) float32, `best`: (m, E + N) float32, of regions alone.
    Returns:
        How many reach it.
    """
    entities, parts, count = len(gains), len(whole), 0
    highest = np.empty((COLUMNS * len(tables), TOGETHER), np.float32)
    wanted, left = np.empty(TOGETHER, np.float32), np.empty(TOGETHER + 1, np.int64)
    for start in range(0, len(places), TOGETHER):
        photos = min(TOGETHER, len(places) - start)
        # 1. the best product of each part with the regions of each photo
        for group in range(len(tables)):
            table = tables[group]
            for one in range(photos):
                b0 = b1 = b2 = b3 = np.float32(-np.inf)
                for row in range(first[start + one], past[start + one]):
                    line = lines[row]
                    v0, v1, v2, v3 = table[line, 0], table[line, 1], table[line, 2], table[line, 3]
                    b0 = v0 if v0 > b0 else b0  # `max` takes longer, since it heeds what is no number
                    b1 = v1 if v1 > b1 else b1
                    b2 = v2 if v2 > b2 else b2
                    b3 = v3 if v3 > b3 else b3
                highest[COLUMNS * group, one] = b0
                highest[COLUMNS * group + 1, one] = b1
                highest[COLUMNS * group + 2, one] = b2
                highest[COLUMNS * group + 3, one] = b3
        # 2. the score without negatives, which only take off
        for one in range(photos):
            place = places[start + one]
            wanted[one] = image_table[image_lines[place], 0] + offset + beside[place]
        for part in range(entities):
            gain, own = gains[part], whole[part]
            for one in range(photos):
                value = highest[part, one]
                if own >= 0:
                    value = max(value, image_table[image_lines[places[start + one]], own])
                wanted[one] += gain * (value if value > -np.inf else np.float32(0))
        standing = 0
        for one in range(photos):
            left[standing] = one
            standing += wanted[one] >= bar
        # 3. the whole score of those that may still reach the bar
        for number in range(standing):
            one = left[number]
            image, total = image_lines[places[start + one]], wanted[one]
            for part in range(entities, parts):
                value = highest[part, one]
                if whole[part] >= 0:
                    value = max(value, image_table[image, whole[part]])
                value = value if value > -np.inf else np.float32(0)
                negative = part - entities
                most, slope, middle = negatives[negative, 0], negatives[negative, 1], negatives[negative, 2]
                evidence = image_table[image, columns[negative]] + value
                total -= most / (np.float32(1) + np.exp(-slope * (evidence - middle)))
            found[count], scores[count] = places[start + one], total
            for part in range(parts):
                best[count, part] = highest[part, one]
            count += total >= bar
    return count
