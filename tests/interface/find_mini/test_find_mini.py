"""The bundled model: its files, its masks, and photos that are stored turned."""

import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from interleave_index.errors import ModelError, ShapeError, WeightsMissing
from interleave_index.ingest.decode import decode
from interleave_index.interface.calibration import KINDS, Curve
from interleave_index.interface.find import tasks
from interleave_index.interface.find.prompter import Sentence, compose
from interleave_index.interface.find_mini import WEIGHTS
from interleave_index.interface.find_mini.bundle import fingerprint, load_bundle, save_bundle, save_curves
from interleave_index.interface.find_mini.caption_expansion import MOST_CAPTIONS, SHARPNESS, Vocabulary
from interleave_index.interface.find_mini.interface import FindMini, squashed_mask, upsampled
from interleave_index.interface.find_mini.region_scorer import REGION_FEATURES, UNFITTED, RegionScorer, region_features
from interleave_index.interface.find_mini.texts import encode_phrases, encode_texts
from interleave_index.interface.registry import load
from interleave_index.models.vision.tower import squashed
from interleave_index.records import ResolvedPart

SIZE_LIMIT = 48 * 2**20


@pytest.fixture(scope="module")
def find_mini():
    return load("find-mini", device="cpu")


def scene():
    """A smooth scene without any symmetry."""
    y, x = np.mgrid[:300, :400]
    photo = np.stack([x * 255 / 399, y * 255 / 299, 128 + 100 * np.sin(x / 40)], -1)
    photo[60:140, 220:340] = (230, 40, 40)
    photo[(y - 220) ** 2 + (x - 90) ** 2 < 45**2] = (30, 60, 220)
    return photo.astype(np.uint8)


def stored_turned(orientation):
    """Bytes of a picture that its EXIF tag turns back into the scene."""
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[
        orientation
    ]  # PIL's transpositions, inverse of the tag's
    picture = Image.fromarray(scene())
    if back is not None:
        picture = picture.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92, exif=exif)
    return file.getvalue()


def test_a_photo_stored_in_any_orientation_gives_one_embedding(find_mini):
    upright = find_mini.encode_photos([scene()])[0].image
    for orientation in range(1, 9):
        decoded = decode(stored_turned(orientation), max_pixels=10**7)
        assert (decoded.height, decoded.width) == (300, 400), orientation
        assert float(find_mini.encode_photos([decoded.rgb])[0].image @ upright) >= 0.999, orientation


def test_the_bundle_is_small_and_never_loads_transformers():
    folder = WEIGHTS
    assert sum(file.stat().st_size for file in folder.iterdir()) <= SIZE_LIMIT
    script = (
        'import sys; from interleave_index.interface.registry import load; load(); print("transformers" in sys.modules)'
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_a_bundle_survives_being_written_again(tmp_path):
    bundle = load_bundle(WEIGHTS)
    facts = {key: bundle.config[key] for key in ("name", "class_names", "trained_on")}
    one = bundle
    for folder in (tmp_path / "first", tmp_path / "second"):
        save_bundle(folder, one.model, one.calibration, facts, one.vocabulary, one.scorer)
        one = load_bundle(folder)
    again = one
    assert again.checkpoint == fingerprint(tmp_path / "first") == fingerprint(tmp_path / "second")
    assert not {"alike", "bank.phrases", "class_table"} & set(load_file(tmp_path / "first" / "model.safetensors"))
    assert again.vocabulary.names == bundle.vocabulary.names
    assert torch.equal(again.vocabulary.vectors, bundle.vocabulary.vectors)
    assert torch.allclose(again.scorer.weights, bundle.scorer.weights, atol=1e-3)  # halves
    assert again.calibration.curves == bundle.calibration.curves and tuple(again.calibration.curves) == KINDS
    for name in ("captions", "phrases", "pictures", "regions"):
        assert np.array_equal(getattr(again.calibration, name), getattr(bundle.calibration, name)), name
    assert again.calibration.phrases is again.calibration.captions  # phrases are read as captions are


def copied(folder):
    """The bundle as links; a file that is to be changed is unlinked first."""
    for file in WEIGHTS.iterdir():
        (folder / file.name).symlink_to(file)
    return folder


def reworded(folder, **changes):
    """The copied bundle with other facts in its config.json."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def test_other_curves_leave_the_space_as_it_is(tmp_path):
    before = load_bundle(copied(tmp_path))
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_bytes((WEIGHTS / "config.json").read_bytes())
    curves = dict.fromkeys(KINDS, Curve(7.25, -4.0, 0.2, 11.123456, -0.5, -3.0, 0.6))
    save_curves(tmp_path, curves)
    after = load_bundle(tmp_path)
    assert after.checkpoint == before.checkpoint
    assert after.calibration.curves == dict.fromkeys(KINDS, replace(curves["caption"], anything_slope=11.1235))
    save_curves(tmp_path, {})
    assert load_bundle(tmp_path).calibration.curves == {}


@pytest.mark.parametrize(
    "constants",
    [{"slope": {"caption": 1.0}, "offset": {"caption": -2.0}, "cutoff": 0.5}, {"caption": {"slope": 1.0}}, [1.0]],
)
def test_constants_of_another_release_are_one_clear_error(tmp_path, constants):
    reworded(copied(tmp_path), calibration=constants)
    with pytest.raises(WeightsMissing, match=f"{tmp_path.name} is damaged.*copy or train it again"):
        load_bundle(tmp_path)


def test_what_earlier_editions_kept_of_all_regions_is_not_looked_at(tmp_path):
    copied(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    earlier = {**tensors, "alike": torch.ones(3, 3), "bank.phrases": torch.ones(2, 256)}
    save_file(earlier, tmp_path / "model.safetensors")
    bundle, shipped = load_bundle(tmp_path), load_bundle(WEIGHTS)
    assert np.array_equal(bundle.calibration.phrases, shipped.calibration.phrases)
    assert torch.equal(bundle.scorer.weights, shipped.scorer.weights)


def test_a_bundle_trained_without_names_and_masks_works_too(tmp_path):
    bundle = load_bundle(WEIGHTS)
    facts = {key: bundle.config[key] for key in ("name", "class_names", "trained_on")}
    save_bundle(tmp_path, bundle.model, bundle.calibration, facts, Vocabulary((), torch.zeros(0, 256)), None)
    plain = FindMini(tmp_path)
    (encoding,) = plain.encode_photos([scene()])
    assert 1 <= len(encoding.regions) <= 32 and (np.diff(encoding.scores) <= 0).all()
    part = ResolvedPart("entity", "region", "part", photo=scene(), mask=np.arange(400)[None].repeat(300, 0) < 200)
    query = plain.encode_query((ResolvedPart("caption", "text", "near"), part))
    assert np.linalg.norm(query.legend) == pytest.approx(1, abs=1e-4)
    assert plain.reading("a dgo 狗").notes() == []  # without words.txt nothing is known to be unknown


def test_a_vocabulary_without_its_names_is_a_damaged_bundle(tmp_path):
    reworded(copied(tmp_path), vocabulary=load_bundle(WEIGHTS).config["vocabulary"][1:])
    with pytest.raises(WeightsMissing, match=r"names for .* vectors of the vocabulary"):
        load_bundle(tmp_path)


def test_a_bundle_that_does_not_fit_its_sizes_is_refused(tmp_path):
    bundle = load_bundle(WEIGHTS)
    facts = {key: bundle.config[key] for key in ("name", "class_names", "trained_on")}
    save_bundle(tmp_path, bundle.model, bundle.calibration, facts, bundle.vocabulary, bundle.scorer)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"object_queries": 40', '"object_queries": 39'))
    with pytest.raises(WeightsMissing, match="does not fit the sizes"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b"[]"),
        ("config.json", b'{"format": 1, "sizes": {"nonsense": 1}}'),
        ("model.safetensors", b"\x08\0\0\0"),
        ("tokenizer.json", b"{}"),
    ],
)
def test_a_damaged_bundle_is_one_clear_error_that_names_its_folder(tmp_path, name, content):
    (copied(tmp_path) / name).unlink()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsMissing, match=f"{tmp_path.name} is damaged"):
        load_bundle(tmp_path)


def test_names_and_devices_that_are_not_there_are_told():
    with pytest.raises(WeightsMissing, match="no model 'find-maxi', expected one of find-mini, toy"):
        load("find-maxi")
    with pytest.raises(ModelError, match="device 'abacus' is not available"):
        load("find-mini", device="abacus")


def test_anything_but_rgb_is_refused(find_mini):
    with pytest.raises(ShapeError, match=r"shape \(10, 10\) and dtype uint8, expected \(H, W, 3\) uint8"):
        find_mini.encode_photos([np.zeros((10, 10), np.uint8)])


def test_a_tiny_mask_still_marks_a_cell():
    mask = np.zeros((300, 400), bool)
    assert not squashed_mask(mask, (32, 32)).any()
    mask[100, 200] = True
    cells = squashed_mask(mask, (32, 32))
    assert cells.sum() == 1 and cells[10, 16]
    mask[:150] = True
    assert squashed_mask(mask, (32, 32))[:16].all() and not squashed_mask(mask, (32, 32))[16:].any()


def seen(find_mini, photo=None):
    """Pyramid and proposals of one photo."""
    pyramid, _ = find_mini._views([scene() if photo is None else photo])
    return pyramid, tasks.propose(find_mini.network, pyramid)


def test_regions_are_proposals_with_their_own_vectors_ranked_by_the_scorer(find_mini):
    photo = scene()
    (encoding,) = find_mini.encode_photos([photo])
    with torch.inference_mode():
        _, proposals = seen(find_mini, photo)
        features = region_features(proposals, 0)
        own_vectors = torch.nn.functional.normalize(proposals.vectors[0], dim=-1).numpy()
        scores = find_mini._scorer(features)
    assert features.shape == (proposals.masks.shape[1], len(REGION_FEATURES))
    columns = dict(zip(REGION_FEATURES, features.T.tolist(), strict=True))
    assert columns["quality"] == pytest.approx(proposals.quality()[0].tolist())
    for name, values in columns.items():
        assert min(values) >= 0 and (max(values) <= 1 or name == "proposals_inside"), name
    nearest = (encoding.regions @ own_vectors.T).max(1)
    assert nearest.tolist() == pytest.approx([1.0] * len(nearest), abs=1e-5)
    best = int(scores.argmax())
    assert encoding.scores[0] == pytest.approx(float(scores[best]), abs=1e-6)
    assert float(encoding.regions[0] @ own_vectors[best]) == pytest.approx(1, abs=1e-5)


def test_without_a_fit_regions_are_ranked_by_quality_and_old_weights_keep_their_scores(find_mini, tmp_path):
    features = torch.zeros(2, len(REGION_FEATURES))
    features[:, 0] = torch.tensor([0.9, 0.3])
    best, poor = RegionScorer(torch.tensor(UNFITTED))(features).tolist()
    assert 1 > best > poor > 0
    shutil.copytree(WEIGHTS, tmp_path / "bundle")
    content = load_file(tmp_path / "bundle" / "model.safetensors")
    weights = torch.arange(1.0, 12.0)  # nine features, the share of a component, the constant
    save_file(content | {"rating": weights}, tmp_path / "bundle" / "model.safetensors")
    assert load_bundle(tmp_path / "bundle").scorer.weights.tolist() == [*range(1, 10), 21.0]


def test_halved_weights_give_nearly_the_same():
    whole, halved = (load_bundle(WEIGHTS).model.eval() for _ in range(2))
    halved.halve()
    pixels = torch.tensor(squashed(scene(), 192)).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        vectors = [
            (
                torch.nn.functional.normalize(tasks.propose(model, model.pyramid(pixels)).image[0], dim=0),
                *encode_texts(model, ["a dog on the beach"]),
                *encode_phrases(model, ["a red car"]),
            )
            for model in (whole, halved)
        ]
    for exact, near in zip(*vectors, strict=True):
        assert near.dtype == torch.float32 and float(exact @ near) > 0.99


# --- names -----------------------------------------------------------------------------------


def entity(text, role="entity"):
    return ResolvedPart(role, "text", text)


@pytest.mark.parametrize(
    ("name", "forms"),
    [
        (
            "dog",
            (
                "a dog",
                "the dog",
                "The Dogs",
                "dogs",
                "two dogs",
                "12 dogs",
                "my dog",
                "a photo of a dog",
                "some  pictures of the dogs",
            ),
        ),
        ("old dog", ("my old dog", "the old dogs", "an image of an old dog")),
        ("wine bottle", ("wine bottles", "three wine bottles")),
    ],
)
def test_a_name_means_the_same_in_whatever_form_it_is_written(find_mini, name, forms):
    for role in ("entity", "negative", "caption"):
        one, *others = (find_mini.encode_query((entity(text, role),)) for text in (name, *forms))
        for form, other in zip(forms, others, strict=True):
            for said in ("legend", "entities", "negatives"):
                assert np.allclose(getattr(one, said), getattr(other, said), atol=1e-6), (form, role)


def test_what_is_said_of_a_thing_is_not_left_out(find_mini):
    texts = ("dog", "old dog", "dog on a beach", "a man walks his dog", "hot dog", "glasses", "glass")
    vectors = find_mini.encode_query(tuple(entity(text) for text in texts)).entities
    assert (vectors @ vectors.T - np.eye(len(texts))).max() < 0.99


@pytest.mark.parametrize("text", ["a dog", "two old dogs", "a man who walks his dog on the beach", "qxzzt"])
def test_an_entity_alone_means_as_an_entity_what_it_means_as_a_sentence(find_mini, text):
    alone, plain = find_mini.encode_query((entity(text),)), find_mini.encode_query((entity(text, "caption"),))
    assert np.array_equal(alone.legend, alone.entities[0]) and np.array_equal(alone.legend, plain.legend)


def test_text_entities_are_read_as_captions_are(find_mini):
    text = "a red car in front of a house"
    with torch.inference_mode():
        (caption,) = encode_texts(find_mini.network, [text]).float().numpy()
    assert np.allclose(find_mini.encode_query((entity(text),)).entities[0], caption, atol=1e-6)


def test_what_cannot_be_read_is_left_out_and_alone_means_what_captions_mean_on_average(find_mini):
    said, bare, nothing = (
        find_mini.encode_query((entity(text),)).entities[0] for text in ("a собака dog", "a dog", "собака")
    )
    assert np.allclose(said, bare, atol=1e-6)
    assert np.allclose(nothing, find_mini.calibration.captions.mean(0), atol=1e-6)


def test_a_reading_tells_unknown_words_from_what_cannot_be_read(find_mini):
    reading = find_mini.reading("a dgo 狗")
    assert (reading.unknown, reading.left_out) == (("dgo",), ("狗",))
    assert "dog" in reading.near["dgo"] and reading.nothing and not reading.empty
    assert find_mini.reading("my old dog").notes() == []
    assert find_mini.reading("собака").empty


def test_a_part_of_a_photo_is_the_same_alone_and_beside_words(find_mini):
    mask = np.zeros((300, 400), bool)
    mask[60:140, 220:340] = True
    part = ResolvedPart("entity", "region", "[part]", photo=scene(), mask=mask)
    queries = (part,), (entity("on a lawn", "caption"), part)
    (alone,), (beside,) = (find_mini.encode_query(query).entities for query in queries)
    assert np.allclose(alone, beside, atol=1e-5)


def test_a_sentence_is_read_with_the_likeliest_names_of_its_pictures():
    words = Vocabulary(("dog", "cat", "car"), torch.eye(4)[:3])
    sentence = compose([("a", None, False), ("", 0, True), ("near", None, False), ("a man", 1, False)])
    shown = torch.tensor([[0.9, 0.1, 0.0, 0.4], [0.0, 0.0, 0.0, 0.0]])
    texts, weights = words.captions(sentence, shown)
    assert texts == ["a dog near a man", "a cat near a man", "a car near a man"]
    assert weights.tolist() == pytest.approx((SHARPNESS * shown[0, :3]).softmax(0).tolist())


def test_two_pictures_are_read_as_the_likeliest_pairs():
    words = Vocabulary(("dog", "cat", "car"), torch.eye(3))
    sentence = compose([("", 0, True), ("and", None, False), ("", 1, True)])
    shown = torch.tensor([[0.8, 0.7, 0.0], [0.0, 0.5, 0.55]])
    texts, weights = words.captions(sentence, shown)
    assert len(texts) == MOST_CAPTIONS and texts[:4] == ["dog and car", "dog and cat", "cat and car", "cat and cat"]
    assert float(weights.sum()) == pytest.approx(1) and (weights.diff() <= 0).all()


def test_a_vocabulary_changes_what_a_sentence_with_a_picture_means_and_no_other(find_mini):
    half = np.zeros((300, 400), bool)
    half[:, :200] = True
    part = ResolvedPart("entity", "region", "part", photo=scene(), mask=half)
    with_words = (ResolvedPart("caption", "text", "a photo of"), part)
    words = (ResolvedPart("caption", "text", "a photo of"), ResolvedPart("entity", "text", "a dog"))
    found = [find_mini.encode_query(query) for query in (with_words, words)]
    vocabulary, find_mini._vocabulary = find_mini._vocabulary, Vocabulary((), torch.zeros(0, 256))
    try:
        without = [find_mini.encode_query(query) for query in (with_words, words)]
    finally:
        find_mini._vocabulary = vocabulary
    assert np.array_equal(found[1].legend, without[1].legend)
    assert np.array_equal(found[1].entities, without[1].entities)
    for name in ("legend", "entities"):
        one, other = np.ravel(getattr(found[0], name)), np.ravel(getattr(without[0], name))
        assert 0.3 < one @ other < 0.999, name
        assert np.linalg.norm(one) == pytest.approx(1, abs=1e-4)


def test_a_picture_is_drawn_halfway_to_its_likely_names():
    words = Vocabulary(("dog", "cat"), torch.eye(3)[:2])
    (found,) = words.named(torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]]))
    assert float(found[2]) == pytest.approx(0.5**0.5) and float(found[0]) == pytest.approx(0.5**0.5, abs=1e-4)


def test_a_picture_that_is_grounded_is_named_too(find_mini):
    part = ResolvedPart("entity", "region", "part", photo=scene(), mask=np.arange(400)[None].repeat(300, 0) < 200)
    (named,) = find_mini.ground(scene(), (part,))
    vocabulary, find_mini._vocabulary = find_mini._vocabulary, Vocabulary((), torch.zeros(0, 256))
    try:
        (bare,) = find_mini.ground(scene(), (part,))
    finally:
        find_mini._vocabulary = vocabulary
    assert named.score != bare.score


def test_the_pictures_of_a_query_are_seen_once_for_all_of_its_hits(find_mini, monkeypatch):
    random = np.random.default_rng(5)
    shown, *hits = (random.integers(0, 255, (60, 80, 3), np.uint8) for _ in range(4))
    query = (
        ResolvedPart("entity", "picture", "[image:x.png]", photo=shown),
        ResolvedPart("caption", "text", "near"),
        ResolvedPart("entity", "text", "a dog"),
    )
    alone = [FindMini(WEIGHTS).ground(hits[0], query)]
    seen, views = [], find_mini._views

    def watched(photos):
        seen.extend(photos)
        return views(photos)

    monkeypatch.setattr(find_mini, "_views", watched)
    together = [find_mini.ground(hit, query) for hit in hits]
    assert [id(photo) for photo in seen] == [id(photo) for photo in (shown, *hits)]
    assert together[0] == alone[0]


def test_masks_grow_smoothly():
    logits = torch.tensor([[[1.0, -1.0]]])
    assert upsampled(logits, (1, 4)).tolist() == [[[True, True, False, False]]]
    assert upsampled(logits[:0], (3, 4)).shape == (0, 3, 4)


def test_queries_asked_together_are_answered_as_one_by_one(find_mini):
    queries = [
        (ResolvedPart("caption", "text", "a dog on a beach"),),
        (ResolvedPart("entity", "text", "a red ball"), ResolvedPart("caption", "text", "near a wall")),
        (ResolvedPart("entity", "picture", "[image:x]", photo=scene()),),
        (ResolvedPart("entity", "text", "a cat"), ResolvedPart("negative", "text", "a person")),
    ]
    together = find_mini.encode_queries(queries)
    for query, found in zip(queries, together, strict=True):
        alone = find_mini.encode_query(query)
        for name in ("legend", "entities", "negatives"):
            assert np.allclose(getattr(found, name), getattr(alone, name), atol=1e-5), (query, name)


def test_a_sentence_is_read_without_its_place_holders(find_mini):
    network = find_mini.network
    with torch.inference_mode():
        holder = network.prompter.sentences([Sentence("a dog near [INTERACTIVE]", ((11, 24),), (True,))], None)
        word = network.prompter.sentences([Sentence("a dog near people", ((11, 17),), (False,))], None)
        alone = network.prompter.captions(["a dog near"]).tokens
    shared = slice(0, alone.shape[1])
    assert torch.allclose(holder.text.tokens[:, shared], alone, atol=1e-4)
    assert not torch.allclose(word.text.tokens[:, shared], alone, atol=1e-2)


def test_an_exact_mask_is_made_of_the_photo_as_an_ingest_sees_it(find_mini, monkeypatch):
    sides = []
    network = find_mini.network

    def pyramid(pixels):
        sides.append(pixels.shape[-1])
        return type(network).pyramid(network, pixels)

    monkeypatch.setattr(network, "pyramid", pyramid)
    find_mini.encode_photos([scene()])
    find_mini.ground(scene(), (ResolvedPart("entity", "text", "a ball"),))
    assert sides == [192, 192]


def test_a_bare_name_is_read_as_captions_would_put_it_and_a_sentence_as_it_stands(find_mini):
    listed = ["a dog", "dog", "a dog runs on grass"]
    with torch.inference_mode():
        together = encode_texts(find_mini.network, listed)
        words = [*listed, "this is a dog", "a photo of a dog"]
        article, name, sentence, *others = encode_texts(find_mini.network, words, ("{}",))
    mean = torch.nn.functional.normalize(name + sum(others), dim=0)
    assert torch.allclose(together, torch.stack([article, mean, sentence]), atol=1e-5)
    stored = find_mini.encode_stored_phrases(["the dog", "a dog runs on grass", "dogs", "two of the"])
    assert np.allclose(stored[[0, 2]], others[1].numpy(), atol=1e-5) and np.allclose(stored[1], sentence, atol=1e-5)
    assert np.allclose(stored[3], find_mini.calibration.captions.mean(0), atol=1e-5)
