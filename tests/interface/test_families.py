"""Every family, tiny and random, by the name of its folder: dual encoders, makers of masks, helpers of grounding."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("transformers")

from interleave_index import Index
from interleave_index.config import Config
from interleave_index.errors import ModelError
from interleave_index.interface.dual import proposals
from interleave_index.interface.dual.proposals import AutomaticMasks
from interleave_index.interface.registry import describe, load
from interleave_index.models.hub.dual_encoder import DualEncoder
from interleave_index.models.hub.pixels import Preprocessing
from interleave_index.models.segmenters.grounders import load_grounders
from interleave_index.records import ResolvedPart
from interleave_index.segmentation import segmenters
from interleave_index.segmentation.classes import coco_classes
from tests.models import tiny_families, tiny_prompted, tiny_universal

DENSE = ("altclip", "chinese_clip", "clipseg", "owlvit", "aimv2", "tipsv2")
WORDS = ["a red dog", "two people on a bench"]


def drawn(seed=0, height=96, width=128):
    """Two blocks of the toy's colours on white, at places of their own."""
    photo, random = np.full((height, width, 3), 255, np.uint8), np.random.default_rng(seed)
    for colour in ((220, 40, 40), (40, 70, 210)):
        top, left = random.integers(0, height // 2), random.integers(0, width // 2)
        photo[top : top + height // 3, left : left + width // 3] = colour
    return photo


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Saves a family once; nothing of the user's is touched."""
    home, patch, made = tmp_path_factory.mktemp("home"), pytest.MonkeyPatch(), {}
    patch.setenv("INTERLEAVE_MODELS", str(home / "models"))

    def folder(name):
        if name not in made:
            made[name] = tiny_families.save(home / "saved" / name, name)
        return made[name]

    yield folder
    patch.undo()


@pytest.mark.parametrize("name", tiny_families.NAMES)
def test_a_family_is_its_own_model_from_the_folder_to_masks_of_a_search(name, folder_of, tmp_path, monkeypatch):
    folder, photos = folder_of(name), [drawn(seed) for seed in range(5)]
    own_images, own_texts = tiny_families.own_vectors(folder, name, photos, WORDS)
    encoder = DualEncoder(folder)
    assert np.abs(encoder.encode_texts(WORDS) - own_texts).max() < 1e-4
    known = describe(str(folder))
    assert known.error is None and known.dim == encoder.dim == own_images.shape[1]

    for number, photo in enumerate(photos):
        Image.fromarray(photo).save(tmp_path / f"{number}.png")
    interface = load(str(folder), device="cpu", proposals="toy")
    stored = np.stack([encoding.image for encoding in interface.encode_photos(photos)])
    assert np.abs(stored - own_images).max() < 1e-4

    config = Config.from_mapping({"ingest": {"workers": 0}})
    with Index.open(tmp_path / "index", config=config, interface=interface, create=True) as index:
        report = index.ingest(tmp_path)
        assert report.added == 5 and not report.failed
        hits = list(index.search(WORDS[0], top_k=5))
        found = [int(Path(hit.photo.path or "").stem) for hit in hits]
        ranking = own_images @ own_texts[0] - (own_images @ interface.calibration.captions.T).mean(1) / 2
        assert sorted(found) == list(range(5)) and (np.diff(ranking[found]) < 1e-3).all()
        mixed = list(index.search(f"[a red dog] beside [image:{tmp_path / '2.png'}#box=0,0,60,60]", top_k=5))
        assert len(mixed) == 5 and all(len(hit.entities) == 2 for hit in mixed)
    grounded = interface.ground(photos[1], (ResolvedPart("entity", "text", "a red dog"),))
    assert grounded and {one.mask.decode().shape for one in grounded} == {photos[1].shape[:2]}
    assert any(one.mask.decode().any() for one in grounded)

    monkeypatch.setattr(segmenters, "LEAST_CHANCE", 0.0)  # random weights are sure of nothing
    panoptic = segmenters.RegionSegmenter(interface, coco_classes()).segment(photos[1])
    assert panoptic.segments and panoptic.ids.shape == photos[1].shape[:2]
    assert set(np.unique(panoptic.ids).tolist()) - {0} == {one.id for one in panoptic.segments}


@pytest.mark.parametrize("name", DENSE)
def test_a_dense_family_gives_the_photo_for_a_mask_of_everything_and_its_patches(name, folder_of):
    encoder, photo = DualEncoder(folder_of(name)), drawn()
    assert encoder.has_patches and isinstance(encoder.preprocessing, Preprocessing)
    rows, columns = encoder.preprocessing.grid(photo.shape[:2])
    masks = np.ones((2, rows, columns), np.float32)
    masks[1, :, columns // 2 :] = 0
    (encoded,) = encoder.encode_images([encoder.prepare(photo)], [masks], patches=True)
    assert encoded.patches.shape == (rows * columns, encoder.dim)
    whole = encoded.image if name != "tipsv2" else encoded.patches.mean(0) / np.linalg.norm(encoded.patches.mean(0))
    assert float(encoded.regions[0] @ whole) == pytest.approx(1, abs=1e-5)
    assert float(encoded.regions[1] @ whole) < 0.99999


@pytest.mark.parametrize("name", [name for name in tiny_families.BUILDERS if name not in DENSE])
def test_a_family_without_patches_cuts_its_regions_out(name, folder_of):
    interface = load(str(folder_of(name)), device="cpu", proposals="toy", grounding="own")
    assert "regions crop" in interface.space.preprocessing
    scene = interface.inspect(drawn()).scene
    assert scene.patches is None and len(scene.regions) == len(scene.masks) > 0


# --- makers of masks and helpers of grounding ------------------------------------------------

PROPOSERS = (
    "mask2former",
    "maskformer",
    "oneformer",
    "eomt",
    "sam",
    "sam_hq",
    "sam2",
    "sam3_tracker",
    "sam3_video",
    "edgetam",
)
GROUNDERS = ("sam", "sam_hq", "sam2", "edgetam", "sam3_tracker", "sam3_video", "sam3", "dino", "owl", "owlvit", "omdet")


@pytest.fixture(scope="module")
def part_of(tmp_path_factory):
    """Saves a segmenter or detector once."""
    home, made = tmp_path_factory.mktemp("parts"), {}

    def folder(name):
        if name not in made:
            maker = getattr(tiny_universal, name, None) or getattr(tiny_prompted, name)
            made[name] = maker(home / name)
        return made[name]

    return folder


@pytest.mark.parametrize("name", PROPOSERS)
def test_masks_of_a_segmenter_are_the_regions_of_an_index(name, folder_of, part_of, tmp_path, monkeypatch):
    for limit, value in (("QUALITY", -1e9), ("SMALLEST", 1e-4), ("LARGEST", 1.0), ("POINTS", 2)):
        monkeypatch.setattr(proposals, limit, value)  # random weights are sure of nothing
    monkeypatch.setattr(AutomaticMasks.__init__, "__kwdefaults__", {"points": 2})
    interface = load(str(folder_of("aimv2")), device="cpu", proposals=str(part_of(name)))
    assert f"proposals {name} " in interface.space.preprocessing
    for seed in range(5):
        Image.fromarray(drawn(seed)).save(tmp_path / f"{seed}.png")
    encodings = interface.encode_photos([drawn(seed) for seed in range(5)])
    assert sum(len(encoding.masks) for encoding in encodings) > 0
    for encoding in encodings:
        assert len(encoding.masks) == len(encoding.regions) == len(encoding.boxes) <= 32
        for mask, box, area in zip(encoding.masks, encoding.boxes, encoding.areas, strict=True):
            assert mask.decode().mean() == pytest.approx(float(area), abs=0.03)
            assert 0 <= box[0] < box[2] <= 128 and 0 <= box[1] < box[3] <= 96
    config = Config.from_mapping({"ingest": {"workers": 0}})
    with Index.open(tmp_path / "index", config=config, interface=interface, create=True) as index:
        assert index.ingest(tmp_path).added == 5
        hits = list(index.search(f"[a red dog] beside [image:{tmp_path / '2.png'}]", top_k=5))
        assert len(hits) == 5 and all(len(hit.entities) == 2 for hit in hits)
    assert interface.ground(drawn(1), (ResolvedPart("entity", "text", "a red dog"),))


@pytest.mark.parametrize("name", GROUNDERS)
def test_a_helper_of_grounding_is_asked_through_the_interface(name, folder_of, part_of):
    interface = load(str(folder_of("aimv2")), device="cpu", proposals="toy", grounders=str(part_of(name)))
    for found in (
        interface.ground(drawn(1), (ResolvedPart("entity", "text", "a red cat"),)),
        interface.ground(drawn(1), (ResolvedPart("entity", "picture", "[image:x.png]", photo=drawn(2)),)),
    ):
        assert found and {one.mask.decode().shape for one in found} == {(96, 128)}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "mask2former"}, "name it in models.proposals"),
        ({"model_type": "sam2"}, "name it in models.proposals or --grounders"),
        ({"model_type": "grounding-dino"}, "name it in --grounders"),
        ({"model_type": "blip-2"}, "take a checkpoint of Blip2ForImageTextRetrieval"),
        ({"model_type": "bert"}, "no other setting takes it"),
    ],
)
def test_a_model_that_is_no_encoder_says_which_setting_takes_it(config, words, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert (describe(str(tmp_path)).error or "").endswith(words)
    with pytest.raises(ModelError, match=words.replace(".", r"\.")):
        load(str(tmp_path), device="cpu")


def test_a_clipseg_is_a_dual_encoder_and_draws_the_masks_of_a_phrase_from_one_folder(folder_of):
    folder = folder_of("clipseg")
    interface = load(str(folder), device="cpu", proposals="toy", grounders=str(folder))
    photo, names = drawn(1), ("a red cat", "a blue dog")
    maps = load_grounders([str(folder)]).maps
    assert maps is not None
    parts = tuple(ResolvedPart("entity", "text", name) for name in names)
    found = interface.ground(photo, parts)
    assert {one.entity for one in found} == {0, 1} and {one.rung for one in found} == {"dense"}
    for number, name in enumerate(names):
        picture = maps.draw(photo, name)
        assert picture is not None
        high = np.asarray(Image.fromarray(picture).resize((128, 96), Image.Resampling.BILINEAR))
        high = high >= (picture.min() + picture.max()) / 2
        masks = np.any([one.mask.decode() for one in found if one.entity == number], axis=0)
        assert masks.any() and (masks & ~high).mean() < 0.02  # no pixel but those of the map at half its height
