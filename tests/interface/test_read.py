"""READ with tiny random weights, loaded through the real path: what it keeps of a photo, its answers, its masks.

The language model is made to say [SEG] by pointing its output layer at the state that it is in.
"""

import numpy as np
import pytest
import torch

from interleave_index.config import Config
from interleave_index.errors import InputError, ModelError, WeightsMissing
from interleave_index.grounding.compatible import read_points, read_similarity
from interleave_index.interface.read import language as language_module
from interleave_index.interface.read import masks as masks_module
from interleave_index.interface.read.keys import place_of
from interleave_index.interface.read.model import Read
from interleave_index.interface.read.prompts import Question, after_photo, question_of, reasoning_question
from interleave_index.interface.registry import load
from interleave_index.models.segmenters.framing import IMAGENET, Frame
from interleave_index.service import ground_picture
from tests.interface.tiny_read import SAM_SIDE, SAM_WIDE, make, released_shapes, taught

pytest.importorskip("transformers")

PHOTO = np.random.default_rng(3).integers(0, 255, (60, 90, 3), dtype=np.uint8)


CAT, DOG = Question("cat"), Question("dog")
QUESTIONS = [CAT, Question("what cuts the red bread ?", "sentence"), Question("no dog", "presence")]


def read(folder):
    return Read.load(folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    return make(tmp_path_factory.mktemp("read") / "silent")


@pytest.fixture(scope="module")
def speaking(tmp_path_factory):
    """READ that answers "cat" with [SEG], and "dog" with nothing."""
    answers = [(PHOTO, question, question.text == "cat") for question in (CAT, DOG, *map(question_of, ("cat", "dog")))]
    return taught(tmp_path_factory.mktemp("read"), answers)


def ids_of(model, question):
    return model.language.ids_before(), model.language.ids_after(after_photo(str(question)))


def full_states(model, question, said=()):
    """Last states of the whole sequence in one pass, without a cache: the image tokens put where <image> stands."""
    with torch.inference_mode():
        before, after = (torch.tensor([ids]) for ids in ids_of(model, question))
        embed = model.parts.llava.get_input_embeddings()
        given = torch.cat([embed(before), model.language.image_tokens(PHOTO), embed(after)], dim=1)
        if said:
            given = torch.cat([given, embed(torch.tensor([list(said)]))], dim=1)
        return model.parts.llava.model.language_model(inputs_embeds=given, use_cache=False).last_hidden_state


# --- weights ---------------------------------------------------------------------------------


def test_every_released_weight_has_one_place_and_every_place_one_weight(silent):
    parts = read(silent).parts
    places = [place for name in released_shapes() if (place := place_of(name))]
    assert len(places) == len(set(places)) == len(released_shapes()) - 2  # the two constants of SAM
    wanted = {("llava", name) for name, _ in parts.llava.named_parameters() if ".vision_tower." not in name}
    wanted |= {("sam", name) for name, _ in parts.sam.named_parameters()}
    wanted |= {("head", name) for name, _ in parts.head.named_parameters()}
    assert set(places) == wanted


def test_sizes_are_read_from_the_weights(silent):
    config = read(silent).parts.sam.config
    assert config.vision_config.global_attn_indexes == [1] and config.vision_config.window_size == 4
    assert config.vision_config.num_attention_heads == 2 and config.vision_config.image_size == SAM_SIDE
    assert config.mask_decoder_config.iou_head_hidden_dim == 28 and config.mask_decoder_config.mlp_dim == 48


def test_pytorch_shards_give_the_same_model_as_safetensors(silent, tmp_path):
    other = read(make(tmp_path / "shards", shards=True))
    assert torch.equal(full_states(other, DOG), full_states(read(silent), DOG))


def test_a_missing_weight_is_named(silent, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = make(tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    del weights["model.text_hidden_fcs.0.2.bias"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsMissing, match=r"lacks 1 weights of READ, the first is 2\.bias of head"):
        Read.load(folder)


# --- what it does ----------------------------------------------------------------------------


def test_the_image_stands_between_its_marks_and_the_image_tokens_are_llavas_own(silent):
    model = read(silent)
    before, after = (torch.tensor([ids]) for ids in ids_of(model, Question("What cuts bread?", "sentence")))
    tokenizer = model.parts.tokenizer
    assert tokenizer.convert_ids_to_tokens(before[0].tolist())[:: len(before[0]) - 1] == ["<s>", "<im_start>"]
    assert tokenizer.convert_ids_to_tokens(after[0].tolist())[0] == "<im_end>"
    ids = torch.cat([before, torch.zeros(1, 144, dtype=torch.long), after], 1)  # token 0 stands for the image
    ids[:, : before.shape[1]][ids[:, : before.shape[1]] == 0] = 3
    text = after.clone()
    text[text == 0] = 3
    ids[:, -text.shape[1] :] = text
    given = model.parts.view.tensors([model.parts.view.prepare(PHOTO)], torch.device("cpu"))
    with torch.inference_mode():
        theirs = model.parts.llava.model(input_ids=ids, pixel_values=given["pixel_values"]).last_hidden_state
        embed = model.parts.llava.get_input_embeddings()
        ours = torch.cat([embed(ids[:, : before.shape[1]]), model.language.image_tokens(PHOTO), embed(text)], dim=1)
        states = model.parts.llava.model.language_model(inputs_embeds=ours).last_hidden_state
    assert torch.allclose(theirs, states, atol=1e-5)


def test_the_state_before_seg_draws_the_map_and_prompts_the_decoder(speaking):
    model = read(speaking)
    (answer,) = model.answer(PHOTO, [CAT])
    (segment,) = answer.segments
    states = full_states(model, CAT)
    start = len(model.language.ids_before())
    query, tokens = states[0, -1].numpy(), states[0, start : start + 144].numpy()
    assert np.allclose(segment.similarity.ravel(), tokens @ query, atol=1e-4)
    expected = read_points(read_similarity(tokens, query), (60, 90))
    assert np.array_equal(segment.points.whole, expected.whole) and len(segment.points.labels) == 30
    assert segment.mask.shape == (60, 90) and answer.text == ""


def test_the_decoder_is_given_points_then_padding_then_the_projected_state(speaking):
    model = read(speaking)
    (segment,) = model.answer(PHOTO, [CAT])[0].segments
    sam, frame = model.parts.sam, Frame((60, 90), SAM_SIDE, True)
    with torch.inference_mode():
        token = model.parts.head(full_states(model, CAT)[0, -1])
        encoder = sam.prompt_encoder
        placed = torch.from_numpy(frame.points(segment.points.soft)) + 0.5
        where = encoder.shared_embedding(placed[None, None], (SAM_SIDE, SAM_SIDE))[0, 0]
        rows = []
        for place, label in zip(where, segment.points.labels.tolist(), strict=True):
            rows.append(
                encoder.not_a_point_embed.weight[0] if label == -1 else place + encoder.point_embed[label].weight[0]
            )
        sparse = torch.stack([*rows, encoder.not_a_point_embed.weight[0], token])
        assert sparse.shape == (32, SAM_WIDE)
        dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, -1, 8, 8)
        logits, _ = sam.mask_decoder(
            image_embeddings=sam.get_image_embeddings(frame.pixels(PHOTO, *IMAGENET, "cpu")),
            image_positional_embeddings=sam.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=sparse[None, None],
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
    (expected,) = frame.masks(logits[0, 0])
    assert np.mean(expected == segment.mask) > 0.999


def test_without_seg_there_is_nothing_in_the_photo(silent):
    assert [answer.segments for answer in read(silent).answer(PHOTO, QUESTIONS)] == [(), (), ()]


def test_free_answers_side_by_side_are_those_of_single_runs_without_a_cache(silent):
    model = read(silent)
    answers = model.language.generate(model.embed(PHOTO).read, QUESTIONS)
    assert len({len(ids_of(model, question)[1]) for question in QUESTIONS}) == 3
    for question, said in zip(QUESTIONS, answers, strict=True):
        for number, token in enumerate(said.ids[:6]):
            state = full_states(model, question, said.ids[:number])[0, -1]
            assert int(model.parts.llava.lm_head(state).argmax()) == token


def test_the_supplied_answer_has_its_segment_even_where_the_model_would_deny(silent, speaking):
    model = read(silent)
    for question, answer in zip(QUESTIONS, model.supply(PHOTO, QUESTIONS), strict=True):
        words = model.language.ids_after(after_photo(str(question), "Sure, the segmentation result is [SEG]."))
        state = full_states_of(model, words[: words.index(model.parts.tokenizer.convert_tokens_to_ids("[SEG]"))])
        tokens = model.embed(PHOTO).read.tokens
        (segment,) = answer.segments
        assert np.allclose(segment.similarity.ravel(), tokens.numpy() @ state[0, -1].numpy(), atol=1e-4)
    free, supplied = read(speaking).answer(PHOTO, [CAT]), read(speaking).supply(PHOTO, [CAT])
    assert free[0].text == "" and supplied[0].text == "Sure , the segmentation result is ."


def full_states_of(model, ids):
    with torch.inference_mode():
        embed = model.parts.llava.get_input_embeddings()
        words = [embed(torch.tensor([some])) for some in (model.language.ids_before(), ids)]
        given = torch.cat([words[0], model.language.image_tokens(PHOTO), words[1]], dim=1)
        return model.parts.llava.model.language_model(inputs_embeds=given, use_cache=False).last_hidden_state


def test_a_photo_is_read_once_for_all_its_questions_and_calls(speaking, monkeypatch):
    seen = {"tower": 0, "sam": 0, "photo tokens": 0}
    model = read(speaking)

    def counted(name, function):
        def call(*args, **more):
            seen[name] += 1
            return function(*args, **more)

        return call

    language = model.parts.llava.model.language_model

    def forward(*args, inputs_embeds, **more):
        seen["photo tokens"] += inputs_embeds.shape[1] >= 144
        return plain(*args, inputs_embeds=inputs_embeds, **more)

    plain = language.forward
    monkeypatch.setattr(language, "forward", forward)
    monkeypatch.setattr(model.language, "image_tokens", counted("tower", model.language.image_tokens))
    monkeypatch.setattr("interleave_index.interface.read.model.embed_photo", counted("sam", masks_module.embed_photo))
    model.supply(PHOTO, QUESTIONS)
    model.answer(PHOTO, [CAT])
    model.answer(PHOTO.copy(), [DOG])
    assert seen == {"tower": 1, "sam": 1, "photo tokens": 1}
    model.answer(PHOTO[::-1], [DOG])
    assert seen["tower"] == 2


def test_questions_side_by_side_have_the_answers_of_one_by_one(silent, monkeypatch):
    model = read(silent)
    photo = model.embed(PHOTO).read
    together = model.language.supply(photo, QUESTIONS)
    monkeypatch.setattr(language_module, "MOST_TOGETHER", 1)
    for one, other in zip(together, model.language.supply(photo, QUESTIONS), strict=True):
        assert one.ids == other.ids and torch.allclose(one.emitting, other.emitting, atol=1e-5)
    assert model.language.generate(photo, []) == []


def test_the_wording_is_chosen_by_is_sentence_and_not_by_the_last_sign():
    short = reasoning_question("The Bread.", is_sentence=False)
    assert str(short) == "What is the bread. in this image? Please output segmentation mask."
    assert (
        str(reasoning_question("what cuts bread", is_sentence=True))
        == "what cuts bread Please output segmentation mask."
    )
    assert [question_of(text).wording for text in ("a dog", "Where is it?")] == ["presence", "sentence"]


# --- where an interface is expected ----------------------------------------------------------


def test_ground_asks_read_whether_each_thing_is_there(speaking, tmp_path):
    from PIL import Image

    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    config = Config().with_flags(models_interface=f"read:{speaking}", models_dtype="float32")
    hit = ground_picture(tmp_path / "photo.png", "[cat] [dog]", config=config)
    cat, dog = hit.entities
    assert cat.grounding.present and cat.grounding.rung == "read" and cat.grounding.source == "exact"
    assert cat.regions[0].rle.decode().shape == (60, 90)
    assert not dog.grounding.present and dog.grounding.rung == "absent" and dog.regions == ()


def test_read_makes_no_vectors_and_takes_no_pictures(silent):
    interface = load(f"read:{silent}", device="cpu")
    with pytest.raises(ModelError, match=r"makes no vectors of photos.*one photo at a time"):
        interface.encode_photos([PHOTO])
    with pytest.raises(InputError, match="reads words only"):
        ground_picture(PHOTO, _picture_query(), config=Config(), build=lambda: interface)


def _picture_query():
    from interleave_index import Picture, Query

    return Query(Picture(PHOTO))


def test_without_read_the_message_says_what_to_get(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERLEAVE_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    with pytest.raises(WeightsMissing, match=r"READ is not on this machine.*models pull rui-qian/READ"):
        load("read", device="cpu")
