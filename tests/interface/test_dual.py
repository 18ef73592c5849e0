"""The dual interface with tiny random models of every family, loaded from folders as a hub holds them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("transformers")

from interleave_index import Index
from interleave_index.config import Config
from interleave_index.errors import ConfigError, SpaceMismatch, WeightsMissing
from interleave_index.geometry import mask_iou, unit
from interleave_index.grounding.record import unpack
from interleave_index.interface.calibration import Calibration
from interleave_index.interface.dual.proposals import AutomaticMasks, InterfaceProposals, proposal_at
from interleave_index.interface.dual.regions import square_around
from interleave_index.interface.registry import load
from interleave_index.interface.toy import ToyInterface
from interleave_index.models.hub.dual_encoder import DualEncoder
from interleave_index.records import ResolvedPart, Segmented
from tests.models import tiny, tiny_prompted

FAMILIES = ("clip", "metaclip_2", "siglip", "siglip2-fixed", "siglip2")


def drawn(height=96, width=128):
    """Red above, blue below to the left, on white: three patches of one colour each for the toy's proposals."""
    photo = np.full((height, width, 3), 255, np.uint8)
    photo[height // 4 : height // 2, width // 4 : width // 2] = (220, 40, 40)
    photo[height // 2 :, : width // 3] = (40, 70, 210)
    return photo


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Folder of models and banks, so that nothing of the user's is touched."""
    place, patch = tmp_path_factory.mktemp("home"), pytest.MonkeyPatch()
    patch.setenv("INTERLEAVE_MODELS", str(place))
    yield place
    patch.undo()


@pytest.fixture(scope="module")
def folders(home):
    return {family: tiny.save(home / "saved" / family, family) for family in FAMILIES}


@pytest.fixture(scope="module", params=FAMILIES)
def interface(request, folders):
    return load(str(folders[request.param]), device="cpu", proposals="toy")


def dual(folder, proposals="toy", **settings):
    """The interface itself, which grounds in its own way."""
    return load(str(folder), device="cpu", proposals=proposals, grounding="own", **settings)


def text(words, role="caption", weight=1.0):
    return ResolvedPart(role, "text", words, weight=weight)


# --- beyond what tests/contracts/test_interface.py asks of every interface ---------------------


def test_regions_of_a_batch_are_those_of_each_photo_alone(interface):
    photos = [drawn(), drawn(64, 64), drawn(50, 200)]
    for photo, encoding in zip(photos, interface.encode_photos(photos), strict=True):
        (alone,) = interface.encode_photos([photo])
        assert np.allclose((alone.regions * encoding.regions).sum(1), 1, atol=1e-4)
        assert len(encoding.regions) == len(encoding.masks) == 3


def test_the_banks_are_unit_vectors_of_the_space_and_are_made_once(interface, home, folders):
    calibration = interface.calibration
    for bank in (calibration.captions, calibration.phrases, calibration.pictures, calibration.regions):
        assert bank.ndim == 2 and len(bank) > 10 and bank.shape[1] == interface.space.dim
        assert np.allclose(np.linalg.norm(bank, axis=1), 1, atol=2e-3)
    assert calibration.stand_in and Calibration.from_bytes(calibration.to_bytes()).stand_in
    kept = {file: file.stat().st_mtime_ns for file in (home / "banks").glob("*.npz")}
    assert kept
    again = load(str(folders[interface.space.interface]), device="cpu", proposals="toy").calibration
    assert np.array_equal(again.captions, calibration.captions)
    assert {file: file.stat().st_mtime_ns for file in kept} == kept


# --- quality: never below the plain encoder ---------------------------------------------------


def collection(count=24):
    made = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        photo = np.kron(random.integers(0, 255, (3 + seed % 4, 4, 3)), np.ones((20, 20, 1))).astype(np.uint8)
        made.append(photo)
    return made


@pytest.mark.parametrize(
    "query",
    [
        (text("a photo of a beach"),),
        (text("a red dog", "entity"),),
        (text("two people"), text("a bench", "entity", 3.0)),
    ],
)
def test_plain_text_ranks_photos_exactly_as_the_encoder_does(interface, folders, query):
    photos = collection()
    encoder = DualEncoder(folders[interface.space.interface])
    plain = np.stack([encoded.image for encoded in encoder.encode_images([encoder.prepare(p) for p in photos])])
    words = " ".join(part.label for part in query)
    wanted = np.argsort(-(plain @ encoder.encode_texts([words])[0]), kind="stable")
    stored = np.stack([encoding.image for encoding in interface.encode_photos(photos)])
    scores = stored @ interface.encode_query(query).legend
    assert np.argsort(-scores, kind="stable").tolist() == wanted.tolist()


def test_an_index_ranks_plain_text_as_the_encoder_does_with_half_of_the_mean_caption_taken_off(folders, home, tmp_path):
    """Through decoding, the catalog's half precision and the search; pairs nearer than that rounding may swap."""
    photos = collection()
    for number, photo in enumerate(photos):
        Image.fromarray(photo).save(tmp_path / f"{number:02}.png")
    encoder = DualEncoder(folders["siglip"])
    plain = np.stack([encoded.image for encoded in encoder.encode_images([encoder.prepare(p) for p in photos])])
    made = dual(folders["siglip"])
    wanted = plain @ encoder.encode_texts(["a photo of a beach"])[0] - (plain @ made.calibration.captions.T).mean(1) / 2
    config = Config.from_mapping({"ingest": {"workers": 0}})
    with Index.open(tmp_path / "index", config=config, interface=made, create=True) as index:
        index.ingest(tmp_path)
        for mode in ("exact", "ann"):
            answer = index.search("a photo of a beach", top_k=len(photos), mode=mode)
            found = [int(Path(hit.photo.path or "").stem) for hit in answer]
            assert sorted(found) == list(range(len(photos)))
            assert (np.diff(wanted[found]) < 1e-3).all()
            assert np.allclose([hit.score for hit in answer], wanted[found], atol=1e-3)


def test_an_index_of_other_regions_says_in_what_they_differ(folders, home, tmp_path):
    Image.fromarray(drawn()).save(tmp_path / "one.png")
    config = Config.from_mapping({"ingest": {"workers": 0}})
    made, other = (dual(folders["clip"], regions=method) for method in ("attention", "patches"))
    with Index.open(tmp_path / "index", config=config, interface=made, create=True) as index:
        index.ingest(tmp_path)
    with (
        Index.open(tmp_path / "index", interface=other) as index,
        pytest.raises(SpaceMismatch, match=r"regions attention.*regions patches.*models.regions and models.proposals"),
    ):
        index.search("a dog")


def test_a_batch_that_does_not_fit_into_memory_costs_no_photo(folders, home, monkeypatch):
    made = dual(folders["clip"])
    photos, sizes, encode = collection(9), [], made.encoder.encode_images

    def full(prepared, *words, **more):
        sizes.append(len(prepared))
        if len(prepared) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return encode(prepared, *words, **more)

    wanted = made.encode_photos(photos)
    monkeypatch.setattr(made.encoder, "encode_images", full)
    found = made.encode_photos(photos)
    assert all(np.allclose(one.image, other.image, atol=1e-5) for one, other in zip(found, wanted, strict=True))
    assert max(sizes) > 3 and made.batcher.size <= 3
    sizes.clear()
    made.encode_photos(photos)
    assert max(sizes) <= 3  # it is remembered


def test_a_photo_finds_itself_and_weights_shift_the_legend(interface):
    photos = collection(6)
    encoded = interface.encode_photos(photos)
    parts = [ResolvedPart("entity", "picture", f"[image:{n}.png]", photo=photo) for n, photo in enumerate(photos[:2])]
    (alone,) = interface.encode_query((parts[0],)).entities
    assert float(alone @ encoded[0].image) == pytest.approx(1, abs=1e-4)
    heavy = ResolvedPart("entity", "picture", "[image:1.png]", photo=photos[1], weight=3.0)
    legend = interface.encode_query((text("a beach"), parts[0], heavy)).legend
    words = interface.encode_query((text("a beach"),)).legend
    assert np.allclose(legend, unit(words + encoded[0].image + 3 * encoded[1].image), atol=1e-4)


# --- regions ----------------------------------------------------------------------------------


def test_a_region_query_finds_its_own_region(interface):
    photo = drawn()
    (encoding,) = interface.encode_photos([photo])
    for number, mask in enumerate(encoding.masks):
        part = ResolvedPart("entity", "region", "[image:x.png]", photo=photo, mask=mask.decode())
        (vector,) = interface.encode_query((part,)).entities
        assert float(vector @ encoding.regions[number]) == pytest.approx(1, abs=1e-3)


def test_points_mean_the_smallest_proposal_that_holds_them():
    photo = drawn()
    proposals = InterfaceProposals(ToyInterface()).propose([photo])[0]
    point = np.zeros((96, 128), bool)
    point[30:33, 40:43] = True  # on red, which lies inside white's bounds but not in its mask
    found = proposal_at(point, None, proposals)
    assert found is not None
    assert mask_iou(found, (photo == (220, 40, 40)).all(-1)) > 0.95
    assert proposal_at(point, point, proposals) is None


@pytest.mark.parametrize("method", ["attention", "patches", "crop"])
@pytest.mark.parametrize("family", ["clip", "siglip", "siglip2"])
def test_every_method_gives_regions_in_a_space_of_its_own(folders, home, family, method):
    made = dual(folders[family], regions=method)
    (encoding,) = made.encode_photos([drawn()])
    assert np.allclose(np.linalg.norm(encoding.regions, axis=1), 1, atol=1e-4)
    assert f"regions {method}" in made.space.preprocessing
    if method == "crop":
        encoder = DualEncoder(folders[family])
        view = encoder.preprocessing.whole()
        cut = view.prepare(square_around(drawn(), encoding.masks[1].decode()))
        assert np.allclose(encoder.encode_images([cut])[0].image, encoding.regions[1], atol=1e-4)


def test_the_space_tells_weights_preprocessing_method_and_proposals_apart(folders, home):
    spaces = {
        dual(folders["siglip"]).space,
        dual(folders["siglip"], regions="patches").space,
        dual(folders["siglip"], proposals="find-mini").space,
        dual(folders["clip"]).space,
        dual(tiny.save(home / "other" / "siglip", "siglip", seed=7)).space,
    }
    assert len(spaces) == 5
    again = dual(folders["siglip"], dtype="bfloat16").space
    assert again in spaces  # precision does not part a library on a GPU from its queries on a CPU
    assert all("pillow" in space.preprocessing for space in spaces)


def test_an_unknown_method_is_refused(folders, home):
    with pytest.raises(ConfigError, match="expected one of attention, patches, crop"):
        dual(folders["clip"], regions="boxes")


class Flooding:
    """A segmenter that floods the patch of one colour under a point, and is sure of it."""

    def bind(self, photo):
        from scipy import ndimage

        def segment(prompts):
            made = []
            for prompt in prompts:
                x, y = prompt.points[0].astype(int)
                pieces, _ = ndimage.label((photo == photo[y, x]).all(-1))
                made.append(Segmented(pieces == pieces[y, x], 0.9, 1.0))
            return made

        return segment


def test_a_segmenter_that_is_asked_everywhere_gives_every_patch_once():
    photo = drawn(120, 160)
    (found,) = AutomaticMasks(Flooding(), "flooding").propose([photo])
    wanted = [(photo == colour).all(-1) for colour in ((255, 255, 255), (40, 70, 210), (220, 40, 40))]
    assert [mask_iou(mask, want) > 0.99 for mask, want in zip(found.decoded(), wanted, strict=True)] == [True] * 3
    assert found.boxes[2].tolist() == [40, 30, 80, 60] and np.allclose(found.areas, [w.mean() for w in wanted])
    small = AutomaticMasks(Flooding(), "flooding").propose([np.zeros((40, 60, 3), np.uint8)])[0]
    assert small.masks == () and small.boxes.shape == (0, 4)  # the whole photo is no thing


def test_masks_of_sam_2_become_regions(folders, home):
    folder = tiny_prompted.sam2(home / "saved" / "sam2")
    made = dual(folders["clip"], proposals=str(folder))
    (encoding,) = made.encode_photos([drawn()])
    assert len(encoding.regions) == len(encoding.masks) <= 32 and "sam2" in made.space.preprocessing


# --- the grounding record and the seam --------------------------------------------------------


def test_every_photo_carries_its_patch_grid_as_a_whole(interface):
    photo = drawn(90, 160)
    (encoding,) = interface.encode_photos([photo])
    record = unpack(encoding.grounding or b"")
    assert record.grid.size == (90, 160) and record.grid.window == (0.0, 0.0, 160.0, 90.0)
    assert record.encoder == interface.space.checkpoint[:16]
    assert record.coverage.shape == (len(encoding.masks), *record.grid.grid)
    for cover, area in zip(record.coverage, encoding.areas, strict=True):
        assert float(cover.mean()) == pytest.approx(float(area), abs=0.02)
    patches = record.patches()
    assert patches is not None and patches.shape == (record.grid.cells, interface.space.dim)
    assert len(encoding.grounding) < 8 * 1024


def test_the_kept_patches_are_those_of_the_encoder(folders, home):
    made, encoder = dual(folders["siglip"]), DualEncoder(folders["siglip"])
    (encoding,) = made.encode_photos([drawn()])
    (encoded,) = encoder.encode_images([encoder.prepare(drawn())], patches=True)
    kept = unpack(encoding.grounding or b"").patches()
    assert kept is not None and encoded.patches is not None
    assert (kept * encoded.patches).sum(1).min() > 0.95 and (kept * encoded.patches).sum(1).mean() > 0.99


def test_an_inspected_photo_has_all_patches_of_the_view_as_a_whole_and_vectors_of_masks(folders, home):
    inspected, encoder = dual(folders["clip"]).inspect(drawn()), DualEncoder(folders["clip"])
    (plain,) = encoder.encode_images([encoder.preprocessing.whole().prepare(drawn())], patches=True)
    scene = inspected.scene
    assert scene.patches is not None and np.allclose(scene.patches, plain.patches, atol=1e-5)
    assert inspected.embed is not None
    assert np.allclose(inspected.embed([mask.decode() for mask in scene.masks]), scene.regions, atol=1e-4)


def test_its_own_way_of_grounding_is_the_best_region(folders, home):
    interface = dual(folders["clip"])
    (encoding,) = interface.encode_photos([drawn()])
    mask = encoding.masks[2].decode()
    part = ResolvedPart("entity", "region", "[image:x.png]", photo=drawn(), mask=mask)
    (found,) = interface.ground(drawn(), (part, text("beside")))
    assert found.rung == "" and found.score == pytest.approx(1, abs=1e-3)
    assert np.array_equal(found.mask.decode(), mask)


def test_the_end_of_a_text_that_an_encoder_does_not_read_is_told(interface):
    assert interface.reading("a red dog").notes() == []
    long = "a red dog " * 40 + "beside a Blue cat"
    reading = interface.reading(long)
    assert reading.cut.endswith("a red dog beside a Blue cat") and len(reading.cut) < len(long)
    (note,) = reading.notes()
    assert note.startswith("the text is longer than the model reads; it leaves out ")
    vectors = [interface.encode_query((text(words),)).legend for words in (long, long + " on a bench", long[2:])]
    assert np.allclose(vectors[0], vectors[1], atol=1e-5)  # what is left out says nothing
    assert not np.allclose(vectors[0], vectors[2], atol=1e-3)


# --- names ------------------------------------------------------------------------------------


def test_a_hub_name_that_was_not_pulled_says_how_to_get_it(home):
    with pytest.raises(WeightsMissing, match="interleave-index models pull openai/clip-vit-base-patch32"):
        load("openai/clip-vit-base-patch32", offline=True)
    with pytest.raises(WeightsMissing, match="expected one of find-mini, toy"):
        load("nothing-of-that-name")
