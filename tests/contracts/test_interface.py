"""What every interface promises (interface/protocol.py), asked of toys and of tiny models of every kind."""

import numpy as np
import pytest

from interleave_index.errors import ShapeError
from interleave_index.geometry import box_of
from interleave_index.interface.calibration import KINDS
from interleave_index.interface.registry import load, names
from interleave_index.records import ResolvedPart
from tests.interface.vlm import tiny_vlm
from tests.models import tiny

VLM = ("qwen3_vl", "embedding_gemma2")


def drawn(height=96, width=128):
    photo = np.full((height, width, 3), 255, np.uint8)
    photo[height // 4 : height // 2, width // 4 : width // 2] = (220, 40, 40)
    photo[height // 2 :, : width // 3] = (40, 70, 210)
    return photo


@pytest.fixture(scope="module", params=[*names(), "clip", "siglip", "siglip2", *VLM, "published"])
def interface(request, tmp_path_factory, toys):
    if request.param in names():
        yield load(request.param, device="cpu")
        return
    pytest.importorskip("transformers")
    home, patch = tmp_path_factory.mktemp("home"), pytest.MonkeyPatch()
    patch.setenv("INTERLEAVE_MODELS", str(home))  # where the banks of calibration are kept
    if request.param == "published":
        yield load(str(toys.imported_model(home)), device="cpu")
        patch.undo()
        return
    save = tiny_vlm.save if request.param in VLM else tiny.save
    yield load(str(save(home / request.param, request.param)), device="cpu", proposals="toy")
    patch.undo()


def test_no_photos_give_no_encodings(interface):
    assert interface.encode_photos([]) == []


@pytest.mark.parametrize("size", [(96, 128), (700, 300), (1, 40), (33, 1)])
def test_an_encoding_has_the_promised_form(interface, size):
    (encoding,) = interface.encode_photos([drawn(*size)])
    count, dim = len(encoding.masks), interface.space.dim
    assert encoding.image.shape == (dim,) and encoding.regions.shape == (count, dim)
    assert encoding.boxes.shape == (count, 4) and encoding.areas.shape == encoding.scores.shape == (count,)
    for array in (encoding.image, encoding.regions, encoding.boxes, encoding.areas, encoding.scores):
        assert array.dtype == np.float32 and np.isfinite(array).all()
    assert np.allclose(np.linalg.norm(encoding.regions, axis=1), 1, atol=1e-4)
    assert float(np.linalg.norm(encoding.image)) == pytest.approx(1, abs=1e-4)
    height, width = size
    assert (encoding.boxes >= 0).all() and (encoding.boxes <= np.array([width, height, width, height]) + 1e-3).all()
    assert ((encoding.areas > 0) & (encoding.areas <= 1)).all() and (
        (encoding.scores >= 0) & (encoding.scores <= 1)
    ).all()
    assert (np.diff(encoding.scores) <= 1e-6).all()


def test_masks_fit_their_boxes_and_are_small(interface):
    (encoding,) = interface.encode_photos([drawn(900, 1200)])
    for mask, box in zip(encoding.masks, encoding.boxes, strict=True):
        assert max(mask.size) <= 512 and mask.size[0] / mask.size[1] == pytest.approx(0.75, rel=0.01)
        scale = 1200 / mask.size[1]
        assert np.allclose(np.array(box_of(mask.decode())) * scale, box, atol=scale)


def test_photos_do_not_touch_each_other_in_a_batch(interface):
    photos = [drawn(), drawn(64, 64), drawn(50, 200)]
    together = interface.encode_photos(photos)
    for photo, encoding in zip(photos, together, strict=True):
        (alone,) = interface.encode_photos([photo])
        assert float(alone.image @ encoding.image) == pytest.approx(1, abs=1e-4)


def test_a_query_gives_one_vector_for_each_of_its_parts(interface):
    mask = np.zeros((96, 128), bool)
    mask[24:48, 32:64] = True
    query = (
        ResolvedPart("entity", "text", "a red thing"),
        ResolvedPart("caption", "text", "near"),
        ResolvedPart("entity", "region", "[image:x.png]", photo=drawn(), mask=mask),
        ResolvedPart("entity", "picture", "[image:y.png]", photo=drawn()),
        ResolvedPart("negative", "text", "a blue thing"),
    )
    encoding = interface.encode_query(query)
    dim = interface.space.dim
    assert (
        encoding.legend.shape == (dim,) and encoding.entities.shape == (3, dim) and encoding.negatives.shape == (1, dim)
    )
    for rows in (encoding.legend[None], encoding.entities, encoding.negatives):
        assert rows.dtype == np.float32 and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-4)
    again = interface.encode_query(query)
    assert np.array_equal(encoding.entities, again.entities) and np.array_equal(encoding.legend, again.legend)


def test_a_whole_picture_is_its_image_vector(interface):
    (encoding,) = interface.encode_photos([drawn()])
    query = interface.encode_query((ResolvedPart("entity", "picture", "[image:y.png]", photo=drawn()),))
    assert float(query.entities[0] @ encoding.image) == pytest.approx(1, abs=1e-4)


def test_negatives_take_no_part_in_the_legend(interface):
    caption = ResolvedPart("caption", "text", "a red thing")
    alone = interface.encode_query((caption,))
    beside = interface.encode_query((caption, ResolvedPart("negative", "text", "a blue thing")))
    assert np.array_equal(alone.legend, beside.legend)


def test_lost_pixels_are_stood_in_for_by_a_stored_vector(interface):
    (encoding,) = interface.encode_photos([drawn()])
    stored = ResolvedPart("entity", "region", "[region:1/0]", vector=encoding.regions[0])
    assert np.allclose(interface.encode_query((stored,)).entities[0], encoding.regions[0], atol=1e-5)
    query = interface.encode_query((ResolvedPart("caption", "text", "near"), stored))
    assert np.allclose(query.entities[0], encoding.regions[0], atol=1e-5)
    assert float(np.linalg.norm(query.legend)) == pytest.approx(1, abs=1e-4)
    with pytest.raises(ShapeError, match="neither pixels nor a stored vector"):
        interface.encode_query((ResolvedPart("entity", "region", "[region:1/0]"),))


def test_grounding_gives_every_entity_a_mask_of_the_photos_size(interface):
    query = (
        ResolvedPart("entity", "text", "a red thing"),
        ResolvedPart("caption", "text", "on white"),
        ResolvedPart("entity", "picture", "[image:y.png]", photo=drawn(40, 60)),
        ResolvedPart("negative", "text", "a blue thing"),
    )
    found = interface.ground(drawn(200, 150), query)
    assert {mask.entity for mask in found} == {0, 1}
    for mask in found:
        assert mask.mask.size == (200, 150) and -1.001 <= mask.score <= 1.001
        assert mask.box == box_of(mask.mask.decode())
    assert interface.ground(drawn(), (ResolvedPart("caption", "text", "on white"),)) == []


def test_the_banks_are_unit_vectors_of_the_space(interface):
    calibration = interface.calibration
    for bank in (calibration.captions, calibration.phrases, calibration.pictures, calibration.regions):
        assert bank.ndim == 2 and len(bank) and bank.shape[1] == interface.space.dim
        assert np.allclose(np.linalg.norm(bank, axis=1), 1, atol=2e-3)


def test_curves_are_there_for_every_kind_of_query_or_for_none(interface):
    curves = interface.calibration.curves
    assert tuple(curves) in ((), KINDS)
    for curve in curves.values():
        assert curve.slope > 0 and curve.anything_slope > 0 and 0 < curve.bar < 1 and 0 < curve.anything_bar < 1
