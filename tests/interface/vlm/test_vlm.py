"""The interleaved interface with tiny random models of both families, loaded from folders as a hub holds them."""

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("transformers")

import transformers

from interleave_index import Index
from interleave_index.config import Config
from interleave_index.errors import ConfigError, ModelError
from interleave_index.geometry import unit
from interleave_index.grounding.record import unpack
from interleave_index.interface.dual.regions import square_around
from interleave_index.interface.registry import describe, load
from interleave_index.interface.vlm.encoder import InterleavedEncoder
from interleave_index.records import ResolvedPart
from interleave_index.segmentation import segmenters
from interleave_index.segmentation.classes import coco_classes
from tests.interface.vlm import tiny_vlm
from tests.models import tiny

FAMILIES = ("qwen3_vl", "embedding_gemma2")
BEFORE = "<|im_start|>system\nRepresent the user's input.<|im_end|>\n<|im_start|>user\n"
AFTER = "<|im_end|>\n<|im_start|>assistant\n"


def drawn(height=96, width=128):
    """Red above, blue below to the left, on white: three patches of one colour each for the toy's proposals."""
    photo = np.full((height, width, 3), 255, np.uint8)
    photo[height // 4 : height // 2, width // 4 : width // 2] = (220, 40, 40)
    photo[height // 2 :, : width // 3] = (40, 70, 210)
    return photo


def noise(seed, height=60, width=80):
    small = np.random.default_rng(seed).integers(0, 255, (height // 20, width // 20, 3))
    return np.kron(small, np.ones((20, 20, 1))).astype(np.uint8)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Folder of models and banks, so that nothing of the user's is touched."""
    place, patch = tmp_path_factory.mktemp("home"), pytest.MonkeyPatch()
    patch.setenv("INTERLEAVE_MODELS", str(place))
    yield place
    patch.undo()


@pytest.fixture(scope="module")
def folders(home):
    return {family: tiny_vlm.save(home / family, family) for family in FAMILIES}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(family, folders):
    return folders[family]


@pytest.fixture(scope="module")
def interface(folder):
    return vlm(folder)


@pytest.fixture(scope="module")
def own(family, folder):
    return (OwnQwen if family == "qwen3_vl" else OwnGemma)(folder)


def vlm(folder, **settings):
    """The interface itself, which grounds in its own way."""
    return load(str(folder), device="cpu", proposals="toy", grounding="own", **settings)


def text(words, role="caption", weight=1.0):
    return ResolvedPart(role, "text", words, weight=weight)


def picture(photo, role="entity", **more):
    return ResolvedPart(role, "picture", "[image:x.png]", photo=photo, **more)


class OwnQwen:
    """What the library alone makes of one input: its model, its image processor, no batch and no padding."""

    def __init__(self, folder):
        self.model = transformers.Qwen3VLModel.from_pretrained(folder).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.processor = transformers.Qwen2VLImageProcessorPil.from_pretrained(folder)

    def inputs(self, *pieces):
        photos = [piece for piece in pieces if not isinstance(piece, str)]
        seen = self.processor([Image.fromarray(photo) for photo in photos], return_tensors="pt") if photos else {}
        counts = iter([int(shape.prod()) // 4 for shape in seen.get("image_grid_thw", ())])
        shown = [
            p if isinstance(p, str) else f"<|vision_start|>{'<|image_pad|>' * next(counts)}<|vision_end|>"
            for p in pieces
        ]
        written = BEFORE + " ".join(shown) + AFTER
        ids = self.tokenizer(written, return_tensors="pt")["input_ids"]
        return {"input_ids": ids, "mm_token_type_ids": (ids == self.model.config.image_token_id).int(), **seen}

    @torch.no_grad()
    def vector(self, *pieces):
        return unit(self.model(**self.inputs(*pieces)).last_hidden_state[0, -1].numpy())

    @torch.no_grad()
    def region(self, photo, kept):
        """The photo's pooling where the tokens after the photo see only the kept ones of it; one pass, one mask."""
        inputs = self.inputs(photo)
        shown = inputs["mm_token_type_ids"][0].bool()
        end, length = int(shown.nonzero().max()) + 1, len(shown)
        allowed = torch.ones(length, length).tril().bool()
        allowed[end:, shown] &= torch.from_numpy(kept.ravel())
        places, _ = self.model.get_rope_index(
            inputs["input_ids"], inputs["mm_token_type_ids"], image_grid_thw=inputs["image_grid_thw"]
        )
        output = self.model(**inputs, position_ids=places, attention_mask=allowed[None, None])
        return unit(output.last_hidden_state[0, -1].numpy())


class OwnGemma:
    """See `OwnQwen`."""

    def __init__(self, folder):
        self.model = transformers.EmbeddingGemma2Model.from_pretrained(folder).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.processor = transformers.Gemma4ImageProcessorPil.from_pretrained(folder)

    @torch.no_grad()
    def states(self, *pieces):
        photos = [piece for piece in pieces if not isinstance(piece, str)]
        seen = dict(self.processor([Image.fromarray(p) for p in photos], return_tensors="pt")) if photos else {}
        counts = iter(torch.as_tensor(seen.pop("num_soft_tokens_per_image", [])).tolist())
        written = " ".join(p if isinstance(p, str) else f"<|image>{'<|image|>' * next(counts)}<image|>" for p in pieces)
        if len(photos) < len(pieces):
            written = f"task: search result | query: {written}"
        ids = self.tokenizer(written, return_tensors="pt")["input_ids"]
        return ids[0], self.model(input_ids=ids, **seen).last_hidden_state[0].numpy()

    def vector(self, *pieces):
        return unit(self.states(*pieces)[1].mean(0))

    def region(self, photo, kept):
        ids, states = self.states(photo)
        shown = (ids == self.model.config.image_token_id).numpy()
        under = states[shown][kept.ravel()].mean(0)
        return unit(shown.sum() * under + states[~shown].sum(0))


# --- equal to the model's own call -------------------------------------------------------------


def test_photos_have_the_vectors_of_the_models_own_call(interface, own):
    photos = [drawn(), noise(1), noise(2, 200, 60), noise(3, 20, 200)]
    for photo, encoding in zip(photos, interface.encode_photos(photos), strict=True):
        assert np.abs(encoding.image - own.vector(photo)).max() < 1e-4


def test_a_sentence_with_pictures_is_one_input_in_its_order(interface, own):
    first, second = drawn(), noise(1)
    query = (text("a red thing like"), picture(first), text("beside a cat", "entity"), picture(second), text("outside"))
    encoding = interface.encode_query(query)
    wanted = own.vector("a red thing like", first, "beside a cat", second, "outside")
    assert np.abs(encoding.legend - wanted).max() < 1e-4
    for vector, alone in zip(encoding.entities, (first, "beside a cat", second), strict=True):
        assert np.abs(vector - own.vector(alone)).max() < 1e-4
    turned = interface.encode_query((query[0], query[3], query[2], query[1], query[4]))
    assert np.abs(turned.legend - encoding.legend).max() > 1e-3


def test_many_queries_at_once_have_the_vectors_of_each_alone(interface, own):
    queries = [
        (text("two people"),),
        (text("a red dog"), picture(drawn()), text("and a cat", "negative")),
        (picture(noise(4, 40, 200)),),
        (text("a blue cat like the one on a bench beside two people"),),
    ]
    sentences = [("two people",), ("a red dog", drawn()), (noise(4, 40, 200),), (queries[3][0].label,)]
    for encoding, pieces in zip(interface.encode_queries(queries), sentences, strict=True):
        assert np.abs(encoding.legend - own.vector(*pieces)).max() < 1e-4


def test_a_part_of_a_picture_stands_in_the_sentence_as_the_square_around_it(interface, own):
    photo = drawn()
    mask = (photo == (220, 40, 40)).all(-1)
    part = ResolvedPart("entity", "region", "[image:x.png]", photo=photo, mask=mask)
    legend = interface.encode_query((text("two of"), part)).legend
    assert np.abs(legend - own.vector("two of", square_around(photo, mask))).max() < 1e-4


@pytest.mark.parametrize("size", [(96, 128), (31, 77), (300, 40), (8, 8)])
def test_pictures_are_prepared_as_by_the_processor_of_the_library(folder, own, size):
    photo = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    pixels = InterleavedEncoder(folder).pixels
    made = pixels.tensors([pixels.prepare(photo)], torch.device("cpu"), torch.float32)
    wanted = own.processor([Image.fromarray(photo)], return_tensors="pt")
    for name, values in made.items():
        assert values.shape == wanted[name].shape
        assert float((values - wanted[name]).abs().max()) < 1e-6


def test_a_picture_that_is_too_thin_for_the_library_is_squeezed(interface):
    (encoding,) = interface.encode_photos([np.zeros((2, 900, 3), np.uint8)])
    assert float(np.linalg.norm(encoding.image)) == pytest.approx(1, abs=1e-4)


# --- regions ----------------------------------------------------------------------------------


def test_a_region_is_the_models_pooling_kept_to_the_tokens_under_its_mask(interface, own):
    photo = drawn()
    high, wide = interface._encoder.pixels.grid((96, 128))
    kept = np.zeros((high, wide), bool)
    kept[1:3, 2:5] = True
    (vector,) = interface._regions.vectors(photo, [kept])
    assert np.abs(vector - own.region(photo, kept)).max() < 1e-4


def test_a_mask_of_everything_gives_the_photo_and_one_of_nothing_too(interface):
    (encoding,) = interface.encode_photos([drawn()])
    masks = [np.ones((96, 128), bool), np.zeros((96, 128), bool)]
    for vector in interface._regions.vectors(drawn(), masks):
        assert np.abs(vector - encoding.image).max() < 1e-5


def test_regions_of_a_batch_are_those_of_each_photo_alone(interface):
    photos = [drawn(), drawn(64, 64), drawn(50, 200), drawn(200, 30)]
    for photo, encoding in zip(photos, interface.encode_photos(photos), strict=True):
        (alone,) = interface.encode_photos([photo])
        assert len(encoding.regions) == len(encoding.masks) > 1
        assert np.abs(alone.regions - encoding.regions).max() < 1e-4
        assert np.abs(alone.image - encoding.image).max() < 1e-4


def test_regions_by_patches_and_by_crops_lie_in_spaces_of_their_own(folder, own):
    photo = drawn()
    patches, crop = (vlm(folder, regions=method) for method in ("patches", "crop"))
    assert "regions patches" in patches.space.preprocessing and "regions crop" in crop.space.preprocessing
    (cut,), (pooled,) = crop.encode_photos([photo]), patches.encode_photos([photo])
    for number, mask in enumerate(cut.masks):
        wanted = own.vector(square_around(photo, mask.decode()))
        assert np.abs(cut.regions[number] - wanted).max() < 1e-4
    scene = patches.inspect(photo).scene
    assert scene.patches is not None
    flat = scene.coverage.reshape(len(scene.regions), -1)
    assert np.allclose(unit(flat @ scene.patches), pooled.regions, atol=1e-5)
    with pytest.raises(ConfigError, match="expected one of attention, patches, crop"):
        vlm(folder, regions="boxes")


def test_every_photo_carries_its_tokens(interface):
    (encoding,) = interface.encode_photos([drawn(90, 160)])
    record = unpack(encoding.grounding or b"")
    assert record.grid.grid == interface._encoder.pixels.grid((90, 160)) and record.grid.mode == "native"
    patches = record.patches()
    assert patches is not None and patches.shape == (record.grid.cells, interface.space.dim)


# --- settings ---------------------------------------------------------------------------------


def test_a_width_cuts_vectors_and_is_part_of_the_space(interface, folder):
    narrow = vlm(folder, width=8)
    assert narrow.space.dim == 8 and "width 8" in narrow.space.preprocessing and narrow.space != interface.space
    (whole,), (cut,) = interface.encode_photos([drawn()]), narrow.encode_photos([drawn()])
    assert np.allclose(cut.image, unit(whole.image[:8]), atol=1e-5)
    assert np.allclose(cut.regions, unit(whole.regions[:, :8]), atol=1e-5)
    query = (text("a red thing like"), picture(drawn()))
    legend = interface.encode_query(query).legend
    assert np.allclose(narrow.encode_query(query).legend, unit(legend[:8]), atol=1e-5)
    with pytest.raises(ConfigError, match=r"models.width is 99, expected at most"):
        vlm(folder, width=99)


def test_the_space_tells_weights_method_and_proposals_apart_but_no_precision(home, family, folder, interface):
    other = load(str(folder), device="cpu", proposals="find-mini", grounding="own")
    reseeded = vlm(tiny_vlm.save(home / "other" / family, family, seed=7))
    assert len({interface.space, other.space, reseeded.space}) == 3
    assert vlm(folder, dtype="bfloat16").space == interface.space


def test_half_precision_that_a_model_overflows_is_refused(folders):
    with pytest.raises(ConfigError, match=r"float16.*expected bfloat16 or float32"):
        vlm(folders["embedding_gemma2"], dtype="float16")


def test_a_folder_is_told_by_its_config(home, family, folder):
    found = describe(str(folder))
    assert found.what == f"an interleaved encoder ({family})" and found.error is None
    assert found.dim == vlm(folder).space.dim
    with pytest.raises(ModelError, match="expected one of qwen3_vl, embedding_gemma2"):
        InterleavedEncoder(tiny.save(home / "siglip", "siglip"))


def test_a_batch_that_does_not_fit_into_memory_costs_no_photo(folder, monkeypatch):
    made = vlm(folder)
    made.batcher.size = 8
    photos, sizes, encode = [noise(n) for n in range(9)], [], made._encoder.encode_photos
    wanted = made.encode_photos(photos)

    def full(prepared, *more):
        sizes.append(len(prepared))
        if len(prepared) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return encode(prepared, *more)

    monkeypatch.setattr(made._encoder, "encode_photos", full)
    found = made.encode_photos(photos)
    assert all(np.allclose(one.image, other.image, atol=1e-4) for one, other in zip(found, wanted, strict=True))
    assert max(sizes) > 3 and made.batcher.size <= 3
    sizes.clear()
    made.encode_photos(photos)
    assert max(sizes) <= 3  # it is remembered


def test_batches_grow_while_all_goes_well(folder):
    made = vlm(folder)
    first = made.batcher.size
    made.encode_photos([noise(n, 40, 40) for n in range(12)])
    assert first < made.batcher.size <= made.batcher.most == made.capabilities.photos_at_a_time


# --- words ------------------------------------------------------------------------------------


def test_the_end_of_a_text_that_is_not_read_is_told(interface):
    assert interface.reading("a red dog").notes() == []
    long = "a red dog " * 60
    reading = interface.reading(long)
    assert reading.cut and long.endswith(reading.cut)
    (note,) = reading.notes()
    assert note.startswith("the text is longer than the model reads; it leaves out ")
    within = long[: -len(reading.cut)]
    vectors = [interface.encode_query((text(words),)).legend for words in (long, within, within[2:])]
    assert np.allclose(vectors[0], vectors[1], atol=1e-5)
    assert not np.allclose(vectors[0], vectors[2], atol=1e-4)


def test_marks_of_the_prompt_in_a_users_words_are_no_marks(interface, family):
    mark, place = ("<|im_end|>", "<|image_pad|>") if family == "qwen3_vl" else ("<eos>", "<|image|>")
    legend = interface.encode_query((text(f"a dog {mark} a cat {place}"),)).legend
    blank = interface.encode_query((text(f"a dog {' ' * len(mark)} a cat {' ' * len(place)}"),)).legend
    assert np.allclose(legend, blank, atol=1e-5)


def test_a_part_without_pixels_is_added_by_its_stored_vector(interface):
    stored = unit(np.arange(interface.space.dim, dtype=np.float32))
    part = picture(None, vector=stored, weight=2.0)
    words = interface.encode_query((text("a red dog"),)).legend
    encoding = interface.encode_query((text("a red dog"), part))
    assert np.allclose(encoding.legend, unit(words + 2 * stored), atol=1e-5)
    assert np.allclose(encoding.entities[0], stored)
    assert not interface.encode_query(()).legend.any()


def test_what_is_said_twice_or_stored_is_not_read_again(folder, monkeypatch):
    made, read = vlm(folder), []
    encode = made._encoder.encode_sentences

    def noted(sentences):
        read.extend(sentences)
        return encode(sentences)

    monkeypatch.setattr(made._encoder, "encode_sentences", noted)
    made.encode_query((picture(drawn()),))
    made.encode_query((text("a red dog", "entity"),))
    assert len(read) == 2  # the sentence of one part is the part
    read.clear()
    stored = unit(np.arange(made.space.dim, dtype=np.float32))
    encoding = made.encode_query((text("like"), picture(drawn(), vector=stored)))
    assert [len(sentence) for sentence in read] == [2] and np.array_equal(encoding.entities[0], stored)


# --- an index ---------------------------------------------------------------------------------


def test_five_photos_are_taken_in_searched_by_a_mixed_sentence_and_grounded_by_points(
    folder, home, own, tmp_path, monkeypatch
):
    photos = [drawn(), *(noise(seed) for seed in range(3)), drawn(64, 64)]
    pictures = tmp_path / "photos"
    pictures.mkdir()
    for number, photo in enumerate(photos):
        Image.fromarray(photo).save(pictures / f"{number}.png")
    (pictures / "page.md").write_text("A red dog beside the sea.\n\n![a picture](1.png)\n\nTwo people on a bench.\n")
    config = Config.from_mapping(
        {"models": {"interface": str(folder), "proposals": "toy", "device": "cpu"}, "ingest": {"workers": 0}}
    )
    with Index.open(tmp_path / "index", config=config, create=True) as index:
        index.ingest(pictures)
        answer = index.search("a red thing like [photo:1]", top_k=5)
        assert len(answer) == 5
        assert {hit.photo.id for hit in answer} == {1, 2, 3, 4, 5}
        found = index.search("[photo:1]", top_k=1)[0]
        assert found.photo.id == 1
        masks = index.ground(pictures / "4.png", "[a red thing] like [photo:1]")
        assert masks.entities and all(entity.regions for entity in masks.entities)
        passages = index.search("two people", target="texts").texts
        assert passages and all(np.isfinite(hit.score) for hit in passages)
        monkeypatch.setattr(segmenters, "LEAST_CHANCE", 0.0)  # random weights are sure of nothing
        panoptic = segmenters.RegionSegmenter(index.interface, coco_classes()).segment(drawn())
        assert panoptic.segments and panoptic.ids.shape == drawn().shape[:2]


def test_half_the_precision_gives_nearly_the_same_vectors(interface, folder):
    half = vlm(folder, dtype="bfloat16")
    assert half.capabilities.dtype == "bfloat16" and half.capabilities.reads_pictures_in_text
    photos = [drawn(), noise(2, 200, 60)]
    for one, other in zip(half.encode_photos(photos), interface.encode_photos(photos), strict=True):
        assert float(one.image @ other.image) > 0.99
        assert (one.regions * other.regions).sum(1).min() > 0.99
    query = (text("a red thing like"), picture(drawn()))
    assert float(half.encode_query(query).legend @ interface.encode_query(query).legend) > 0.99


def test_a_config_that_leaves_its_usual_values_out_is_described_and_loads_by_the_librarys(home, family, folder):
    """The library writes all values today; a config.json by hand need not."""
    import json
    import shutil

    copy = home / "by-hand" / family
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    del config["text_config"]["max_position_embeddings"]
    (copy / "config.json").write_text(json.dumps(config))
    assert describe(str(copy)).dim == vlm(copy).space.dim
    config["text_config"] = {}
    (copy / "config.json").write_text(json.dumps(config))
    found = describe(str(copy))
    assert found.dim is None and found.error is None
