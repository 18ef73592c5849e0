"""The published wrapper: the way in and out of the model, its answers, and what is replayed only when asked."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from interleave_index.errors import InputError, ShapeError
from interleave_index.interface.find.adapter import View
from interleave_index.interface.find.prompter import Sentence, compose
from interleave_index.interface.find.prompts import MaskPrompt, Prompts, SpatialPrompt
from interleave_index.interface.published.answers import Example
from interleave_index.interface.published.model import PublishedModel
from interleave_index.interface.published.network import PublishedNetwork
from interleave_index.interface.published.preparation import prepare, prompt_mask, stretched, to_photo
from interleave_index.interface.published.segmentation import instances, panoptic, semantic
from interleave_index.interface.published.text import PublishedPrompter, TextCache
from interleave_index.models.text.language import TokenStates, tokens_of

RANDOM = np.random.default_rng(0)
PHOTO = RANDOM.integers(0, 255, (48, 70, 3), np.uint8)
OTHER = RANDOM.integers(0, 255, (60, 50, 3), np.uint8)


def part_of(photo, rows=slice(8, 20), columns=slice(10, 25)):
    mask = np.zeros(photo.shape[:2], bool)
    mask[rows, columns] = True
    return mask


@pytest.fixture(scope="module")
def build(toys, tmp_path_factory):
    """Makes a model, replaying the published protocol or not; a table of random vectors is its language model."""
    tokenizer, folder = toys.llama_tokenizer(), tmp_path_factory.mktemp("texts")
    table = torch.randn(256, 48, generator=torch.Generator().manual_seed(4))

    class Tower:
        width = 48

        def states(self, texts, context, *, tail=0):
            coded = [tokens_of(tokenizer, text, context) for text in texts]
            return [TokenStates(table[ids], spans) for ids, spans in coded]

    network = PublishedNetwork(toys.tiny_sizes()).eval().requires_grad_(False)
    state = toys.random_state(toys.tiny_sizes())
    network.load_state_dict({name: state[name] for name in network.state_dict()})

    def make(published_protocol=False):
        prompter = PublishedPrompter(TextCache(folder, "table", Tower), network.predictor.project_text, context=77,
                            class_context=150)  # fmt: skip
        model = PublishedModel(network, prompter)
        model.published_protocol = published_protocol
        return model

    return make


@pytest.fixture(scope="module")
def model(build):
    return build()


@pytest.fixture(scope="module")
def view(model):
    return model.view(PHOTO)


# --- in and out ------------------------------------------------------------------------------


def test_a_photo_is_resized_normalised_and_padded_with_zeros_at_the_bottom_and_right():
    grey = np.full((48, 70, 3), (124, 116, 104), np.uint8)
    pixels, size = prepare(grey, 64, 96)
    assert size == (64, 93) and pixels.shape == (1, 3, 64, 96)
    assert torch.allclose(pixels[0, :, 5, 5], (torch.tensor([124, 116, 104]) - torch.tensor([123.675, 116.28, 103.53]))
                          / torch.tensor([58.395, 57.12, 57.375]))  # fmt: skip
    assert pixels[0, :, :, :93].ne(0).all() and pixels[0, :, :, 93:].eq(0).all()
    with pytest.raises(ShapeError, match=r"shape \(4, 4\)"):
        prepare(np.zeros((4, 4), np.uint8))


def seen(photo=(48, 70), resized=(64, 93), padded=(64, 96)):
    return View(None, photo, resized, padded)  # type: ignore[arg-type]


def test_masks_come_back_without_their_padding():
    grid = torch.full((1, 16, 24), -4.0)
    grid[0, :, :12] = 4  # the left half of the padded input
    back = to_photo(grid, seen()) > 0
    edge = 48 * 70 / 93  # column of the photo that column 48 of the input is
    assert back.shape == (1, 48, 70)
    assert back[0, :, : int(edge)].all() and not back[0, :, int(edge) + 2 :].any()


def test_the_published_interleaved_grounding_stretches_the_padding_too():
    grid = torch.full((1, 16, 24), -4.0)
    grid[0, :, :12] = 4
    back = stretched(grid, seen()) > 0
    assert back[0, :, :35].all() and not back[0, :, 36:].any()  # half of the photo, not half of the padded input


def test_prompts_are_taken_at_the_size_of_the_photo_or_of_the_input():
    mask = part_of(PHOTO)
    padded = prompt_mask(mask, seen())
    assert padded.shape == (64, 96) and not padded[:, 93:].any()
    assert prompt_mask(mask, seen(), padded=False).shape == (64, 93)
    assert float(padded.sum() / (64 * 93)) == pytest.approx(mask.mean(), rel=0.05)
    assert prompt_mask(np.ones((64, 93), bool), seen()).sum() == 64 * 93
    dot = np.zeros((480, 700), bool)
    dot[101, 333] = True
    assert prompt_mask(dot, seen(photo=(480, 700))).sum() == 1  # nothing is lost to a smaller size
    with pytest.raises(ShapeError, match="as the photo"):
        prompt_mask(np.ones((10, 10), bool), seen())


# --- generic segmentation by hand --------------------------------------------------------------


def squares() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and masks of four proposals on an 8 x 8 photo, with classes thing, stuff and background."""
    masks = torch.full((4, 8, 8), -6.0)
    masks[0, :4, :4] = 6  # a thing
    masks[1, 4:, :4] = 6  # stuff
    masks[2, 4:, 4:] = 6  # the same stuff
    masks[3, :4, 4:] = 6  # background
    logits = torch.tensor([[9.0, 0, 0], [0, 9, 0], [0, 8, 0], [0, 0, 9]])
    return logits, masks


def test_panoptic_joins_stuff_and_leaves_background_out():
    found = panoptic(*squares(), things={0})
    assert [(s.id, s.category, s.thing) for s in found.segments] == [(1, 0, True), (2, 1, False)]
    assert found.ids.tolist() == [[1] * 4 + [0] * 4] * 4 + [[2] * 8] * 4


def test_panoptic_keeps_two_things_of_one_class_apart():
    assert panoptic(*squares(), things={0, 1}).ids[7].tolist() == [2] * 4 + [3] * 4


def test_a_proposal_that_keeps_too_little_of_its_mask_is_dropped():
    logits, masks = squares()
    masks[0] = -6
    masks[0, :4] = 6  # eight wide, of which the thing below claims four columns with more certainty
    masks[1] = -6
    masks[1, :4, 4:] = 9
    logits[1] = torch.tensor([0, 20.0, 0])
    found = panoptic(logits, masks, things={0, 1})
    assert {s.category for s in found.segments} == {1} and not found.ids[:4, :4].any()


def test_an_unsure_class_gives_no_segment():
    logits, masks = squares()
    found = panoptic(logits / 9, masks, things={0})
    assert found.segments == () and not found.ids.any()


def test_semantic_scores_sum_over_proposals_without_background():
    logits, masks = squares()
    scores = semantic(logits, masks)
    chance = logits.softmax(-1)
    on, off = torch.sigmoid(torch.tensor(6.0)), torch.sigmoid(torch.tensor(-6.0))
    assert scores.shape == (2, 8, 8)
    expected = chance[1, 1] * on + (chance[[0, 2, 3], 1] * off).sum()
    assert float(scores[1, 7, 0]) == pytest.approx(float(expected), abs=1e-5)
    assert scores.argmax(0)[7].tolist() == [1] * 8


def test_instances_are_ranked_by_class_and_certainty_and_things_are_chosen_after_the_cut():
    logits, masks = squares()
    masks[2, 4:, 4:] = 0.5  # the same class as 1, and less certain
    found = instances(logits, masks, None, most=4)
    assert [one.category for one in found][:2] == [0, 1] and found[0].score == pytest.approx(0.9995, abs=0.003)
    assert [round(one.score, 2) for one in found[:3]] == [1.0, 1.0, 0.62]
    assert [one.category for one in instances(logits, masks, {0}, most=2)] == [0]
    assert found[0].mask[:4, :4].all() and found[0].mask.sum() == 16


# --- clicks by hand -----------------------------------------------------------------


# --- the model ---------------------------------------------------------------------------------


def test_every_answer_has_the_size_of_the_photo(model, view):
    table = model.class_table(["dog", "grass-merged"])
    assert table.shape == (3, 32)
    logits, masks = model.logits(view, table)
    assert semantic(logits, masks).shape == (2, 48, 70)
    assert panoptic(logits, masks, {0}).ids.shape == (48, 70)
    found = instances(logits, masks, None)
    assert len(found) == 24 and found[0].mask.shape == (48, 70)  # twelve proposals, two classes
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert [one.mask.shape for one in model.ground(view, ["a dog", "the cat"])] == [(48, 70)] * 2
    assert model.ground(view, []) == []


def test_an_expression_takes_the_proposal_of_the_largest_scaled_cosine(model, view):
    prompts = Prompts(grounding=model.prompter.expressions([["a dog", "the yellow cat"]]))
    out = model.network.predictor(view.pyramid.levels, view.pyramid.mask_features, prompts).final
    cosines = F.normalize(out["pred_gtexts"][0], dim=-1) @ F.normalize(out["pred_grounding_query"][0], dim=-1).T
    for number, found in enumerate(model.ground(view, ["a dog", "the yellow cat"])):
        best = int(cosines[:, number].argmax())
        assert found.cosine == pytest.approx(float(cosines[best, number]), abs=1e-5)
        assert found.score == pytest.approx(found.cosine * float(model.network.predictor.scale), abs=1e-4)
        assert np.array_equal(found.mask, (to_photo(out["pred_gmasks"][0, best : best + 1], view)[0] > 0).numpy())


def as_published(model, sentence, masks):
    """One sentence under the published input names (docs/find-interface.md, section 5.6), without the prompter."""
    (found,) = model.prompter._cache.states([sentence.text], 77)
    tokens = model.network.predictor.project_text(found.states)
    start, end = found.spans.unbind(-1)
    inside = torch.stack([(a <= start) & (end <= b) & (start != end) for a, b in sentence.spans])
    index = torch.where(inside.any(0), (inside * torch.arange(len(inside))[:, None]).sum(0), torch.tensor(-4))
    return {
        "interleave_tokens": tokens[:, None],
        "interleave_nonzero_mask": torch.zeros(1, len(tokens), dtype=torch.bool),
        "interleave_entity_mask": inside[:, None],
        "interleave_entity_indices": index[:, None],
        "interleave_query_indices": torch.arange(len(inside))[:, None],
        "interleave_isvisual": torch.tensor(sentence.visual).float()[:, None],
        "interleave_query_pos_mask": [masks],
        "interleave_query_neg_mask": [masks & False],
    }


SENTENCE = compose([("a dog", 0, False), ("near", None, False), ("", 1, True), ("on the beach", None, False)])


@pytest.mark.parametrize("replay", [False, True])
def test_interleaved_grounding_is_one_pass_with_the_published_inputs(build, replay, prompts_from_published):
    model = build(published_protocol=replay)
    view = model.view(PHOTO)
    found = model.ground_interleaved(view, SENTENCE, [None, Example(view, part_of(PHOTO))])
    mask = prompt_mask(part_of(PHOTO), view, padded=not replay)
    prompts = prompts_from_published(as_published(model, SENTENCE, torch.stack([mask & False, mask])))
    out = model.network.predictor(view.pyramid.levels, view.pyramid.mask_features, prompts).final
    dots = [out["pred_interleave_objects"][0] @ out["pred_entity_class"][0, 0],
            out["pred_imaskembs"][0] @ out["pred_entity_pixel"][0, 1]]  # fmt: skip
    for one, scores in zip(found, dots, strict=True):
        best = int(scores.argmax())
        assert one.score == pytest.approx(float(scores[best]), rel=1e-4)
        back = (stretched if replay else to_photo)(out["pred_imasks"][0, best : best + 1], view)
        assert np.array_equal(one.mask, (back[0] > 0).numpy())


def test_interleaved_retrieval_follows_the_published_recipe(model, prompts_from_published):
    """docs/find-interface.md, section 6, written with the interface alone."""
    reference, mask = model.view(OTHER), part_of(OTHER)
    query = model.encode_interleaved(SENTENCE, [None, Example(reference, mask)])
    predictor, extra = model.network.predictor, as_published(model, SENTENCE, torch.zeros(2, 64, 64, dtype=torch.bool))
    inside, point = extra["interleave_entity_mask"][:, 0], prompt_mask(mask, reference)
    alone = {**extra, "interleave_isvisual": torch.ones(1, 1), "interleave_query_indices": torch.zeros(1, 1),
             "interleave_tokens": extra["interleave_tokens"][inside[1]],
             "interleave_nonzero_mask": extra["interleave_nonzero_mask"][:, inside[1]],
             "interleave_entity_mask": inside[1:, None][:, :, inside[1]],
             "interleave_entity_indices": extra["interleave_entity_indices"][inside[1]] * 0,
             "interleave_query_pos_mask": [point[None]],
             "interleave_query_neg_mask": [point[None] & False]}  # fmt: skip
    made = predictor(reference.pyramid.levels, reference.pyramid.mask_features, prompts_from_published(alone))
    best = (made.final["pred_imaskembs"][0] @ made.final["pred_entity_pixel"][0, 0]).argmax()
    assert np.allclose(query.entities[1], made.final["pred_interleave_objects"][0, best].numpy(), atol=1e-5)
    blank = model.network.pyramid(torch.zeros(1, 3, 64, 64))
    text = {"grounding_tokens": extra["interleave_tokens"][inside[0]],
            "grounding_nonzero_mask": extra["interleave_nonzero_mask"][:, inside[0]],
            "grounding_token_indices": extra["interleave_entity_indices"][inside[0]] * 0,
            "grounding_query_indices": torch.zeros(1, 1)}  # fmt: skip
    out = predictor(blank.levels, blank.mask_features, prompts_from_published(text)).final
    assert np.allclose(query.entities[0], out["pred_grounding_query"][0, 0].numpy(), atol=1e-5)
    target, legend = model.view(PHOTO), prompts_from_published(extra)
    assert made.interleave_tokens is not None and legend.interleave is not None
    tokens = made.interleave_tokens
    tokens.index = torch.ones_like(tokens.index)
    legend.interleave.masks = tokens
    out = predictor(target.pyramid.levels, target.pyramid.mask_features, legend).final
    assert np.allclose(query.legend, out["pred_interleave_image"][0, 0].numpy(), atol=1e-5)
    assert np.allclose(model.encode_image(target)[0], out["pred_retrievals"][0, 0].numpy(), atol=1e-5)


def test_a_caption_by_the_legend_query_ignores_its_entities(model):
    text = "a dog near the beach"
    whole = model.encode_interleaved(Sentence(text), []).legend
    with_entity = model.encode_interleaved(Sentence(text, ((0, 5),), (False,)), [None])
    assert np.allclose(whole, with_entity.legend, atol=1e-5)
    assert not np.allclose(whole, model.encode_captions([text])[0], atol=1e-2)  # another query reads those


def test_each_user_mask_gets_the_proposal_of_the_largest_pixel_dot_and_a_second_round_works(model, view):
    prompts = [part_of(PHOTO), part_of(PHOTO, slice(30, 40), slice(50, 60))]
    first = model.interact(view, prompts)
    assert first.masks.shape == (2, 48, 70) and first.logits.shape == (1, 2, 16, 24)
    background = [np.zeros((48, 70), bool), part_of(PHOTO, slice(0, 5), slice(0, 5))]
    second = model.interact(view, prompts, background, first.logits)
    assert second.logits.shape == first.logits.shape and not torch.equal(second.logits, first.logits)


def test_a_prompt_of_too_many_points_always_gives_the_same_answer(model, view):
    whole = np.ones((48, 70), bool)  # some six thousand points, of which 512 are drawn
    first, second = (model.interact(view, [whole]).logits for _ in range(2))
    assert torch.equal(first, second)


def test_classes_may_be_names_sentences_or_exemplar_regions(model, view):
    names = model.class_table(["dog"])
    sentences = model.class_table(["Describe the concept of dog."], descriptions=True)
    assert torch.allclose(names, sentences, atol=1e-6)
    one, other = (Example(view, mask) for mask in (part_of(PHOTO), part_of(PHOTO, slice(30, 40))))
    shown = model.example_table([[one], iter([other])])
    assert shown.shape == (3, 32) and torch.allclose(shown[-1], names[-1])
    assert semantic(*model.logits(view, shown)).shape == (2, 48, 70)
    both = model.example_table([[one, other]])  # the mean of the vectors, each as long as it is
    assert torch.allclose(both[0], shown[:2].mean(0), atol=1e-6) and not torch.allclose(shown[0], shown[1], atol=1e-3)


def test_a_shown_class_is_the_segment_that_a_click_there_selects(model, view):
    from interleave_index.interface.find import tasks

    example = Example(view, part_of(PHOTO))
    reference = model.reference(example)
    prompt = SpatialPrompt(MaskPrompt([reference.mask[None]]), torch.zeros((1, 1), dtype=torch.long))
    output = tasks.ask(model, view.pyramid, Prompts(spatial=prompt))
    best = int((output["pred_smaskembs"][0] @ output["pred_pspatials"][0, 0]).argmax())
    assert torch.allclose(model.example_table([[example]])[0], output["pred_spatials"][0, best], atol=1e-6)
    assert (model.interact(view, [example.mask]).logits[0, 0] == output["pred_smasks"][0, best]).all()


def test_examples_must_be_given_for_visual_entities_and_no_others(model, view):
    for examples in ([None, None], [Example(view, part_of(PHOTO)), None], []):
        with pytest.raises(InputError, match="expected one for each visual entity"):
            model.ground_interleaved(view, SENTENCE, examples)


def test_an_entity_that_was_cut_off_still_has_a_vector(model):
    text = "dog " * 80 + "cat"
    query = model.encode_interleaved(Sentence(text, ((len(text) - 3, len(text)),), (False,)), [None])
    assert np.isfinite(query.entities).all() and query.entities.shape == (1, 32)


def test_the_protocol_may_be_switched_on_a_model_that_is_in_use(build):
    model = build()
    assert not model.published_protocol and not model.prompter.published
    model.published_protocol = True
    assert model.prompter.published and model.published_protocol
