"""The training room: losses by hand, prompts, pseudo-masks, the loop, and the whole chain on a handful of photos."""

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
from torch import nn

from interleave_index.errors import ConfigError, InputError, InterleaveError, WeightsMissing
from interleave_index.geometry import encode_rle
from interleave_index.interface.find import tasks
from interleave_index.interface.find.model import FindModel, MiniConfig
from interleave_index.interface.find_mini import WEIGHTS
from interleave_index.interface.find_mini.bundle import load_bundle
from interleave_index.interface.find_mini.region_scorer import EVIDENCE
from interleave_index.interface.generic import generic_captions
from interleave_index.interface.registry import load
from interleave_index.models.text.tower import train_tokenizer
from interleave_index.models.vision.tower import SQUARE, to_side
from interleave_index.training.find_mini.align_stage import Targets, pooled_features
from interleave_index.training.find_mini.augment import random_crop, view_crop, whole
from interleave_index.training.find_mini.batches import name_pattern
from interleave_index.training.find_mini.fit_scorer import fit_rating, logistic
from interleave_index.training.find_mini.pseudo_masks import boxed_regions, pseudo_regions
from interleave_index.training.find_mini.refit_stage import RefitStage
from interleave_index.training.find_mini.region_stage import RegionStage, box_means, named_means
from interleave_index.training.find_mini.run import TrainSettings, run
from interleave_index.training.find_mini.samples import (
    MASK_SIDE,
    SampleBox,
    SampleRegion,
    Samples,
    Views,
    held_out,
    load_samples,
    load_views,
    project_targets,
)
from interleave_index.training.find_mini.sentences import FEATURES, teacher_names
from interleave_index.training.find_mini.space_stage import Space, load_space
from interleave_index.training.find_mini.strokes import draw_prompt
from interleave_index.training.loop import Progress, run_stage
from interleave_index.training.losses import Matches, choice_loss, class_loss, contrast, mask_losses, match, overlaps


def pairs(*rows):
    return Matches(*(torch.tensor(column, dtype=torch.long) for column in zip(*rows, strict=True)))


def test_matching_finds_the_planted_masks():
    targets = torch.zeros(2, 4, 4)
    targets[0, :2], targets[1, 2:] = 1, 1
    logits = torch.stack([-8 * torch.ones(4, 4), targets[1] * 16 - 8, targets[0] * 16 - 8])[None]
    found = match(logits, [targets], [torch.zeros(3, 2)])
    assert sorted(zip(found.proposal.tolist(), found.target.tolist(), strict=True)) == [(1, 1), (2, 0)]


def test_perfect_masks_cost_nothing_and_no_masks_cost_zero():
    target = torch.zeros(1, 4, 4)
    target[0, 1:3, 1:3] = 1
    logits = (target * 60 - 30)[None]
    bce, dice = mask_losses(logits, [target], pairs((0, 0, 0)))
    assert float(bce) == pytest.approx(0, abs=1e-6) and float(dice) == pytest.approx(0, abs=1e-6)
    nothing = Matches(*(torch.zeros(0, dtype=torch.long) for _ in range(3)))
    assert [float(value) for value in mask_losses(logits, [target[:0]], nothing)] == [0, 0]


def test_class_loss_by_hand():
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]]))  # two proposals, two names, background
    loss = class_loss(logits, pairs((0, 0, 0)), [torch.tensor([0])], torch.tensor([True]))
    assert float(loss) == pytest.approx((-math.log(0.5) - 0.1 * math.log(0.8)) / 1.1)
    nameless = class_loss(logits, pairs((0, 0, 0)), [torch.tensor([-1])], torch.tensor([True]))
    assert float(nameless) == pytest.approx((-math.log(0.75) - 0.1 * math.log(0.8)) / 1.1)
    partly = class_loss(logits, pairs((0, 0, 0)), [torch.tensor([0])], torch.tensor([False]))
    assert float(partly) == pytest.approx(-math.log(0.5))  # the other may be a thing that nobody drew


def test_a_choice_is_shared_by_all_proposals_that_answer():
    scores = torch.log(torch.tensor([[[0.5], [0.3], [0.2]]]))
    loss = choice_loss(scores, pairs((0, 0, 0), (0, 1, 1)), [torch.tensor([0, 0])])
    assert float(loss) == pytest.approx(-(math.log(0.5) + math.log(0.3)) / 2, rel=1e-5)


def test_contrast_by_hand_and_with_further_negatives():
    rows = torch.eye(2)
    two = math.log(1 + math.exp(-3.0))
    assert float(contrast(rows, rows, torch.tensor(3.0))) == pytest.approx(two, rel=1e-5)
    more = contrast(rows, rows, torch.tensor(3.0), more_one=-torch.eye(2), more_other=-torch.eye(2))
    assert float(more) > two


def test_prompts_lie_inside_their_mask():
    mask = np.zeros((32, 32), bool)
    mask[5:20, 8:30] = True
    rng = np.random.default_rng(0)
    for _ in range(60):
        drawn = draw_prompt(mask, rng)
        assert drawn.any() and not (drawn & ~mask).any()


def test_a_crop_moves_photo_and_mask_alike():
    rng = np.random.default_rng(3)
    crop = random_crop(4, rng)
    maps = torch.rand(4, 1, 40, 40)
    assert torch.allclose(crop(maps, 24), crop(maps.repeat(1, 2, 1, 1), 24)[:, 1:])
    assert torch.allclose(whole(1)(maps[:1], 40), maps[:1], atol=1e-5)


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


def test_generic_captions_are_many_and_distinct():
    captions = generic_captions()
    assert len(captions) == len(set(captions)) >= 200


def test_a_projection_keeps_what_varies_most():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 6)) * [5, 4, 0.1, 0.1, 0.1, 0.1] + 3
    mean, components = project_targets(vectors, 2)
    assert np.allclose(mean, vectors.mean(0), atol=1e-5)
    assert np.abs(components[:2]).sum() > 1.9 and np.allclose(np.linalg.norm(components, axis=0), 1, atol=1e-5)


class Line:
    """A stage that fits one number."""

    name, photos_per_step = "line", 4

    def __init__(self):
        self.module = nn.Linear(1, 1)

    def at(self, share):
        self.share = share

    def parameter_groups(self):
        return [{"params": self.module.parameters(), "lr": 0.05, "weight_decay": 0.0}]

    def losses(self, rng):
        x = torch.from_numpy(rng.normal(size=(4, 1)).astype(np.float32))
        return {"square": ((self.module(x) - 2 * x) ** 2).mean()}

    def measure(self):
        return {"weight": float(self.module.weight.detach())}


def test_a_stage_learns_and_goes_on_where_it_stopped(tmp_path):
    lines: list[Progress] = []
    stage = Line()
    run_stage(stage, tmp_path / "line.pt", minutes=0.02, bf16=False, progress=lines.append)
    assert float(stage.module.weight.detach()) == pytest.approx(2, abs=0.3)
    steps = lines[-1].step
    again = Line()
    run_stage(again, tmp_path / "line.pt", minutes=0.03, bf16=False, progress=lines.append)
    assert lines[-1].step > steps and lines[-1].done == 1
    assert lines[-1].measured["weight"] == pytest.approx(2, abs=0.3)


def test_a_checkpoint_of_another_stage_is_refused(tmp_path):
    run_stage(Line(), tmp_path / "line.pt", minutes=0.001, bf16=False, progress=lambda _: None)
    other = Line()
    other.name = "other"
    with pytest.raises(InterleaveError, match="is of stage line, expected other"):
        run_stage(other, tmp_path / "line.pt", minutes=0.001, progress=lambda _: None)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    class Broken(Line):
        def losses(self, rng):
            return {"square": torch.tensor(float("nan"), requires_grad=True)}

    with pytest.raises(InterleaveError, match="loss is nan at step 0"):
        run_stage(Broken(), tmp_path / "x.pt", minutes=0.001, bf16=False, progress=lambda _: None)


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
    assert len(samples) == 4 and samples.captions[1][0] == "a blue square on white"
    region = samples.regions[0][0]
    assert region.label == "red square" and region.mask.shape == (MASK_SIDE, MASK_SIDE)
    assert (region.mask > 128).mean() == pytest.approx(40 * 45 / 8000, abs=0.02)


def test_missing_packs_and_targets_are_told(tmp_path):
    with pytest.raises(InputError, match=r"0 train-\*\.tar"):
        run(TrainSettings(tmp_path, tmp_path / "out"))
    drawn_pack(tmp_path / "train-drawn.tar", 1)
    with pytest.raises(InputError, match="no teacher targets at"):
        load_samples([tmp_path / "train-drawn.tar"], targets=tmp_path)
    with pytest.raises(ConfigError, match="unknown stage"):
        run(TrainSettings(tmp_path, tmp_path / "out", stages=("cooking",)))  # type: ignore[arg-type]


def test_the_whole_chain_writes_a_model_that_works(tmp_path):
    drawn_pack(tmp_path / "train-drawn.tar", 60)
    drawn_pack(tmp_path / "val-drawn.tar", 6)
    assert sum(held_out(f"drawn_{n:03d}") for n in range(60)) >= 2
    lines: list[Progress | str] = []
    folder = run(TrainSettings(tmp_path, tmp_path / "out", minutes=0.05, batch=16, bf16=False, threads=1), lines.append)
    assert any(str(line).startswith("stage refit is left out") for line in lines)
    model = load(str(folder))
    photo = np.full((80, 100, 3), 255, np.uint8)
    (encoding,) = model.encode_photos([photo])
    assert encoding.image.shape == (256,) and np.linalg.norm(encoding.image) == pytest.approx(1, abs=1e-4)
    assert model.calibration.curves == {}  # the photos are of no closed list: nothing is known to be absent from them
    config = json.loads((folder / "config.json").read_text())
    assert config["class_names"] == ["red square", "blue square", "background"]
    assert config["vocabulary"] == ["blue square", "red square"]
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
    assert samples.painted is not None and not samples.painted.any()
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
    settings = TrainSettings(
        tmp_path,
        tmp_path / "out",
        targets=tmp_path / "targets",
        space_minutes=0.03,
        text_minutes=0.1,
        vision_minutes=0.05,
        align_minutes=0.05,
        regions_minutes=0.05,
        minutes=0.05,
        bf16=False,
        threads=1,
    )
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
    told: list[Progress | str] = []
    again = replace(settings, out=tmp_path / "again", start=tmp_path / "out", stages=("space", "vision", "interface"))
    run(replace(again, vision_minutes=0.01, minutes=0.01), told.append)
    assert any(str(line).startswith("starts from") for line in told)
    vocabularies = [(tmp_path / run_folder / "tokenizer.json").read_text() for run_folder in ("out", "again")]
    assert vocabularies[0] == vocabularies[1]
    _goes_on_from_a_bundle(replace(settings, out=tmp_path / "further", start=folder), folder)


def _goes_on_from_a_bundle(settings, bundle):
    """The words of a bundle keep their places; photos and masks go on being learned there."""
    with pytest.raises(ConfigError, match="words keep their places"):
        run(settings, print)
    told: list[Progress | str] = []
    further = run(replace(settings, stages=("space", "interface", "bundle"), minutes=0.02), told.append)
    assert any(str(line).startswith("starts from the bundle") for line in told)
    space = load_space(settings.out / "space.pt")
    said = torch.nn.functional.normalize(torch.randn(3, 256), dim=1)
    assert torch.allclose(space.of_texts(said.numpy()), said, atol=1e-6)
    before, after = (load_file(folder / "model.safetensors") for folder in (bundle, further))
    words = [name for name in before if name.startswith(("text.", "interface.paths.text."))]
    assert words and all(torch.equal(before[name], after[name]) for name in words)
    learned = "interface.content_attention.layers.0.multihead_attn.in_proj_weight"
    assert not torch.equal(before[learned], after[learned])
    stages = ("space", "interface", "bundle")
    rated = replace(settings, out=settings.out.parent / "rated", backbone_rate=0.2, stages=stages)
    tuned = load_file(run(replace(rated, minutes=0.02), told.append) / "model.safetensors")
    stands, learns = "vision.backbone.stages.0.0.conv1.weight", "vision.backbone.stages.3.0.conv1.weight"
    path = "interface.paths.photo.straight.weight"
    assert torch.equal(before[stands], tuned[stands]) and torch.equal(before[learns], after[learns])
    assert not torch.equal(before[learns], tuned[learns]) and not torch.equal(before[path], tuned[path])
    terms = next(line.losses for line in told[::-1] if isinstance(line, Progress) and line.stage == "interface")
    assert {"whole_place", "whole_near"} <= set(terms)
    _is_fitted_anew(replace(rated, stages=("refit", "bundle"), refit_minutes=0.03), before, tuned)


def _is_fitted_anew(settings, before, tuned):
    """The paths are the earlier bundle's again, but for that of regions, which learns; nothing else moves."""
    told: list[Progress | str] = []
    fitted = load_file(run(settings, told.append) / "model.safetensors")
    paths = [name for name in before if name.startswith("interface.paths.")]
    learning = ("interface.paths.region.", "interface.paths.part.")
    for name in paths:
        assert torch.equal(fitted[name], before[name]) != name.startswith(learning), name
    towers = [name for name in before if name.startswith(("vision.", "text.", "interface.content_attention."))]
    assert towers and all(torch.equal(fitted[name], tuned[name]) for name in towers)
    measured = next(line.measured for line in told[::-1] if isinstance(line, Progress) and line.measured)
    assert 0 < measured["cosine"] <= 1 and measured["top-5"] == 100


def test_a_fitted_path_says_what_the_earlier_one_said_of_other_features(tmp_path):
    drawn_pack(tmp_path / "train-drawn.tar", 60)
    samples = load_samples([tmp_path / "train-drawn.tar"])
    earlier, model = (load_bundle(WEIGHTS).model for _ in range(2))
    with torch.no_grad():
        for parameter in model.vision.backbone.stages[3].parameters():
            parameter.mul_(1.1)
    stage = RefitStage(model, earlier, samples, batch=64)
    assert len(stage.places) == len(stage.labels) == 60 * (1 + 2) and int((stage.labels >= 0).sum()) == 60
    unlike = stage.measure()["cosine"]
    run_stage(stage, tmp_path / "refit.pt", minutes=0.1, bf16=False, progress=lambda line: None)
    assert stage.measure()["cosine"] > unlike
    assert torch.equal(model.interface.paths.photo.up.weight, earlier.interface.paths.photo.up.weight)


def test_a_rating_is_the_logistic_regression_of_what_was_met():
    rng = np.random.default_rng(0)
    figures = rng.uniform(size=(20_000, len(EVIDENCE)))
    true = np.linspace(-2, 2, len(EVIDENCE) + 1)
    chances = 1 / (1 + np.exp(-figures @ true[:-1] - true[-1]))
    found = logistic(figures, (rng.random(len(chances)) < chances).astype(float))
    assert np.abs(found - true).max() < 0.2


def test_what_is_rated_best_meets_masks_most_often():
    bundle = load_bundle(WEIGHTS)
    samples = Samples()
    for n in range(12):
        rgb = np.full((SQUARE, SQUARE, 3), 200, np.uint8)
        masks = np.zeros((2, SQUARE, SQUARE), bool)
        masks[0, 20 + 4 * n : 70 + 4 * n, 20:90] = masks[1, 120:190, 100 + 5 * n : 140 + 5 * n] = True
        rgb[masks[0]], rgb[masks[1]] = (220, 30, 30), (20, 40, 200)
        samples.keys.append(f"drawn {n}")
        small = [np.asarray(Image.fromarray(m.astype(np.uint8) * 255).resize((MASK_SIDE, MASK_SIDE))) for m in masks]
        samples.regions.append(tuple(SampleRegion(None, "instance", mask) for mask in small))
        samples.pixels = np.concatenate([samples.pixels, rgb[None]])
    rating = fit_rating(bundle.model, bundle.class_table, samples)
    assert rating is not None and rating.weights.shape == (len(EVIDENCE) + 1,) and torch.isfinite(rating.weights).all()
    with torch.inference_mode():
        pixels = to_side(torch.as_tensor(samples.pixels).permute(0, 3, 1, 2).float(), bundle.model.config.side)
        segments = tasks.segment(bundle.model, bundle.model.pyramid(pixels), bundle.class_table)
        best, worst = [], []
        for n, regions in enumerate(samples.regions):
            found = tasks.regions(bundle.model, segments, n, rating)
            grown = torch.nn.functional.interpolate(found.masks[None], (MASK_SIDE, MASK_SIDE), mode="bilinear")[0]
            truth = torch.as_tensor(np.stack([region.mask for region in regions])) / 255
            met = overlaps(grown, truth).amax(1)[found.worth.argsort(descending=True)]
            best.append(float(met[:5].mean()))
            worst.append(float(met[-5:].mean()))
    assert np.mean(best) > np.mean(worst) + 0.3
    samples.regions = [()] * len(samples)
    assert fit_rating(bundle.model, bundle.class_table, samples) is None


def test_regions_learn_from_masks_alone_and_say_when_there_is_nothing(tmp_path):
    drawn_pack(tmp_path / "train-drawn.tar", 3)
    drawn_targets(tmp_path, "train-drawn", 3)
    samples = load_samples([tmp_path / "train-drawn.tar"], targets=tmp_path)
    assert samples.pooled is not None
    model = FindModel(MiniConfig(), train_tokenizer(["a red square"], size=50))
    boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (3, 1))
    whole_ones = Views(np.arange(3), boxes, samples.pooled.astype(np.float16))
    space, names = Space(256, samples.pooled), ["red square", "blue square"]
    places = torch.eye(2, 256)
    stage = RegionStage(model, samples, whole_ones, space, names, places, samples, batch=4)
    assert set(stage.losses(np.random.default_rng(0))) == {"names"} and set(stage.measure()) == {"top-1", "top-5"}
    with pytest.raises(InputError, match="neither"):
        RegionStage(model, samples, whole_ones, space, [], places[:0], samples)


def test_a_start_that_is_no_run_is_refused(tmp_path):
    drawn_pack(tmp_path / "train-drawn.tar", 4)
    drawn_pack(tmp_path / "val-drawn.tar", 2)
    with pytest.raises(InputError, match="earlier run"):
        run(TrainSettings(tmp_path, tmp_path / "out", start=tmp_path / "nowhere", stages=("bundle",)), print)


def test_means_inside_masks_and_boxes_are_in_the_order_they_were_asked_for(tmp_path):
    drawn_pack(tmp_path / "train-drawn.tar", 3)
    drawn_targets(tmp_path, "train-drawn", 3)
    samples = load_samples([tmp_path / "train-drawn.tar"], targets=tmp_path)
    model = FindModel(MiniConfig(), train_tokenizer(["a red square"], size=50))
    rng = np.random.default_rng(0)
    for n in range(3):
        samples.pixels[n] = rng.integers(0, 40 + 100 * n, samples.pixels[n].shape)
    everything = np.array([[0, 0, 1, 1], [0, 0, 0.5, 1], [0, 0, 1, 1]], np.float32)
    rows, unseen = np.array([1, 2, 0, 1]), np.zeros((4, 8), np.float16)
    views = Views(rows, everything[[0, 0, 1, 2]], unseen)
    means = box_means(model, samples, views, np.arange(1, 4), rng)
    features = pooled_features(model, samples, Views(np.arange(3), everything[[0, 0, 0]], unseen[:3]), rng)
    assert means.shape == (3, 640)
    for found, photo in ((means[0], 2), (means[2], 1)):
        assert torch.allclose(found.float(), features[photo].float(), atol=0.3)
        apart = (found.float() - features.float()).norm(dim=1)
        assert int(apart.argmin()) == photo
    masks, labels = named_means(model, samples, range(3), {"red square": 0, "blue square": 1}, None)
    asked = [r.label for n in range(3) for r in samples.regions[n] if r.label in ("red square", "blue square")]
    assert len(masks) == len(asked) and labels.tolist() == [int(name == "blue square") for name in asked]


def test_a_caption_costs_nothing_where_its_photo_lies_and_much_elsewhere():
    places = torch.nn.functional.normalize(torch.randn(8, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    targets = Targets(places)
    right = places[:1]
    assert float(targets.image_loss(3 * right, torch.tensor([0]))) == pytest.approx(0, abs=1e-5)
    assert float(targets.image_loss(-right, torch.tensor([0]))) == pytest.approx(2, abs=1e-4)
    at_home, abroad = (float(targets.text_loss(right, torch.tensor([n]), torch.tensor(50.0))) for n in (0, 1))
    assert at_home < abroad
