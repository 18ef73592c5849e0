"""The recipe of find-mini: prompts, pseudo-masks, stages, and the whole chain on a handful of photos."""

import io
import json
import math
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from interleave_index.errors import ConfigError, InputError, WeightsMissing
from interleave_index.geometry import encode_rle
from interleave_index.interface.find import tasks
from interleave_index.interface.find.proposal_selector import ProposalSelector
from interleave_index.interface.find_mini import WEIGHTS
from interleave_index.interface.find_mini.bundle import load_bundle
from interleave_index.interface.find_mini.model import CELLS_IN_USE, MiniConfig, MiniModel
from interleave_index.interface.find_mini.region_scorer import REGION_FEATURES, region_features
from interleave_index.interface.registry import load
from interleave_index.models.text.tower import train_tokenizer
from interleave_index.models.vision.tower import SQUARE, to_side
from interleave_index.training.data import held_out
from interleave_index.training.find_mini.augment import random_crop, view_crop
from interleave_index.training.find_mini.batches import (
    MOSAIC,
    Pools,
    draw_batch,
    draw_prompt,
    is_complete,
    is_outlined,
    name_pattern,
)
from interleave_index.training.find_mini.extra_losses import caption_place_loss, place_loss
from interleave_index.training.find_mini.features import box_coverages, mask_means, pooled_features
from interleave_index.training.find_mini.fit_scorer import fit_scorer
from interleave_index.training.find_mini.material import Material
from interleave_index.training.find_mini.pseudo_masks import boxed_regions, pseudo_regions
from interleave_index.training.find_mini.region_stage import RefitStage, RegionStage
from interleave_index.training.find_mini.run import grown, run
from interleave_index.training.find_mini.samples import (
    MASK_SIDE,
    Sample,
    SampleBox,
    SampleRegion,
    load_samples,
    load_views,
    pixels_of,
    pooled_of,
    project_targets,
    whole_views,
    with_ellipses,
)
from interleave_index.training.find_mini.sentences import FEATURES, load_sentences, teacher_names
from interleave_index.training.find_mini.settings import find_mini_settings
from interleave_index.training.find_mini.space import Space
from interleave_index.training.loop import Progress, StageSettings, run_stage
from interleave_index.training.losses import mask_ious

QUICK = StageSettings(minutes=0.1, batch=64, rate=1e-3, decay=0.1)


BATCHES = {"space": 64, "text": 64, "vision": 8, "align": 64, "regions": 64, "interface": 4, "refit": 64}


def trial(data, out, **overrides):
    """Settings of a run of seconds in small batches; a double underscore stands for the dot of a key."""
    overrides = {key.replace("__", "."): value for key, value in overrides.items()}
    for stage, batch in BATCHES.items():
        overrides = {f"{stage}.minutes": 0.01, f"{stage}.batch": batch, **overrides}
    return find_mini_settings(data, out, overrides={"bf16": False, "threads": 1, **overrides})


def test_prompts_lie_inside_their_mask():
    mask = np.zeros((32, 32), bool)
    mask[5:20, 8:30] = True
    rng = np.random.default_rng(0)
    for _ in range(60):
        drawn = draw_prompt(mask, rng)
        assert drawn.any() and not (drawn & ~mask).any()
    small = np.zeros((32, 32), bool)
    small[3:5, 3:6] = True  # too few pixels for a prompt of its own
    assert (draw_prompt(small, rng) == small).all()
    strokes = [draw_prompt(np.ones((40, 40), bool), rng).mean() for _ in range(60)]
    assert max(strokes) < 0.5  # brushes are as small beside the mask as in a photo of `BRUSH_SIDE` pixels


def test_a_crop_moves_photo_and_mask_alike():
    rng = np.random.default_rng(3)
    crop = random_crop(4, rng)
    maps = torch.rand(4, 1, 40, 40)
    assert torch.allclose(crop(maps, 24), crop(maps.repeat(1, 2, 1, 1), 24)[:, 1:])


def test_the_thing_segmenter_overrules_where_it_is_sure():
    painted = np.zeros((4, 48, 48), np.uint8)
    painted[0, 10:30, 10:30], painted[1] = 1, 255  # a sure dog
    painted[2, :, :], painted[3] = 1, 255  # the other one paints all of it as wall
    regions = pseudo_regions(painted, ["background", "dog"], ["other", "wall"])
    assert [region.label for region in regions] == ["dog", "wall"]
    both = (regions[0].mask > 128) & (regions[1].mask > 128)
    assert both.mean() < 0.02


def test_boxes_become_masks_where_their_thing_is_painted():
    painted = np.zeros((4, 48, 48), np.uint8)
    painted[0, 12:36, 12:36], painted[1] = 1, 255
    large = SampleBox("dog", (0.25, 0.25, 0.75, 0.75))
    small = SampleBox("dog", (0.25, 0.25, 0.5, 0.5))
    found = boxed_regions(painted, ["background", "dog"], [large, small, SampleBox("cat", (0.0, 0.0, 1.0, 1.0))])
    assert [region.label for region in found] == ["dog", "dog"]
    areas = [(region.mask > 128).mean() for region in found]
    assert areas == pytest.approx([3 / 16, 1 / 16], abs=0.02)
    assert boxed_regions(painted, ["background", "dog"], [SampleBox("dog", (0.0, 0.0, 1.0, 1.0))]) == ()


def test_names_are_found_as_whole_words_only():
    assert name_pattern("dog").search("two dogs play") and not name_pattern("dog").search("a hotdog stand")
    assert name_pattern("person").search("a woman sits")


def test_a_projection_keeps_what_varies_most():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 6)) * [5, 4, 0.1, 0.1, 0.1, 0.1] + 3
    mean, components = project_targets(vectors, 2)
    assert np.allclose(mean, vectors.mean(0), atol=1e-5)
    assert np.abs(components[:2]).sum() > 1.9 and np.allclose(np.linalg.norm(components, axis=0), 1, atol=1e-5)


def drawn_pack(path, count, colours=((220, 30, 30), (30, 60, 220))):
    """Photos of one coloured square on white, with its mask and captions."""
    names = ("red", "blue")
    with tarfile.open(path, "w") as tar:
        for n in range(count):
            rgb = np.full((80, 100, 3), 255, np.uint8)
            mask = np.zeros((80, 100), bool)
            mask[10 + n % 20 : 50 + n % 20, 15 + n % 30 : 60 + n % 30] = True
            rgb[mask] = colours[n % 2]
            rle = encode_rle(mask)
            y, x = np.argwhere(mask)[0]
            label = f"{names[n % 2]} square"
            record = {
                "key": f"drawn_{n:03d}",
                "source": "drawn",
                "width": 100,
                "height": 80,
                "captions": [f"a {label} on white", f"there is a {label}"],
                "labels": [label],
                "regions": [
                    {
                        "label": label,
                        "kind": "instance",
                        "bbox": [int(x), int(y), 45, 40],
                        "area": int(mask.sum()),
                        "rle": rle.to_json(),
                    }
                ],
            }
            file = io.BytesIO()
            Image.fromarray(rgb).save(file, "JPEG")
            for name, data in (
                (f"drawn_{n:03d}.jpg", file.getvalue()),
                (f"drawn_{n:03d}.json", json.dumps(record).encode()),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def test_samples_keep_captions_labels_and_masks(tmp_path):
    drawn_pack(tmp_path / "train-drawn.tar", 4)
    samples = load_samples([tmp_path / "train-drawn.tar"])
    assert len(samples) == 4 and samples[1].captions[0] == "a blue square on white"
    region = samples[0].regions[0]
    assert region.label == "red square" and region.mask.shape == (MASK_SIDE, MASK_SIDE)
    assert (region.mask > 128).mean() == pytest.approx(40 * 45 / 8000, abs=0.02)


def test_missing_packs_and_targets_are_told(tmp_path):
    with pytest.raises(InputError, match=r"0 train-\*\.tar"):
        run(trial(tmp_path, tmp_path / "out"))
    drawn_pack(tmp_path / "train-drawn.tar", 1)
    with pytest.raises(InputError, match="no teacher targets at"):
        load_samples([tmp_path / "train-drawn.tar"], targets=tmp_path)
    with pytest.raises(ConfigError, match="unknown stage"):
        trial(tmp_path, tmp_path / "out", stages=("cooking",))


def test_the_whole_chain_writes_a_model_that_works(tmp_path):
    drawn_pack(tmp_path / "train-drawn.tar", 60)
    drawn_pack(tmp_path / "val-drawn.tar", 6)
    assert sum(held_out(f"drawn_{n:03d}") for n in range(60)) >= 2
    lines: list[Progress | str] = []
    folder = run(trial(tmp_path, tmp_path / "out"), lines.append)
    assert any(str(line).startswith("stage refit is left out") for line in lines)
    model = load(str(folder))
    photo = np.full((80, 100, 3), 255, np.uint8)
    (encoding,) = model.encode_photos([photo])
    assert encoding.image.shape == (256,) and np.linalg.norm(encoding.image) == pytest.approx(1, abs=1e-4)
    assert model.calibration.curves == {}  # the photos are of no closed list: nothing is known to be absent from them
    config = json.loads((folder / "config.json").read_text())
    assert config["class_names"] == ["red square", "blue square", "background"]
    assert config["vocabulary"] == ["blue square", "red square"]
    assert config["sizes"]["interface"]["seeds"] == CELLS_IN_USE > MiniConfig().interface["seeds"]
    assert "rating" not in load_file(folder / "model.safetensors")  # no photo has masks enough
    (folder / "tokenizer.json").unlink()
    with pytest.raises(WeightsMissing, match=r"no tokenizer\.json"):
        load(str(folder))


def drawn_targets(folder, pack, count, crops=1):
    """Teacher targets of a drawn pack: one direction a colour for photos and crops, all painted as background."""
    rng = np.random.default_rng(0)
    directions = np.random.default_rng(1).normal(size=(2, FEATURES + 1024))
    pooled = np.stack([directions[n % 2] + 0.05 * rng.normal(size=FEATURES + 1024) for n in range(count)])
    pooled = (pooled / np.linalg.norm(pooled, axis=1, keepdims=True)).astype(np.float16)
    painted = np.zeros((count, 4, 48, 48), np.uint8)
    painted[:, [1, 3]] = 255
    folder.mkdir(exist_ok=True)
    names = np.array(["background", "dog"])
    keys = np.array([f"drawn_{n:03d}" for n in range(count)])
    np.savez(folder / f"{pack}.npz", keys=keys, pooled=pooled, painted=painted, voc_names=names, ade_names=names)
    boxes = np.tile(np.array([[0.1, 0.1, 0.8, 0.9]], np.float16), (count * crops, 1))
    np.savez(folder / f"{pack}.views.npz", keys=np.repeat(keys, crops), pooled=np.repeat(pooled, crops, 0), boxes=boxes)


def drawn_sentences(folder):
    """Vectors of every text of the drawn packs, one direction a colour, and classifiers that tell the colours."""
    rng = np.random.default_rng(2)
    names = ("red square", "blue square")
    texts, vectors, kinds = [], [], []
    colours = rng.normal(size=(2, 384))
    for colour, name in enumerate(names):
        forms = [(f"a {name} on white", 0), (f"there is a {name}", 0), (f"[INTERACTIVE] of {name}", 5)]
        forms += [(text, kind) for kind in (1, 2, 3, 4) for text in (name, f"a {name}", f"a photo of a {name}")]
        for text, kind in forms:
            texts.append(text)
            vectors.append(colours[colour] + 0.1 * rng.normal(size=384))
            kinds.append(kind)
    rows = np.stack(vectors)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    for file in ("sentences.npz", "held-sentences.npz"):
        np.savez(folder / file, texts=np.array(texts), vectors=rows, kinds=np.array(kinds, np.uint8))
    directions = np.random.default_rng(1).normal(size=(2, FEATURES + 1024))
    np.savez(
        folder / "classifiers.npz",
        imagenet_weights=np.concatenate([np.zeros((1, FEATURES)), directions[:, :FEATURES]]),
        imagenet_bias=np.zeros(3),
        imagenet_names=np.array(["background", *names]),
        object_weights=directions[:, FEATURES:],
        object_bias=np.full(2, -5.0),
        object_names=np.array(names),
    )


def test_teachers_name_what_they_are_sure_of(tmp_path):
    drawn_pack(tmp_path / "train-drawn.tar", 4)
    drawn_targets(tmp_path, "train-drawn", 4)
    drawn_sentences(tmp_path)
    samples = load_samples([tmp_path / "train-drawn.tar"], targets=tmp_path)
    views = load_views(samples, [tmp_path / "train-drawn.tar"], tmp_path)
    assert views.rows.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert views.boxes[0].tolist() == [0, 0, 1, 1] and views.boxes[4].tolist() == pytest.approx(
        [0.1, 0.1, 0.8, 0.9], abs=1e-3
    )
    names = teacher_names(views, tmp_path / "classifiers.npz")
    assert names == [("red square",), ("blue square",)] * 4


def test_a_pack_of_which_only_views_are_cached_has_nothing_painted(tmp_path):
    drawn_pack(tmp_path / "more.tar", 3)
    drawn_targets(tmp_path, "more", 3)
    (tmp_path / "more.npz").unlink()
    with np.load(tmp_path / "more.views.npz") as content:
        boxes = np.concatenate([np.tile(np.array([[0, 0, 1, 1]], np.float16), (3, 1)), content["boxes"]])
        np.savez(
            tmp_path / "more.views.npz",
            keys=np.tile(content["keys"], 2),
            pooled=np.tile(content["pooled"], (2, 1)),
            boxes=boxes,
        )
    samples = load_samples([tmp_path / "more.tar"], targets=tmp_path)
    assert all(sample.painted is not None and not sample.painted.any() for sample in samples)
    assert len(load_views(samples, [tmp_path / "more.tar"], tmp_path)) == 6


def test_a_view_is_cut_where_its_box_is():
    maps = torch.zeros(1, 1, 40, 40)
    maps[:, :, :, 20:] = 1
    rng = np.random.default_rng(0)
    right = view_crop(np.array([[0.6, 0.2, 0.9, 0.8]], np.float32), rng, loose=0.0)(maps, 16)
    left = view_crop(np.array([[0.1, 0.2, 0.4, 0.8]], np.float32), rng, loose=0.0)(maps, 16)
    assert float(right.min()) == 1 and float(left.max()) == 0


def test_with_targets_every_stage_teaches_the_next(tmp_path):
    drawn_pack(tmp_path / "train-drawn.tar", 60)
    drawn_pack(tmp_path / "val-drawn.tar", 6)
    drawn_targets(tmp_path / "targets", "train-drawn", 60)
    drawn_targets(tmp_path / "targets", "val-drawn", 6)
    drawn_sentences(tmp_path / "targets")
    lines: list[Progress | str] = []
    keys = {"targets": tmp_path / "targets"}
    settings = trial(tmp_path, tmp_path / "out", **keys)
    folder = run(settings, lines.append)
    stages = [line.stage for line in lines if isinstance(line, Progress)]
    assert list(dict.fromkeys(stages)) == ["space", "text", "vision", "align", "regions", "interface"]
    bundled = load_file(folder / "model.safetensors")
    for stage, theirs, ours in (
        ("text", "tower.token_embed.weight", "text.token_embed.weight"),
        ("text", "path.up.weight", "interface.paths.text.up.weight"),
        ("vision", "tower.backbone.stem.0.weight", "vision.backbone.stem.0.weight"),
        ("align", "photo.straight.weight", "interface.paths.photo.straight.weight"),
    ):
        taught = torch.load(tmp_path / "out" / f"{stage}.pt", weights_only=True)["module"][theirs]
        assert torch.equal(bundled[ours], taught.half()), (stage, theirs)
    assert load(str(folder)).encode_photos([np.full((80, 100, 3), 255, np.uint8)])[0].image.shape == (256,)
    again: list[Progress | str] = []
    keys |= {"start": tmp_path / "out"}
    run(trial(tmp_path, tmp_path / "again", stages=("space", "vision", "interface"), **keys), again.append)
    assert any(str(line).startswith("starts from") for line in again)
    vocabularies = [(tmp_path / run_folder / "tokenizer.json").read_text() for run_folder in ("out", "again")]
    assert vocabularies[0] == vocabularies[1]
    _goes_on_from_a_bundle(tmp_path, {"targets": tmp_path / "targets", "start": folder}, folder)


def _goes_on_from_a_bundle(folder, keys, bundle):
    """The words of a bundle keep their places; photos and masks go on being learned there."""
    with pytest.raises(ConfigError, match="words keep their places"):
        run(trial(folder, folder / "further", **keys), print)
    lines: list[Progress | str] = []
    keys |= {"stages": ("space", "interface", "bundle")}
    further = run(trial(folder, folder / "further", **keys), lines.append)
    assert any(str(line).startswith("starts from the bundle") for line in lines)
    space = Space.load(folder / "further" / "space.pt")
    said = torch.nn.functional.normalize(torch.randn(3, 256), dim=1)
    assert torch.allclose(space.of_texts(said.numpy()), said, atol=1e-6)
    before, after = (load_file(folder / "model.safetensors") for folder in (bundle, further))
    words = [name for name in before if name.startswith(("text.", "interface.paths.text."))]
    assert words and all(torch.equal(before[name], after[name]) for name in words)
    learned = "interface.content_attention.layers.0.multihead_attn.in_proj_weight"
    assert not torch.equal(before[learned], after[learned])
    keys |= {"interface__backbone_rate": 0.2}
    tuned = load_file(run(trial(folder, folder / "rated", **keys), lines.append) / "model.safetensors")
    stands, learns = "vision.backbone.stages.0.0.conv1.weight", "vision.backbone.stages.3.0.conv1.weight"
    path = "interface.paths.photo.straight.weight"
    assert torch.equal(before[stands], tuned[stands]) and torch.equal(before[learns], after[learns])
    assert not torch.equal(before[learns], tuned[learns]) and not torch.equal(before[path], tuned[path])
    terms = next(line.losses for line in lines[::-1] if isinstance(line, Progress) and line.stage == "interface")
    assert {"whole_place", "whole_near"} <= set(terms)
    keys |= {"stages": ("refit", "bundle"), "refit__minutes": 0.03}
    _is_fitted_anew(trial(folder, folder / "rated", **keys), before, tuned)


def _is_fitted_anew(settings, before, tuned):
    """The paths are the earlier bundle's again, but for that of regions, which learns; nothing else moves."""
    lines: list[Progress | str] = []
    fitted = load_file(run(settings, lines.append) / "model.safetensors")
    paths = [name for name in before if name.startswith("interface.paths.")]
    learning = ("interface.paths.region.", "interface.paths.part.")
    for name in paths:
        assert torch.equal(fitted[name], before[name]) != name.startswith(learning), name
    towers = [name for name in before if name.startswith(("vision.", "text.", "interface.content_attention."))]
    assert towers and all(torch.equal(fitted[name], tuned[name]) for name in towers)
    measured = next(line.measured for line in lines[::-1] if isinstance(line, Progress) and line.measured)
    assert 0 < measured["cosine"] <= 1 and measured["top-5"] == 100


def test_a_bundle_goes_on_without_teachers_where_its_words_and_photos_lie(tmp_path):
    drawn_pack(tmp_path / "train-drawn.tar", 40)
    drawn_pack(tmp_path / "val-drawn.tar", 6)
    keys = {"start": WEIGHTS, "stages": ("interface",)}
    lines: list[Progress | str] = []
    run(
        trial(
            tmp_path,
            tmp_path / "out",
            interface__points=64,
            interface__mosaics=0.25,
            fine_cells=True,
            octaves=6,
            **keys,
        ),
        lines.append,
    )
    terms = next(line.losses for line in lines if isinstance(line, Progress))
    assert {"image_target", "text_target", "name_target", "names", "bce", "dice"} <= set(terms)
    assert terms["image_target"] / 4 < 0.2  # of the cosine: they start where they are to stay
    before = load_bundle(WEIGHTS).model.state_dict()
    after = torch.load(tmp_path / "out" / "interface.pt", weights_only=True)["module"]
    grew = {"interface.seeds.where.weight", "interface.seeds.waves.weight"}
    moved = {name for name in before if name not in grew and not torch.equal(before[name], after[name])}
    stands = ("text.", "vision.backbone.", "interface.paths.photo.", "interface.paths.text.")
    assert not {name for name in moved if name.startswith(stands)}
    assert {"interface.content_attention.layers.0.multihead_attn.in_proj_weight"} <= moved
    assert {"interface.paths.region.straight.weight", "vision.pixel_decoder.mask_features.weight"} <= moved


def test_the_cells_and_octaves_of_an_earlier_model_keep_their_places_in_a_larger_one():
    torch.manual_seed(0)
    earlier, larger = ProposalSelector(256, 128, 4), ProposalSelector(256, 128, 6, fine=True)
    model = torch.nn.ModuleDict({"interface": torch.nn.ModuleDict({"seeds": larger})})
    model.load_state_dict(grown({f"interface.seeds.{k}": v for k, v in earlier.state_dict().items()}, model))
    features = torch.randn(1, 128, 6, 6)
    assert torch.allclose(earlier.placed(features), larger.placed(features), atol=1e-6)


def test_boxes_of_small_things_are_learned_as_ellipses():
    boxes = (
        SampleBox("cup", (0.5, 0.5, 0.6, 0.7)),
        SampleBox("bus", (0, 0, 1, 0.5)),
        SampleBox("dot", (0, 0, 0.01, 0.01)),
    )
    outline = SampleRegion("cat", "instance", np.full((MASK_SIDE, MASK_SIDE), 255, np.uint8))
    photo = Sample("a", np.zeros((SQUARE, SQUARE, 3), np.uint8), regions=(outline, outline), boxes=boxes)
    (sample,) = with_ellipses([photo], 0.03)
    *outlined, ellipse = sample.regions
    assert len(outlined) == 2 and ellipse.label == "cup" and not ellipse.by_hand
    assert (ellipse.mask / 255).mean() == pytest.approx(math.pi / 4 * 0.1 * 0.2, rel=0.02)
    down, across = np.nonzero(ellipse.mask)
    assert across.min() >= MASK_SIDE / 2 and across.max() < 0.6 * MASK_SIDE and down.max() < 0.7 * MASK_SIDE
    # Larger things of the photo are not known any more, so that nothing may be called empty.
    assert is_complete(photo) and not is_complete(sample) and not is_outlined(sample)
    assert with_ellipses([photo], 0.0) == [photo]


def test_mosaics_show_four_photos_with_their_masks():
    samples = []
    for n, colour in enumerate(((220, 30, 30), (30, 60, 220))):
        rgb = np.full((SQUARE, SQUARE, 3), 255, np.uint8)
        mask = np.zeros((MASK_SIDE, MASK_SIDE), np.uint8)
        place = slice(60 * MASK_SIDE // SQUARE, 150 * MASK_SIDE // SQUARE)
        rgb[60:150, 60:150], mask[place, place] = colour, 255
        samples.append(
            Sample(f"{n}", rgb, captions=("a square",), regions=(SampleRegion(str(n), "instance", mask),) * 2)
        )
    batch = draw_batch(samples, Pools(samples), 16, 96, np.random.default_rng(0), smallest=3, mosaics=0.25)
    assert batch.pixels.shape == (16, 3, 96, 96) and (batch.rows[12:] == MOSAIC).all() and (batch.rows[:12] >= 0).all()
    for pixels, example in zip(batch.pixels[12:], batch.examples[12:], strict=True):
        assert example.caption is None and example.complete and example.outlined and len(example.masks) == 8
        shown = torch.nn.functional.avg_pool2d(pixels, 4)
        for mask, name in zip(example.masks, example.names, strict=True):
            inside = mask > 0.9
            assert 0.02 < inside.float().mean() < 0.25
            red, _, blue = shown[:, inside].mean(1)
            assert (red > blue) == (name == "0")


def test_a_fitted_path_says_what_the_earlier_one_said_of_other_features(tmp_path):
    drawn_pack(tmp_path / "train-drawn.tar", 60)
    samples = load_samples([tmp_path / "train-drawn.tar"])
    earlier, model = (load_bundle(WEIGHTS).model for _ in range(2))
    with torch.no_grad():
        for parameter in model.vision.backbone.stages[3].parameters():
            parameter.mul_(1.1)
    stage = RefitStage(QUICK, Material(model, samples, earlier=earlier))
    labels = torch.cat([stage.examples.labels, stage.held.labels])
    assert len(labels) == 60 * (1 + 2) and int((labels >= 0).sum()) == 60
    assert len(stage.held.labels) == 3 * sum(sample.held_out for sample in samples)
    unlike = stage.measure()["cosine"]
    run_stage(stage, tmp_path / "refit.pt", minutes=0.1, bf16=False, progress=lambda line: None)
    assert stage.measure()["cosine"] > unlike
    assert torch.equal(model.interface.paths.photo.up.weight, earlier.interface.paths.photo.up.weight)


def test_more_cells_give_more_proposals_of_the_same_network():
    model = load_bundle(WEIGHTS).model
    pixels = torch.rand(1, 3, model.config.side, model.config.side) * 255
    with torch.inference_mode():
        pyramid = model.pyramid(pixels)
        counts = []
        for cells in (36, 48):
            model.start_from(cells)
            counts.append(tasks.propose(model, pyramid).masks.shape[1])
    assert counts == [40, 48] and model.config.interface["seeds"] == 48  # of 40 that are learned, 36 are replaced


def test_what_is_rated_best_meets_masks_most_often():
    bundle = load_bundle(WEIGHTS)
    samples = []
    for n in range(12):
        rgb = np.full((SQUARE, SQUARE, 3), 200, np.uint8)
        masks = np.zeros((2, SQUARE, SQUARE), bool)
        masks[0, 20 + 4 * n : 70 + 4 * n, 20:90] = masks[1, 120:190, 100 + 5 * n : 140 + 5 * n] = True
        rgb[masks[0]], rgb[masks[1]] = (220, 30, 30), (20, 40, 200)
        small = [np.asarray(Image.fromarray(m.astype(np.uint8) * 255).resize((MASK_SIDE, MASK_SIDE))) for m in masks]
        regions = tuple(SampleRegion(None, "instance", mask) for mask in small)
        samples.append(Sample(f"drawn {n}", rgb, regions=regions))
    scorer = fit_scorer(bundle.model, samples)
    assert scorer is not None and torch.isfinite(scorer.weights).all()
    assert scorer.weights.shape == (len(REGION_FEATURES) + 1,)
    with torch.inference_mode():
        pixels = to_side(pixels_of(samples, np.arange(12)), bundle.model.config.side)
        proposals = tasks.propose(bundle.model, bundle.model.pyramid(pixels))
        best, worst = [], []
        for n, sample in enumerate(samples):
            grown = torch.nn.functional.interpolate(proposals.masks[n][None], (MASK_SIDE, MASK_SIDE), mode="bilinear")[
                0
            ]
            truth = sample.masks()
            met = mask_ious(grown, truth).amax(1)[scorer(region_features(proposals, n)).argsort(descending=True)]
            best.append(float(met[:5].mean()))
            worst.append(float(met[-5:].mean()))
    assert np.mean(best) > np.mean(worst) + 0.3
    assert fit_scorer(bundle.model, [replace(sample, regions=()) for sample in samples]) is None


def test_regions_learn_from_masks_alone_and_say_when_there_is_nothing(tmp_path):
    packs = [tmp_path / "train-drawn.tar"]
    drawn_pack(packs[0], 3)
    drawn_targets(tmp_path, "train-drawn", 3, crops=0)
    drawn_sentences(tmp_path)
    samples = load_samples(packs, targets=tmp_path)
    model = MiniModel(MiniConfig(), train_tokenizer(["a red square"], size=50))
    sentences = load_sentences(tmp_path / "sentences.npz")
    space = Space.fitted(pooled_of(samples))
    material = Material(model, samples, samples, packs, targets=tmp_path, sentences=sentences, space=space)
    stage = RegionStage(QUICK, material)
    assert set(stage.losses(np.random.default_rng(0))) == {"names"} and set(stage.measure()) == {"top-1", "top-5"}
    material.train = [replace(sample, regions=()) for sample in samples]
    with pytest.raises(InputError, match="neither"):
        RegionStage(QUICK, material)


def test_boxes_have_the_positions_of_the_crops_that_teachers_saw(tmp_path):
    packs = [tmp_path / "train-drawn.tar"]
    drawn_pack(packs[0], 4)
    drawn_targets(tmp_path, "train-drawn", 4, crops=2)
    drawn_sentences(tmp_path)
    samples = load_samples(packs, targets=tmp_path)
    model = MiniModel(MiniConfig(), train_tokenizer(["a red square"], size=50))
    sentences = load_sentences(tmp_path / "sentences.npz")
    space = Space.fitted(pooled_of(samples))
    stage = RegionStage(
        QUICK, Material(model, samples, samples, packs, targets=tmp_path, sentences=sentences, space=space)
    )
    of_mask_and_boxes = [1, -1, -1, 0, -1, -1] * 2  # of every photo; names are numbered as they are sorted
    assert stage.examples.labels.tolist() == of_mask_and_boxes
    places = space.of_photos(pooled_of(samples)).repeat_interleave(2, 0)  # the crops have the vector of their photo
    assert torch.allclose(stage.examples.places[stage.examples.labels < 0], places, atol=1e-5)
    assert not stage.examples.places[stage.examples.labels >= 0].any()


def test_a_start_that_is_no_run_is_refused(tmp_path):
    drawn_pack(tmp_path / "train-drawn.tar", 4)
    drawn_pack(tmp_path / "val-drawn.tar", 2)
    with pytest.raises(InputError, match="earlier run"):
        run(trial(tmp_path, tmp_path / "out", start=tmp_path / "nowhere", stages=("bundle",)), print)


def test_means_inside_of_coverages_are_in_the_order_they_were_asked_for(tmp_path):
    drawn_pack(tmp_path / "train-drawn.tar", 3)
    samples = load_samples([tmp_path / "train-drawn.tar"])
    model = MiniModel(MiniConfig(), train_tokenizer(["a red square"], size=50))
    rng = np.random.default_rng(0)
    for n, sample in enumerate(samples):
        sample.pixels = rng.integers(0, 40 + 100 * n, sample.pixels.shape).astype(np.uint8)
    whole, left = box_coverages(np.array([[0, 0, 1, 1], [0, 0, 0.5, 1]], np.float32))
    coverages = [whole[None], torch.stack([left, whole]), torch.stack([whole, left])]
    deep, fine = mask_means(model, samples, coverages, rng)
    features = pooled_features(model, samples, whole_views(3, np.zeros((3, 8), np.float16)), rng)
    assert deep.shape == (5, 640) and fine.shape == (5, 128)
    for row, photo in ((0, 0), (2, 1), (3, 2)):
        assert torch.allclose(deep[row].float(), features[photo].float(), atol=0.3)
        apart = (deep[row].float() - features.float()).norm(dim=1)
        assert int(apart.argmin()) == photo


def test_a_box_covers_the_cells_whose_middle_is_inside():
    whole, corner = box_coverages(np.array([[0, 0, 1, 1], [0.5, 0.25, 1, 0.5]], np.float32))
    assert whole.all() and whole.shape == (MASK_SIDE, MASK_SIDE)
    half, quarter = MASK_SIDE // 2, MASK_SIDE // 4
    assert corner[quarter:half, half:].all() and int(corner.sum()) == quarter * half


def test_a_caption_costs_nothing_where_its_photo_lies_and_much_elsewhere():
    places = torch.nn.functional.normalize(torch.randn(8, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    right = places[:1]
    assert float(place_loss(3 * right, right)) == pytest.approx(0, abs=1e-5)
    assert float(place_loss(-right, right)) == pytest.approx(2, abs=1e-4)
    own, other = (float(caption_place_loss(right, places, torch.tensor([n]), torch.tensor(50.0))) for n in (0, 1))
    assert own < 0.1 < other
    assert float(caption_place_loss(right[:0], places, torch.zeros(0, dtype=torch.long), torch.tensor(50.0))) == 0
