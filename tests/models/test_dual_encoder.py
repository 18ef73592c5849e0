"""Dual encoders through the real path: tiny random models, saved as a hub holds them and loaded from the folder."""

import json
import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from interleave_index.errors import ModelError, WeightsMissing
from interleave_index.models.hub import local
from interleave_index.models.hub.dual_encoder import DualEncoder
from interleave_index.models.hub.families import dim_of
from interleave_index.regular import sha256_of
from tests.models import tiny

FAMILIES = ("clip", "metaclip_2", "siglip", "siglip2-fixed", "siglip2")
SIZES = ((60, 80), (100, 50), (48, 48), (30, 90))


def photos(*sizes):
    """Smooth colourful pictures, each another."""
    made = []
    for n, (height, width) in enumerate(sizes):
        y, x = np.mgrid[:height, :width]
        waves = [np.sin(x / (5 + n + c) + c) * np.cos(y / (7 + 2 * n - c)) for c in range(3)]
        made.append((np.stack(waves, -1) * 120 + 128).astype(np.uint8))
    return made


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("models")
    return {family: tiny.save(home / family, family) for family in FAMILIES}


@pytest.fixture(scope="module")
def encoders(folders):
    return {family: DualEncoder(folder) for family, folder in folders.items()}


@pytest.fixture(params=FAMILIES)
def encoder(request, encoders):
    return encoders[request.param]


def reference(folder, pictures, words):
    """Image and text vectors as transformers alone gives them, with its own image processor in its Pillow form."""
    import transformers

    family = json.loads((folder / "config.json").read_text())["model_type"]
    kind = {"clip": "CLIP", "metaclip_2": "MetaClip2", "siglip": "Siglip", "siglip2": "Siglip2"}[family]
    model = getattr(transformers, f"{kind}Model").from_pretrained(folder).eval()
    processor = getattr(transformers, f"{kind.replace('MetaClip2', 'CLIP')}ImageProcessorPil").from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        image = model.get_image_features(**processor(pictures, return_tensors="pt")).pooler_output
        if family.startswith("siglip"):
            ids = tokenizer([w.lower() for w in words], padding="max_length", max_length=24, return_tensors="pt")
            text = model.get_text_features(input_ids=ids["input_ids"]).pooler_output
        else:
            text = model.get_text_features(**tokenizer(words, padding=True, return_tensors="pt")).pooler_output
    return (torch.nn.functional.normalize(image, dim=-1).numpy(), torch.nn.functional.normalize(text, dim=-1).numpy())


@pytest.mark.parametrize("family", FAMILIES)
def test_photos_and_texts_get_the_vectors_of_the_model_itself(family, folders, encoders):
    pictures, words = photos(*SIZES), ["A red dog", "two people on a bench"]
    image, text = reference(folders[family], pictures, words)
    encoder = encoders[family]
    found = np.stack([encoded.image for encoded in encoder.encode_images([encoder.prepare(p) for p in pictures])])
    assert np.abs(found - image).max() < 2e-5
    assert np.abs(encoder.encode_texts(words) - text).max() < 2e-5
    assert encoder.dim == image.shape[1] == dim_of(json.loads((folders[family] / "config.json").read_text()))


def full(encoder, picture, count=1):
    return np.ones((count, *encoder.preprocessing.grid(picture.shape[:2])), np.float32)


def test_a_region_of_everything_is_the_photo(encoder):
    pictures = photos(*SIZES)
    encoded = encoder.encode_images([encoder.prepare(p) for p in pictures], [full(encoder, p, 2) for p in pictures])
    for one in encoded:
        assert one.regions.shape == (2, encoder.dim)
        assert np.allclose(one.regions @ one.image, 1, atol=1e-5)


def test_a_region_takes_nothing_from_the_cells_outside_its_mask(encoder):
    """Swap what lies outside by hand: the class token's way, with the outside keys removed, gives the same vector."""
    picture = photos((48, 48))[0]
    grid = encoder.preprocessing.grid((48, 48))
    left = np.zeros((1, *grid), np.float32)
    left[:, :, : grid[1] // 2] = 1
    prepared = [encoder.prepare(picture)]
    tower = encoder._tower
    with torch.inference_mode():
        seen = tower.forward(encoder._inputs(prepared))
        kept = torch.from_numpy(left.reshape(-1) > 0)
        start = seen.values[0].shape[1] - seen.real.shape[1]
        chosen = torch.cat([torch.ones(start, dtype=torch.bool), kept])
        cut = type(seen)(
            seen.image, [k[:, chosen] for k in seen.keys], [v[:, chosen] for v in seen.values], seen.real[:, kept]
        )
        alone = tower.pool(cut, torch.ones(1, 1, int(kept.sum())))[0]
    (encoded,) = encoder.encode_images(prepared, [left])
    assert np.allclose(encoded.regions[0], torch.nn.functional.normalize(alone, dim=-1)[0], atol=1e-5)
    assert float(encoded.regions[0] @ encoded.image) < 0.9999


def test_regions_do_not_depend_on_their_neighbours_in_the_batch(encoder):
    pictures = photos(*SIZES)
    random = np.random.default_rng(1)
    wanted = [
        random.uniform(size=(n + 1, *encoder.preprocessing.grid(p.shape[:2]))).astype(np.float32)
        for n, p in enumerate(pictures)
    ]
    prepared = [encoder.prepare(p) for p in pictures]
    for method in ("attention", "patches"):
        together = encoder.encode_images(prepared, wanted, method=method, patches=True)
        for n, one in enumerate(together):
            (alone,) = encoder.encode_images([prepared[n]], [wanted[n]], method=method, patches=True)
            assert np.allclose(alone.regions, one.regions, atol=1e-5) and np.allclose(alone.image, one.image, atol=1e-5)
            assert alone.patches.shape == one.patches.shape == (wanted[n][0].size, encoder.dim)


def test_patch_pooling_is_the_weighted_mean_of_the_patch_vectors(encoder):
    picture = photos((60, 80))[0]
    cover = np.random.default_rng(2).uniform(size=(3, *encoder.preprocessing.grid((60, 80)))).astype(np.float32)
    (encoded,) = encoder.encode_images([encoder.prepare(picture)], [cover], method="patches", patches=True)
    mean = cover.reshape(3, -1) @ encoded.patches
    assert np.allclose(encoded.regions, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-5)
    assert np.allclose(np.linalg.norm(encoded.patches, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("family", ["siglip", "siglip2"])
def test_a_region_of_one_cell_is_the_vector_of_its_patch(family, encoders):
    encoder, picture = encoders[family], photos((60, 80))[0]
    grid = encoder.preprocessing.grid((60, 80))
    one = np.zeros((1, *grid), np.float32)
    one[0, 2, 3] = 1
    (encoded,) = encoder.encode_images([encoder.prepare(picture)], [one], patches=True)
    assert np.allclose(encoded.regions[0], encoded.patches[2 * grid[1] + 3], atol=1e-5)


@pytest.mark.parametrize("family", ["clip", "siglip", "siglip2"])
def test_half_precision_stays_near(folders, family):
    picture = photos((60, 80))[0]
    exact, half = DualEncoder(folders[family]), DualEncoder(folders[family], dtype="bfloat16")
    found = [e.encode_images([e.prepare(picture)], [full(e, picture)])[0] for e in (exact, half)]
    assert found[1].image.dtype == np.float32 and float(found[0].image @ found[1].image) > 0.97
    assert float(found[1].regions[0] @ found[1].image) > 0.999  # both rounded alike
    assert exact.checkpoint == half.checkpoint


# --- files that are not right ----------------------------------------------------------------


def changed(folder, target, **more):
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    config.update(more)
    (target / "config.json").write_text(json.dumps(config))
    return target


def test_a_checkpoint_is_named_by_its_weights(folders, tmp_path):
    assert local.checkpoint_of(folders["clip"]) == sha256_of(folders["clip"] / "model.safetensors")
    assert local.checkpoint_of(folders["clip"]) != local.checkpoint_of(folders["siglip"])


def test_a_folder_of_another_kind_is_refused(folders, tmp_path):
    with pytest.raises(ModelError, match="model_type 'bert'"):
        DualEncoder(changed(folders["clip"], tmp_path / "bert", model_type="bert"))


def test_weights_that_lack_a_layer_are_refused_instead_of_drawn_at_random(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    target = changed(folders["clip"], tmp_path / "cut")
    weights = load_file(target / "model.safetensors")
    weights.pop("visual_projection.weight")
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsMissing, match=r"lacks 1 weights.*visual_projection"):
        DualEncoder(target)


@pytest.mark.parametrize(
    ("file", "words"),
    [("model.safetensors", "holds no weights"), ("tokenizer.json", "tokenizer"), ("config.json", "model_type None")],
)
def test_a_missing_file_is_one_clear_error(folders, tmp_path, file, words):
    target = changed(folders["siglip2"], tmp_path / "less")
    (target / file).unlink()
    with pytest.raises(ModelError, match=words):
        DualEncoder(target)


def test_a_preprocessor_of_another_size_is_refused(folders, tmp_path):
    target = changed(folders["clip"], tmp_path / "other")
    settings = json.loads((target / "preprocessor_config.json").read_text())
    settings["crop_size"], settings["size"] = {"height": 32, "width": 32}, {"shortest_edge": 32}
    (target / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=r"prepares photos at 32x32.*48x48"):
        DualEncoder(target)


def test_a_vocabulary_as_a_list_of_words_is_enough(tmp_path):
    from tests.models import tiny_families

    folder = tiny_families.save(tmp_path / "chinese", "chinese_clip")
    wanted = DualEncoder(folder).encode_texts(["a red dog"])
    (folder / "tokenizer.json").unlink()
    assert (folder / "vocab.txt").is_file()
    assert np.allclose(DualEncoder(folder).encode_texts(["a red dog"]), wanted, atol=1e-6)
