"""READ's recipe on four drawn photos with a tiny model: what is drawn, losses, a stopped training, its result."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("peft")

from interleave_index.cli import main
from interleave_index.errors import ConfigError, InputError, WeightsMissing
from interleave_index.evaluation.published.reasonseg import read_reasonseg
from interleave_index.grounding.compatible import ReadSettings
from interleave_index.interface.read.loading import load_parts, weight_files
from interleave_index.interface.read.model import Read
from interleave_index.interface.read.prompts import Question, after_photo
from interleave_index.interface.registry import find
from interleave_index.training.read import run as run_module
from interleave_index.training.read.lora import Lora, attach, recompute_states
from interleave_index.training.read.run import measure, run
from interleave_index.training.read.settings import read_settings
from interleave_index.training.read.sources import Sample, Turn, open_sources
from interleave_index.training.read.step import dice_loss, losses, mask_logits
from interleave_index.training.read.wordings import CORRECTED, DENIED, FOUND, PHRASES, SENTENCES
from tests.interface import tiny_read
from tests.training.read.conftest import SCENES, SIZE, draw

POINTS = ReadSettings()
QUICK = {
    "bf16": False,
    "device": "cpu",
    "batch": 2,
    "accumulate": 2,
    "epochs": 2,
    "steps_per_epoch": 12,
    "rate": 0.01,
    "warm_up": 4,
    "mix.reason": 1.0,
    "checkpointing": False,
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tiny_read.make(tmp_path_factory.mktemp("read") / "start", spread=0.2)
    return made


@pytest.fixture(scope="module")
def trained(start: Path, lisa: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A short training from beginning to end: its folder and what it reported."""
    out, lines = tmp_path_factory.mktemp("run") / "whole", list[str]()
    run(settings(lisa, out, start), progress=lines.append)
    return out, lines


def settings(data: Path, out: Path, start: Path, **more: Any) -> Any:
    return read_settings(data, out, overrides={**QUICK, "start": f"read:{start}", **more})


def parts_of(folder: Path) -> Any:
    return load_parts(folder, device="cpu", dtype=torch.float32)


# --- what is drawn ---------------------------------------------------------------------------


def test_every_source_gives_its_own_kinds_of_answers(lisa: Path) -> None:
    sources = open_sources(lisa, {"refer": 1, "fp_refer": 1, "r_refer": 1, "reason": 1})
    assert {name: source.count for name, source in sources.items()} == {"refer": 4, "fp_refer": 4, "reason": 4}
    rng = np.random.default_rng(0)
    for name, most in (("refer", 2), ("fp_refer", 3), ("reason", 2)):
        samples = [sources[name].draw(rng, most) for _ in range(60)]
        turns = [turn for sample in samples for turn in sample.turns]
        assert all(len(sample.turns) <= most and sample.photo.shape == (*SIZE, 3) for sample in samples)
        assert all(("[SEG]" in turn.answer) == (turn.mask is not None) for turn in turns)
        denied = [turn.answer for turn in turns if turn.mask is None]
        if name == "refer":
            assert denied == []
        if name == "fp_refer":
            assert 0.3 < len(denied) / len(turns) < 0.7
            assert any("dog" in answer and "square" in answer for answer in denied)  # what is there instead
            assert any("cat" in answer and "disc" not in answer for answer in denied)  # where the file names nothing
        if name == "reason":
            assert set(denied) == {"There is no bread here ."} and len(denied) < len(turns) / 3


def test_an_expression_comes_with_the_pixels_that_it_names(lisa: Path) -> None:
    source = open_sources(lisa, {"refer": 1})["refer"]
    sample = source.draw(np.random.default_rng(1), 2)
    (things,) = [things for pixels, things in map(draw, range(len(SCENES))) if np.array_equal(pixels, sample.photo)]
    for turn in sample.turns:
        (mask,) = [mask for text, mask in things if text in turn.question]
        assert turn.mask is not None and (turn.mask & mask).sum() / (turn.mask | mask).sum() > 0.9


def test_a_folder_without_sources_and_settings_without_a_model_are_refused(tmp_path: Path, lisa: Path) -> None:
    with pytest.raises(InputError, match=r"nothing to train READ on, expected refer_seg/refcoco/"):
        open_sources(tmp_path, {"refer": 1})
    with pytest.raises(InputError, match="nothing to train READ on"):
        open_sources(lisa, {"refer": 0})
    with pytest.raises(ConfigError, match="give it with --start"):
        read_settings(lisa, tmp_path)
    with pytest.raises(ConfigError, match="setting batch is 0"):
        read_settings(lisa, tmp_path, overrides={"start": "read", "batch": 0})


# --- losses ----------------------------------------------------------------------------------


def test_words_are_judged_in_the_answer_alone_each_from_the_state_before_it(start: Path) -> None:
    parts = parts_of(start)
    photo, things = draw(0)
    turns = (Turn("What is red disc ?", "It is [SEG] .", things[0][1]), Turn("Is dog here ?", "No dog here ."))
    found = losses(parts, [Sample(photo, turns)], POINTS)
    language, expected = Read(parts).language, []
    for turn in turns:
        ids = [*language.ids_after(after_photo(turn.question, turn.answer)), language.end]
        begin = len(language.ids_after(after_photo(turn.question)))
        embed = parts.llava.get_input_embeddings()
        words = [embed(torch.tensor([some])) for some in (language.ids_before(), ids)]
        given = torch.cat([words[0], language.image_tokens(photo), words[1]], dim=1)
        states = parts.llava.model.language_model(inputs_embeds=given, use_cache=False).last_hidden_state[0]
        chances = parts.llava.lm_head(states[-len(ids) - 1 : -1]).log_softmax(-1)
        expected += [-float(chances[place, ids[place]]) for place in range(begin, len(ids))]
    assert float(found["text"]) == pytest.approx(np.mean(expected), abs=1e-4)
    assert found["bce"] > 0 and found["dice"] > 0


def test_without_a_mask_only_words_are_judged(start: Path) -> None:
    found = losses(parts_of(start), [Sample(draw(0)[0], (Turn("Is dog here ?", "No dog here ."),))], POINTS)
    assert found["text"] > 0 and found["bce"] == found["dice"] == 0


def test_dice_is_that_of_the_published_scale() -> None:
    truth = torch.zeros(4, 4)
    truth[:2] = 1
    assert float(dice_loss(torch.where(truth > 0, 30.0, -30.0), truth)) == pytest.approx(0, abs=1e-5)
    # half of it found, nothing else: 2 * 4 / (4 + 8)
    found = truth.clone()
    found[1] = 0
    assert float(dice_loss(torch.where(found > 0, 30.0, -30.0), truth)) == pytest.approx(1 - 8 / 12, abs=1e-4)


def test_the_loss_of_a_mask_reaches_the_language_model_through_the_points_alone(start: Path) -> None:
    parts = parts_of(start)
    learning = attach(parts, Lora())
    photo, things = draw(0)
    with torch.no_grad():
        for parameter in parts.head.parameters():
            parameter.zero_()  # the token that SAM gets says nothing now
    losses(parts, [Sample(photo, (Turn("What is red disc ?", "It is [SEG] .", things[0][1]),))], POINTS)[
        "dice"
    ].backward()
    reached = [name for name, one in learning.items() if ".lora_B." in name and one.grad is not None]
    assert len(reached) == 4  # queries and values of two layers
    assert any(bool(learning[name].grad.abs().max() > 0) for name in reached)  # type: ignore[union-attr]


def test_masks_in_training_are_those_in_use(start: Path) -> None:
    read = Read(parts_of(start), POINTS)
    photo, _ = draw(1)
    (answer,) = read.supply(photo, [Question("red square")])
    embedded = read.embed(photo)
    with torch.no_grad():
        (said,) = read.language.supply(embedded.read, [Question("red square")])
        logits = mask_logits(read.parts, embedded.sam, embedded.read.tokens, said.emitting[0], POINTS)
    assert (logits > 0).numpy().any() and np.mean((logits > 0).numpy() == answer.segments[0].mask) > 0.999


# --- training --------------------------------------------------------------------------------


def test_the_result_is_a_read_that_can_be_asked(trained: tuple[Path, list[str]], lisa: Path) -> None:
    out, lines = trained
    assert find(str(out)).kind.name == "read"  # its folder alone says what it is
    read = Read(parts_of(out), POINTS)
    photos = read_reasonseg(lisa / "reason_seg" / "ReasonSeg" / "val")
    best = max(float(match[1]) for line in lines if (match := re.search(r"held out: .* cIoU (\S+)", line)))
    assert 100 * measure(read, photos).ciou == pytest.approx(best, abs=0.1)  # with the adapters merged
    config = json.loads((out / "config.json").read_text())
    assert config["training"]["lora"]["rank"] == 8 and config["vocab_size"] == tiny_read.WORDS


def test_all_losses_fall(trained: tuple[Path, list[str]], start: Path, lisa: Path) -> None:
    sources = open_sources(lisa, {"refer": 1, "fp_refer": 1, "reason": 1})
    rng = np.random.default_rng(5)
    samples = [source.draw(rng, 3) for source in sources.values() for _ in range(4)]
    with torch.no_grad():
        before, after = (losses(parts_of(folder), samples, POINTS) for folder in (start, trained[0]))
    fallen = {name: float(after[name] / before[name]) for name in ("text", "bce", "dice")}
    assert all(share < 0.9 for share in fallen.values()), str(fallen)


def test_only_what_the_recipe_names_has_learned(trained: tuple[Path, list[str]], start: Path) -> None:
    from safetensors.torch import load_file

    before, after = (load_file(weight_files(folder)[0]) for folder in (start, trained[0]))
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert before.keys() - after.keys() == {f"model.visual_model.{name}" for name in ("pixel_mean", "pixel_std")}
    assert all(f"model.layers.{n}.self_attn.{which}_proj.weight" in changed for n in (0, 1) for which in "qv")
    learned = r"lm_head|embed_tokens|text_hidden_fcs|visual_model\.mask_decoder|self_attn\.[qv]_proj"
    assert {name for name in changed if not re.search(learned, name)} == set()
    assert {"lm_head.weight", "model.embed_tokens.weight", "model.text_hidden_fcs.0.0.weight"} <= changed


def test_a_training_that_was_stopped_ends_as_one_that_was_not(
    trained: tuple[Path, list[str]], start: Path, lisa: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    step, done = run_module._Training._step, [0]

    def stopping(self: Any, number: int) -> dict[str, float]:
        if number == 15:
            raise KeyboardInterrupt
        done[0] += 1
        return step(self, number)

    monkeypatch.setattr(run_module._Training, "_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(settings(lisa, tmp_path, start, save_every=5), progress=lambda line: None)
    assert done == [15]
    monkeypatch.setattr(run_module._Training, "_step", step)
    lines: list[str] = []
    run(settings(lisa, tmp_path, start, save_every=5), progress=lines.append)
    assert "goes on from step 15" in lines
    whole, stopped = (load_file(weight_files(folder)[0]) for folder in (trained[0], tmp_path))
    assert all(torch.allclose(whole[name], stopped[name], atol=1e-6) for name in whole)
    with pytest.raises(InputError, match=r"of a training with other rate; give another --out"):
        run(settings(lisa, tmp_path, start, rate=0.5), progress=lambda line: None)


def test_keeping_no_states_changes_nothing(start: Path, lisa: Path) -> None:
    gradients = []
    for kept in (True, False):
        parts = parts_of(start)
        torch.manual_seed(0)
        learning = attach(parts, Lora(dropout=0.0))
        if not kept:
            recompute_states(parts)
        parts.llava.train()
        photo, things = draw(0)
        found = losses(parts, [Sample(photo, (Turn("What is red disc ?", "It is [SEG] .", things[0][1]),))], POINTS)
        torch.stack(list(found.values())).sum().backward()
        gradients.append({name: one.grad for name, one in learning.items() if one.grad is not None})
    assert all(torch.allclose(gradients[0][name], gradients[1][name], atol=1e-6) for name in gradients[0])


def test_a_read_starts_from_a_llava_and_a_sam(start: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(weight_files(start)[0])
    sam = {name.removeprefix("model.visual_model."): one for name, one in weights.items() if "visual_model" in name}
    known = tiny_read.WORDS - 3
    llava = {name: one for name, one in weights.items() if "visual_model" not in name and "text_hidden" not in name}
    llava = {name: one[:known].clone() if len(one) == tiny_read.WORDS else one for name, one in llava.items()}
    folder = tmp_path / "llava"
    folder.mkdir()
    for file in start.iterdir():
        if file.name != "model.safetensors":
            (folder / file.name).symlink_to(file)
    save_file(llava, folder / "model.safetensors", {"format": "pt"})
    torch.save(sam, tmp_path / "sam.pth")
    words = len(parts_of(start).tokenizer)
    parts = load_parts(folder, device="cpu", dtype=torch.float32, sam_file=tmp_path / "sam.pth")
    rows = parts.llava.get_input_embeddings().weight
    if words > known:
        assert torch.allclose(rows[known:], rows[:known].mean(0), atol=1e-6)
    assert torch.equal(rows[:known], weights["model.embed_tokens.weight"][:known])
    assert torch.equal(parts.sam.mask_decoder.iou_token.weight, sam["mask_decoder.iou_token.weight"])
    assert parts.head[2].weight.shape == (tiny_read.SAM_WIDE, tiny_read.WIDE)
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsMissing, match="is no SAM as first released"):
        load_parts(folder, device="cpu", sam_file=tmp_path / "other.pth")


def test_the_command_trains_and_says_what_is_wrong(start: Path, lisa: Path, tmp_path: Path, capsys: Any) -> None:
    def call(*words: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["train", "--data", "read", *map(str, words)])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    one_step = ("--epochs", 1, "--steps-per-epoch", 1, "--accumulate", 1, "--fp32", "--device", "cpu")
    status, out, err = call(lisa, "--out", tmp_path / "out", "--start", f"read:{start}", *one_step, "--json")
    assert status == 0, err
    assert json.loads(out) == {"model": str(tmp_path / "out")} and "reason: 4 photos" in err
    status, _, err = call(lisa, "--out", tmp_path / "none", *one_step)
    assert status == 1 and "--start read" in err
    status, _, err = call(tmp_path, "--out", tmp_path / "none", "--start", f"read:{start}")
    assert status == 1 and "nothing to train READ on" in err


@pytest.mark.slow
def test_a_handful_of_photos_is_learned_by_heart(lisa: Path, tmp_path: Path) -> None:
    """Two things of one photo are told apart by their words, and what is there from what is not.

    As that of a LLaVA, the language model knows the words that it is trained on, and its states depend on them from the
    start: its 32 heads look at different places. With two heads all questions look alike to it beside 144 image tokens
    (their states have a cosine of 0.9997); SAM's decoder then learns to do without them, and masks both things.
    """
    wordings = " ".join([*PHRASES, *SENTENCES, *FOUND, *DENIED, *CORRECTED]).replace("[SEG]", " ")
    known = [*tiny_read.SPOKEN.split(), *re.findall(r"\w+|[^\w\s]+", wordings), "black"]
    able = tiny_read.make(
        tmp_path / "able", spread=0.2, wide=128, attention_heads=32, spoken=" ".join(dict.fromkeys(known))
    )
    steps = {"batch": 4, "accumulate": 1, "epochs": 1, "steps_per_epoch": 600, "save_every": 1000, "validate": False}
    run(settings(lisa, tmp_path / "out", able, **steps, rate=0.005, warm_up=20), progress=print)
    read = Read(parts_of(tmp_path / "out"), POINTS)
    ious, said = [], []
    for number in range(len(SCENES)):
        photo, things = draw(number)
        supplied = read.supply(photo, [Question(text) for text, _ in things])
        for answer, (_, mask) in zip(supplied, things, strict=True):
            found = answer.segments[0].mask
            ious.append((found & mask).sum() / (found | mask).sum())
        texts = [*(text for text, _ in things), "cat", "dog"]
        answers = read.answer(photo, [Question(text, "presence") for text in texts])
        said.append([bool(answer.segments) for answer in answers])
    reasons = measure(read, read_reasonseg(lisa / "reason_seg" / "ReasonSeg" / "train"))
    print(np.round(ious, 2), said, reasons.ciou)
    assert np.mean(ious) > 0.8 and min(ious) > 0.5  # a mask of the other thing, or of both, has less
    assert np.mean(np.array(said) == [True, True, False, False]) > 0.9
    assert reasons.ciou > 0.7
