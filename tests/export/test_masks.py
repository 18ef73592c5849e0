import re

import numpy as np
import pytest
from PIL import Image

from interleave_index.errors import InputError
from interleave_index.export.colours import colour_of
from interleave_index.export.masks import entity_mask, mask_name, paint, write_library_masks, write_masks
from interleave_index.records import Photo


def test_one_png_for_each_hit_and_entity_that_has_a_region(answer, tmp_path):
    names = [path.name for path in write_masks(answer, tmp_path / "masks", absent=True)]
    assert names == [
        "001-7-red-disc-e1-red-disc.png",
        "002-9-caf-img-src-x-onerror-alert-1-e1-red-disc.png",
        "002-9-caf-img-src-x-onerror-alert-1-e2-not-a-b.png",
    ]


def test_mask_files_are_lossless_and_have_one_channel(answer, tmp_path):
    path = write_masks(answer, tmp_path)[0]
    with Image.open(path) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (40, 30))
        pixels = np.asarray(picture)
    assert set(np.unique(pixels)) == {0, 255} and np.array_equal(
        pixels == 255, entity_mask(answer[0].entities[0], answer[0].photo)
    )


def test_names_are_safe_on_every_file_system(answer):
    names = [mask_name(hit, n) for hit in answer for n in range(len(hit.entities))]
    assert len({name.lower() for name in names}) == 4
    assert all(re.fullmatch(r"\d{3}-[a-z0-9-]+\.png", name) and len(name) < 110 for name in names)


def test_painted_photos_come_with_a_loader(answer, load_pixels, tmp_path):
    written = write_masks(answer, tmp_path, load_pixels=load_pixels)
    assert sum(path.suffix == ".jpg" for path in written) == 2 and all(path.exists() for path in written)


def test_painting_tints_the_inside_outlines_the_border_and_leaves_the_rest():
    photo = np.full((40, 40, 3), 100, np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    painted = paint(photo, {0: mask})
    assert (painted[~mask] == 100).all() and (photo == 100).all()
    assert tuple(painted[10, 10]) == colour_of(0)
    assert painted[20, 20].tolist() == [round(100 * 0.55 + c * 0.45) for c in colour_of(0)]


def test_a_doubtful_mask_has_a_broken_line_and_no_tint():
    photo, mask = np.full((60, 60, 3), 100, np.uint8), np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    painted = paint(photo, {0: mask}, doubtful={0})
    line = (painted == colour_of(0)).all(-1)
    assert (painted[~line] == 100).all() and not line[~mask].any()
    for side in (line[10, 12:48], line[12:48, 10]):
        assert 0.3 < side.mean() < 0.7 and np.abs(np.diff(side.astype(int))).sum() >= 4


def test_library_masks_lie_in_folders_of_a_thousand(answer, tmp_path):
    photo = Photo(12345, "/x.jpg", 40, 30)
    regions = answer[0].entities[0].regions
    (path,) = write_library_masks([(photo, regions), (Photo(1, None, 8, 8), ())], tmp_path)
    assert path == tmp_path / "000012" / "000012345-000.png"
    assert np.asarray(Image.open(path)).sum() == 255 * 100


def test_masks_of_what_is_judged_absent_are_left_out_unless_asked_for(answer, tmp_path):
    assert len(write_masks(answer, tmp_path / "there")) == 2
    assert len(write_masks(answer, tmp_path / "all", absent=True)) == 3


def test_no_mask_is_written_when_one_would_go_over_another_file(answer, tmp_path):
    written = write_masks(answer, tmp_path)
    last = written[-1]
    for path in written[:-1]:
        path.unlink()
    with pytest.raises(InputError, match="exists already"):
        write_masks(answer, tmp_path)
    assert list(tmp_path.iterdir()) == [last]
    assert write_masks(answer, tmp_path, overwrite=True) == written
