"""The grounding record: geometry of the grid, what survives packing, and its size."""

import struct

import numpy as np
import pytest

from interleave_index.errors import InputError, ShapeError
from interleave_index.geometry import unit
from interleave_index.grounding.grid import PatchGrid
from interleave_index.grounding.record import HEAD, pack, unpack
from tests.grounding.conftest import cell_of, cropped, letterboxed

CHECKPOINT = "00112233445566778899aabbccddeeff" * 2


def drawn(size=(30, 40), box=(4, 5, 25, 20)):
    mask = np.zeros(size, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def brute_coverage(grid, mask, steps=60):
    """Share of sample points of each cell that the mask holds, of those in the photo."""
    x0, y0, x1, y1 = grid.window
    h, w = grid.grid
    found = np.zeros(grid.grid)
    for row in range(h):
        for column in range(w):
            y = y0 + (y1 - y0) * (row + (np.arange(steps) + 0.5) / steps) / h
            x = x0 + (x1 - x0) * (column + (np.arange(steps) + 0.5) / steps) / w
            y, x = y[(y >= 0) & (y < grid.size[0])], x[(x >= 0) & (x < grid.size[1])]
            if len(y) and len(x):
                rows = (y * mask.shape[0] / grid.size[0]).astype(int)
                columns = (x * mask.shape[1] / grid.size[1]).astype(int)
                found[row, column] = mask[np.ix_(rows, columns)].mean()
    return found


GRIDS = {
    "stretch": PatchGrid.whole((300, 400), (5, 7)),
    "crop": cropped((300, 400), (6, 6), (224, 298), (224, 224)),
    "letterbox": letterboxed((300, 400), (8, 8), (192, 256), (256, 256), (32, 0)),
    "native": PatchGrid.whole((300, 400), (12, 16), "native"),
}


@pytest.mark.parametrize("mode", GRIDS)
def test_coverage_is_the_share_that_sampling_finds(mode):
    grid = GRIDS[mode]
    assert np.abs(grid.coverage([drawn()])[0] - brute_coverage(grid, drawn())).max() < 0.02


@pytest.mark.parametrize("mode", GRIDS)
def test_the_centre_of_a_cell_lies_in_its_middle(mode):
    grid = GRIDS[mode]
    cells = cell_of(grid, grid.centres())
    rows, columns = np.mgrid[: grid.grid[0], : grid.grid[1]]
    assert np.allclose(cells, np.stack([columns + 0.5, rows + 0.5], -1))


def test_padding_of_a_letterbox_is_outside_and_covered_by_nothing():
    grid = GRIDS["letterbox"]
    assert grid.usable()[:, 0].tolist() == [False] + [True] * 6 + [False]
    assert not grid.coverage([np.ones((30, 40), bool)])[0][0].any()
    assert np.allclose(grid.coverage([np.ones((30, 40), bool)])[0][1:7], 1)


@pytest.mark.parametrize("mode", GRIDS)
def test_a_record_comes_back_as_it_was_packed(mode):
    grid = GRIDS[mode]
    masks = [drawn(), drawn(box=(30, 0, 40, 30))]
    found = unpack(pack(grid, masks, CHECKPOINT))
    assert (found.grid, found.encoder, found.left) == (grid, CHECKPOINT[:16], None)
    assert found.patches() is None
    assert np.abs(found.coverage - grid.coverage(masks)).max() <= 0.5 / 255 + 1e-6


def test_patches_of_low_rank_come_back_within_the_rounding():
    random = np.random.default_rng(3)
    grid = PatchGrid.whole((100, 100), (14, 14))
    patches = unit(random.normal(size=(196, 8)) @ random.normal(size=(8, 64)))
    found = unpack(pack(grid, [], CHECKPOINT, patches, rank=8)).patches()
    assert found is not None
    query = unit(random.normal(size=(5, 64)))
    assert np.abs(found @ query.T - patches @ query.T).max() < 0.01
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_a_photo_of_32_regions_on_576_cells_keeps_under_31_kilobytes():
    random = np.random.default_rng(0)
    masks = []
    for _ in range(32):
        x, y = random.integers(0, 200, 2)
        masks.append(drawn((256, 256), (x, y, x + random.integers(10, 56), y + random.integers(10, 56))))
    patches = unit(random.normal(size=(576, 512)).astype(np.float32))
    whole = pack(PatchGrid.whole((3000, 4000), (24, 24)), masks, CHECKPOINT, patches, rank=16)
    assert len(pack(PatchGrid.whole((3000, 4000), (24, 24)), masks, CHECKPOINT)) < 4096
    assert len(whole) < 31 * 1024  # beside 33 KB of vectors: under 64 KB a photo


def test_no_regions_and_no_patches_is_a_record_too():
    found = unpack(pack(PatchGrid.whole((5, 9), (1, 1)), [], CHECKPOINT))
    assert found.coverage.shape == (0, 1, 1)
    assert found.patches() is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"XXXX" + data[4:],
        lambda data: data[:4] + b"\x63" + data[5:],
        lambda data: data[:-3],
        lambda data: data[:52] + struct.pack("<H", 7) + data[54:],
        lambda data: data[: HEAD.size],
    ],
)
def test_bytes_that_are_no_record_are_one_clear_error(spoil):
    data = pack(GRIDS["crop"], [drawn()], CHECKPOINT)
    with pytest.raises(InputError, match="ingest the photo again"):
        unpack(spoil(data))


def test_patches_that_do_not_fit_the_grid_are_refused():
    with pytest.raises(ShapeError, match=r"expected \(4, D\)"):
        pack(PatchGrid.whole((5, 9), (2, 2)), [], CHECKPOINT, np.zeros((3, 8), np.float32))
    with pytest.raises(ShapeError, match="x0 < x1"):
        PatchGrid((5, 9), (2, 2), (3.0, 0.0, 3.0, 1.0))
