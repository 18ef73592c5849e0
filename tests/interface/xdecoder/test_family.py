"""Released X-Decoder and SEEM: what a file is, what the models answer, and what an index makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from interleave_index import Config, Index
from interleave_index.errors import InputError, ModelError
from interleave_index.geometry import mask_iou
from interleave_index.interface import registry
from interleave_index.interface.find.state import cosines
from interleave_index.interface.importing import import_released
from interleave_index.interface.published.importing import KeysDoNotFit
from interleave_index.interface.published.keys import sort_keys
from interleave_index.interface.published.preparation import to_photo
from interleave_index.interface.published.segmentation import segment
from interleave_index.interface.xdecoder.config import Version
from interleave_index.interface.xdecoder.folder import load_family
from interleave_index.interface.xdecoder.interface import SeemInterface, XDecoderInterface
from interleave_index.interface.xdecoder.keys import family_shapes, sizes_of
from interleave_index.interface.xdecoder.model import SeemModel, XDecoderModel
from interleave_index.interface.xdecoder.network import PRESETS, FamilyNetwork
from interleave_index.interface.xdecoder.parts import SeemHelper
from interleave_index.interface.xdecoder.text import TEMPLATES
from interleave_index.models.text.language import UniclNetwork
from interleave_index.records import RGB, BoolMask, Prompt, ResolvedPart
from interleave_index.segmentation.classes import named_classes
from interleave_index.segmentation.segmenters import load_segmenter
from tests.interface.published.published_toys import LANGUAGE
from tests.interface.xdecoder import family_toys as toys

VERSIONS: tuple[Version, ...] = ("v0", "v1", "demo")


def drawn(seed: int, height: int = 60, width: int = 90) -> RGB:
    """A photo of a few rectangles."""
    random = np.random.default_rng(seed)
    photo = np.full((height, width, 3), random.integers(0, 255, 3), np.uint8)
    for _ in range(4):
        top, left = random.integers(0, height - 20), random.integers(0, width - 20)
        photo[top : top + 20, left : left + 20] = random.integers(0, 255, 3)
    return photo


PHOTO, OTHER = drawn(1), drawn(2, 80, 60)


def click(row: int, column: int) -> BoolMask:
    mask: BoolMask = np.zeros(PHOTO.shape[:2], bool)
    mask[row : row + 3, column : column + 3] = True
    return mask


@pytest.fixture(scope="module")
def xdecoder(family_home: Path) -> XDecoderModel:
    model = load_family(family_home / "xdecoder-tiny")
    assert isinstance(model, XDecoderModel)
    return model


def seem(family_home: Path, version: str) -> SeemModel:
    model = load_family(family_home / f"seem-tiny-{version}")
    assert isinstance(model, SeemModel)
    return model


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in PRESETS if not name.endswith(("v0", "demo"))])
def test_sizes_are_read_off_a_state_dict_of_full_size(name: str):
    with torch.device("meta"):
        state: dict[str, Tensor] = FamilyNetwork(PRESETS[name]).state_dict()
        state |= {LANGUAGE + key: value for key, value in UniclNetwork().state_dict().items()}
    state["criterion.empty_weight"] = torch.ones(134)
    sizes = sizes_of(state, PRESETS[name].interface.version)
    assert sizes == PRESETS[name]
    sorted_keys = sort_keys(state, sizes, family_shapes(sizes))
    assert sorted_keys.problems == () and sorted_keys.left_out == ("criterion.empty_weight",)
    decoder = [key for key in sorted_keys.network if key.startswith("sem_seg_head.predictor.")]
    assert len(decoder) == (179 if name.startswith("xdecoder") else 182)
    assert ("backbone_proj" in sorted_keys.network) == name.startswith("xdecoder")


def test_the_version_of_seem_is_asked_for_and_of_nothing_else(tmp_path: Path):
    file, clip = toys.write_released(tmp_path, "seem", toys.tiny_sizes())
    with pytest.raises(InputError, match="name it by --seem-version: v0, v1, demo"):
        import_released(file, "seem-again", language=str(clip), home=tmp_path / "models")
    file, _ = toys.write_released(tmp_path, "xdecoder", toys.tiny_sizes("xdecoder", None))
    with pytest.raises(InputError, match="--seem-version is v1, and this is a file of X-Decoder"):
        import_released(file, "x", language=str(clip), seem_version="v1", home=tmp_path / "models")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt is no file of SEEM"):
        import_released(tmp_path / "other.pt", "x", seem_version="v1", home=tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_keys_that_do_not_fit_are_listed_and_nothing_is_written(tmp_path: Path):
    state = toys.random_state(toys.tiny_sizes("xdecoder", None))
    state["stranger"] = torch.zeros(2)
    del state["backbone_proj"]
    torch.save(state, tmp_path / "spoilt.pt")
    with pytest.raises(KeysDoNotFit, match=r"2 keys of spoilt\.pt do not fit a checkpoint of X-Decoder") as trouble:
        import_released(tmp_path / "spoilt.pt", "spoilt", home=tmp_path / "models")
    assert set(trouble.value.problems) == {"stranger is unknown", "backbone_proj is missing"}
    del state["sem_seg_head.predictor.query_feat.weight"]
    torch.save(state, tmp_path / "part.pt")
    with pytest.raises(ModelError, match=r"no whole checkpoint of X-Decoder or SEEM.*query_feat"):
        import_released(tmp_path / "part.pt", "part", home=tmp_path / "models")


def test_versions_of_the_same_file_are_different_models(family_home: Path):
    spaces = {registry.load(str(family_home / f"seem-tiny-{version}")).space.checkpoint for version in VERSIONS}
    assert len(spaces) == 3
    described = registry.describe(str(family_home / "seem-tiny-v1"))
    assert described.what.startswith("SEEM as released") and described.error is None
    assert registry.describe(str(family_home / "xdecoder-tiny")).dim == 64


# --- texts -----------------------------------------------------------------------------------


def test_a_class_is_the_mean_of_81_sentences(xdecoder: XDecoderModel):
    assert len(set(TEMPLATES)) == 81 and "a photo of the hard to see {}." in TEMPLATES and "{}." in TEMPLATES
    table = xdecoder.class_table(["sky-other-merged", "dog"])
    rows = F.normalize(xdecoder.texts.vectors([template.format("sky") for template in TEMPLATES]), dim=-1)
    assert torch.allclose(table[0], F.normalize(rows.mean(0), dim=-1), atol=1e-6)
    assert table.shape == (3, 32) and torch.allclose(table.norm(dim=-1), torch.ones(3))
    assert torch.allclose(table[2], xdecoder.class_table([])[0])  # background
    described = xdecoder.class_table(["a yellow cat"], descriptions=True)
    assert torch.allclose(described[0], F.normalize(xdecoder.texts.vectors(["a yellow cat"])[0], dim=-1), atol=1e-6)


def test_texts_read_together_are_as_texts_read_alone(xdecoder: XDecoderModel):
    texts = ["a dog", "the yellow cat near a blue square on a beach", "dog"]
    together = xdecoder.texts.vectors(texts)
    alone = torch.cat([xdecoder.texts.vectors([text]) for text in texts])
    assert torch.allclose(together, alone, atol=1e-5)
    tokens, whole = xdecoder.texts.expressions(texts)
    assert torch.allclose(whole, alone, atol=1e-5) and torch.equal(tokens[0, -1], whole[-1])


def test_the_end_of_a_long_text_is_said_to_be_cut_off(xdecoder: XDecoderModel):
    assert xdecoder.texts.beyond_context("a dog on a beach") == ""
    long = "a yellow dog " * 60
    beyond = xdecoder.texts.beyond_context(long)
    assert beyond and long.strip().endswith(beyond)


# --- X-Decoder -------------------------------------------------------------------------------


def test_the_cosine_of_photo_and_text_is_the_mean_of_the_two_published_ones(xdecoder: XDecoderModel):
    text = F.normalize(xdecoder.texts.vectors(["a dog"])[0], dim=-1)
    squeezed = np.asarray(Image.fromarray(PHOTO).resize((224, 224), Image.Resampling.BILINEAR))
    view = xdecoder.view(squeezed, short=224, long=224)
    pixels = torch.from_numpy(squeezed.copy()).permute(2, 0, 1)[None].float()
    network = xdecoder.network
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (network.pixel_mean, network.pixel_std))
    with torch.no_grad():
        res5 = network.backbone((pixels - mean) / std)[3]
        by_backbone = F.normalize(res5.mean((2, 3))[0] @ network.backbone_proj, dim=-1) @ text
        made = xdecoder.decoder(view.pyramid.levels, view.pyramid.mask_features)
    by_decoder = F.normalize(made.final["pred_captions"][0, -1], dim=-1) @ text
    ours = float(xdecoder.encode_image(PHOTO) @ xdecoder.encode_captions(["a dog"])[0])
    assert ours == pytest.approx(float(by_decoder + by_backbone) / 2, abs=1e-5)


def test_an_expression_takes_the_best_grounding_query(xdecoder: XDecoderModel):
    view = xdecoder.view(PHOTO)
    found = xdecoder.ground(view, ["a red disc", "the yellow cat"])
    tokens, whole = xdecoder.texts.expressions(["a red disc", "the yellow cat"])
    with torch.no_grad():
        made = xdecoder.decoder(view.pyramid.levels, view.pyramid.mask_features, text=tokens).final
    scores = cosines(made["pred_captions"][0, 13:], whole)
    masks = to_photo(made["pred_masks"][0, 13:], view, first="smooth") > 0
    for number, answer in enumerate(found):
        best = int(scores[:, number].argmax())
        assert np.array_equal(answer.mask, masks[best].numpy())
        assert answer.cosine == pytest.approx(float(scores[best, number]), abs=1e-5)
    assert xdecoder.ground(view, []) == []


def test_generic_segmentation_takes_all_queries_and_an_index_the_objects(xdecoder: XDecoderModel):
    view, table = xdecoder.view(PHOTO), xdecoder.class_table(["dog", "cat"])
    logits, masks = xdecoder.logits(view, table)
    assert logits.shape == (13, 3) and masks.shape == (13, *PHOTO.shape[:2])
    assert segment(logits, masks, things={0}).semantic.shape == PHOTO.shape[:2]
    small, quality, vectors = xdecoder.everything(view, table)
    assert len(small) == len(quality) == len(vectors) == 12 and vectors.shape[1] == 64


def test_a_caption_is_a_sentence_and_looks_where_it_is_told(xdecoder: XDecoderModel):
    view = xdecoder.view(PHOTO)
    said = xdecoder.caption(view, steps=6)
    assert said == xdecoder.caption(view, steps=6) and "." not in said and "<" not in said
    assert isinstance(xdecoder.caption(view, outside=~click(20, 20), steps=2), str)


def test_what_is_spelt_ends_with_the_text_or_its_first_sentence(xdecoder: XDecoderModel):
    spell = xdecoder.texts._tokenizer.encode("a dog").ids  # beginning, words, end
    assert xdecoder.texts.sentence([*spell, *spell]) == xdecoder.texts.sentence(spell) == "a dog"


# --- SEEM ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_prompts_are_answered_alike_every_time_and_memory_counts(family_home: Path, version: str):
    model = seem(family_home, version)
    view, clicks = model.view(PHOTO), [click(10, 20), click(40, 60)]
    one, two = model.interact(view, clicks), model.interact(view, clicks)
    assert one.masks.shape == (2, *PHOTO.shape[:2]) and np.array_equal(one.masks, two.masks)
    nothing = [np.zeros(PHOTO.shape[:2], bool)] * 2
    later = model.interact(view, clicks, nothing, one.logits)
    assert torch.equal(later.logits, one.logits) == (version == "demo")


def test_prompts_of_v0_are_answered_one_by_one(family_home: Path):
    model = seem(family_home, "v0")
    view, clicks = model.view(PHOTO), [click(10, 20), click(40, 60)]
    together = model.interact(view, clicks).logits
    alone = torch.cat([model.interact(view, [one]).logits for one in clicks], 1)
    assert torch.equal(together, alone)


def test_a_thing_shown_in_another_photo_is_found_by_v0_and_the_demo_alone(family_home: Path):
    mask: BoolMask = np.zeros(OTHER.shape[:2], bool)
    mask[10:30, 10:30] = True
    for version in ("v0", "demo"):
        model = seem(family_home, version)
        found = model.find_example(model.view(PHOTO), model.view(OTHER), mask, np.zeros_like(mask))
        assert found.mask.shape == PHOTO.shape[:2] and -1 <= found.cosine <= 1
    model = seem(family_home, "v0")
    view = model.view(PHOTO)
    itself = model.find_example(view, view, click(10, 20))
    assert np.array_equal(itself.mask, model.interact(view, [click(10, 20)]).masks[0])
    model = seem(family_home, "v1")
    with pytest.raises(InputError, match="SEEM v1 finds nothing that is shown in another photo"):
        model.find_example(model.view(PHOTO), model.view(OTHER), mask)


def test_expressions_of_seem_share_a_pass_but_in_the_demo(family_home: Path):
    texts = ["a red disc", "the yellow cat"]
    for version in ("v0", "v1"):
        model = seem(family_home, version)
        view = model.view(PHOTO)
        found = model.ground(view, texts)
        tokens, whole = model.texts.expressions(texts)
        output = model._ask(view.pyramid, text=toys.unpadded(tokens))
        scores = cosines(output["pred_gtexts"][0], whole)
        assert [one.cosine for one in found] == pytest.approx(scores.amax(0).tolist(), abs=1e-5)
    demo = seem(family_home, "demo")
    view = demo.view(PHOTO)
    alone = [demo.ground(view, [text])[0].cosine for text in texts]
    assert [one.cosine for one in demo.ground(view, texts)] == pytest.approx(alone, abs=1e-6)


def test_a_sam_backbone_sees_its_one_size_through_the_deformable_decoder(family_home: Path):
    model = load_family(family_home / "seem-sam-tiny-v1")
    assert isinstance(model, SeemModel)
    view = model.view(PHOTO, short=800, long=1333)
    assert view.padded == (96, 96) and [level.shape[-1] for level in view.pyramid.levels] == [3, 6, 12]
    assert model.interact(view, [click(10, 20)]).masks.shape == (1, *PHOTO.shape[:2])


# --- in an index -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    for number in range(3):
        Image.fromarray(drawn(number)).save(folder / f"{number}.png")
    return folder


def opened(folder: Path, model: Path) -> Index:
    return Index.open(folder, config=Config().with_flags(models_interface=str(model)), create=True)


def test_an_index_of_xdecoder_is_searched_and_ranks_as_the_model_does(
    family_home: Path, library: Path, tmp_path: Path, xdecoder: XDecoderModel
):
    with opened(tmp_path / "index", family_home / "xdecoder-tiny") as index:
        report = index.ingest(library)
        assert report.added == 3 and not report.failed
        hits = index.search("a yellow dog", top_k=3).hits
        text = xdecoder.encode_captions(["a yellow dog"])[0]
        scores = [float(xdecoder.encode_image(drawn(number)) @ text) for number in range(3)]
        assert [Path(str(hit.photo.path)).stem for hit in hits] == [str(n) for n in np.argsort(scores)[::-1]]
        mixed = index.search(f"[a red disc] near [image:{library / '1.png'}#box=10,10,40,40]", top_k=3).hits
        assert all(len(hit.entities) == 2 for hit in mixed)
        assert index.search("[a red disc]", top_k=1, ground="exact").hits[0].entities[0].regions
        found = index.ground(library / "0.png", f"[the dog] by [image:{library / '1.png'}]")
        assert len(found.entities) == 2


def test_a_picture_of_the_library_finds_itself(family_home: Path):
    interface = registry.load(str(family_home / "xdecoder-tiny"))
    assert isinstance(interface, XDecoderInterface)
    (encoding,) = interface.encode_photos([PHOTO])
    assert encoding.image.shape == (64,) and encoding.regions.shape[1] == 64
    assert np.allclose(np.linalg.norm(encoding.regions, axis=1), 1, atol=1e-5)
    whole = interface.encode_query((ResolvedPart("entity", "picture", "[image:a]", photo=PHOTO),))
    assert np.allclose(whole.legend, encoding.image, atol=1e-6)
    region = encoding.masks[0].decode()
    mask = np.asarray(Image.fromarray(region).resize((90, 60), Image.Resampling.NEAREST))
    part = interface.encode_query((ResolvedPart("entity", "region", "[image:a]", photo=PHOTO, mask=mask),))
    assert float(part.entities[0] @ encoding.regions[0]) > 0.99


def test_seem_grounds_words_and_parts_and_makes_no_vectors(family_home: Path, library: Path, tmp_path: Path):
    interface = registry.load(str(family_home / "seem-tiny-v0"))
    assert isinstance(interface, SeemInterface) and not interface.capabilities.encodes
    parts = (
        ResolvedPart("entity", "text", "the dog"),
        ResolvedPart("entity", "region", "[image:a]", photo=PHOTO, mask=click(10, 20)),
        ResolvedPart("entity", "region", "[image:b]", photo=OTHER, mask=np.ones(OTHER.shape[:2], bool)),
    )
    found = interface.ground(PHOTO, parts)
    assert [one.entity for one in found] == [0, 1, 2] and found[0].mask.size == PHOTO.shape[:2]
    direct = interface.model.interact(interface.model.view(PHOTO, bicubic=True), [click(10, 20)]).masks[0]
    assert mask_iou(found[1].mask.decode(), direct) == 1.0
    with pytest.raises(ModelError, match="is SEEM, which makes no vectors of photos"):
        interface.encode_photos([PHOTO])
    with opened(tmp_path / "index", family_home / "seem-tiny-v0") as index:
        hit = index.ground(library / "0.png", "[the dog] near [a red disc]")
        assert [one.grounding.present for one in hit.entities] == [True, True]  # it does not judge, and is believed
        assert [one.grounding.probability for one in hit.entities] == [0.5, 0.5]
        with pytest.raises(ModelError, match="is SEEM, which makes no vectors, so that it fills no index"):
            index.ingest(library)


def test_seem_makes_masks_for_other_models(family_home: Path):
    proposer = registry.load_proposer(str(family_home / "seem-tiny-v1"), "cpu")
    (proposals,) = proposer.propose([PHOTO])
    assert proposer.name.startswith("seem-tiny-v1 ") and 0 < len(proposals.masks) <= 12
    assert (np.diff(proposals.scores) <= 0).all() and proposals.boxes.shape == (len(proposals.masks), 4)


def test_seem_segments_at_points_and_boxes(family_home: Path):
    interface = registry.load(str(family_home / "seem-tiny-v0"))
    assert isinstance(interface, SeemInterface)
    segment_at = SeemHelper(interface).bind(PHOTO)
    points, labels = np.array([[21.4, 11.2], [70.0, 50.0]], np.float32), np.array([1, 0], np.int8)
    nowhere = np.zeros((0, 2), np.float32)
    by_points, by_box = segment_at(
        [Prompt(points, labels), Prompt(nowhere, np.zeros(0, np.int8), (10.0, 5.0, 40.0, 30.0))]
    )
    assert 0 <= by_points.quality <= 1 and by_points.mask.shape == PHOTO.shape[:2]
    view = interface.model.view(PHOTO, bicubic=True)
    beside = np.zeros(PHOTO.shape[:2], bool)
    beside[49:52, 69:72] = True
    assert np.array_equal(by_points.mask, interface.model.interact(view, [click(10, 20)], [beside]).masks[0])
    box = np.zeros(PHOTO.shape[:2], bool)
    box[5:30, 10:40] = True
    assert np.array_equal(by_box.mask, interface.model.interact(view, [box]).masks[0])


def test_seem_marks_parts_of_the_photo_itself(family_home: Path):
    interface = registry.load(str(family_home / "seem-tiny-v1"))
    assert isinstance(interface, SeemInterface)
    parts = [
        ResolvedPart("entity", "region", "[image:a]", photo=PHOTO, mask=click(*place)) for place in ((10, 20), (40, 60))
    ]
    found = interface.interact(PHOTO, parts)
    view = interface.model.view(PHOTO, bicubic=True)
    together = interface.model.interact(view, [click(10, 20), click(40, 60)]).masks
    assert [(one.entity, one.rung, one.present) for one in found] == [(0, "marked", True), (1, "marked", True)]
    assert all(np.array_equal(one.mask.decode(), mask) for one, mask in zip(found, together, strict=True) if mask.any())


def test_released_models_help_other_models_to_ground(family_home: Path):
    names = [str(family_home / "seem-tiny-v0"), str(family_home / "xdecoder-tiny")]
    grounders = registry._load_grounders(names, "cpu")
    assert grounders.maps is not None and isinstance(grounders.segmenter, SeemHelper)
    assert grounders.maps.draw(PHOTO, None, OTHER) is None
    drawn_map = grounders.maps.draw(PHOTO, "the dog")
    assert drawn_map is not None and drawn_map.shape == (16, 24) and 0 <= drawn_map.min() <= drawn_map.max() <= 1
    only = registry._load_grounders(names[1:], "cpu")
    assert only.segmenter is None and only.maps is not None
    with_helpers = registry.load("toy", grounders=",".join(names))
    (found,) = with_helpers.ground(PHOTO, (ResolvedPart("entity", "text", "the red disc"),))
    assert found.mask.size == PHOTO.shape[:2]


@pytest.mark.parametrize("name", ["xdecoder-tiny", "seem-tiny-v1"])
def test_a_photo_is_segmented_into_classes_that_are_named(family_home: Path, name: str):
    segmenter = load_segmenter(str(family_home / name), classes=named_classes(["dog", "sky"]))
    panoptic = segmenter.segment(PHOTO)
    assert panoptic.ids.shape == PHOTO.shape[:2] and segmenter.name.startswith(name)
    assert {segment.category for segment in panoptic.segments} <= {0, 1}
