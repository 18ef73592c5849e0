"""READ at its true structure with tiny random weights, under the names of the release and loaded through the real path.

The language model is made to say [SEG] by pointing its output layer at the state that it is in.
"""

import json

import numpy as np
import pytest
import torch

from interleave_index.config import Config
from interleave_index.errors import InputError, ModelError, WeightsMissing
from interleave_index.grounding.compatible import read_points, read_similarity
from interleave_index.interface.read.keys import place_of
from interleave_index.interface.read.model import Read
from interleave_index.interface.registry import load
from interleave_index.models.segmenters.framing import IMAGENET, Frame
from interleave_index.service import ground_picture

pytest.importorskip("transformers")

WIDE, WORDS, SIDE, PATCH = 16, 40, 24, 2  # of the language model; of CLIP: a grid of 12 x 12
SAM_SIDE, SAM_WIDE = 64, 32
PHOTO = np.random.default_rng(3).integers(0, 255, (60, 90, 3), dtype=np.uint8)


def released_shapes():
    """Every weight of the release, by its own name: LLaVA without its vision tower, SAM, the head between them."""
    found = {
        "model.embed_tokens.weight": (WORDS, WIDE),
        "model.norm.weight": (WIDE,),
        "lm_head.weight": (WORDS, WIDE),
        "model.mm_projector.0.weight": (WIDE, 16),
        "model.mm_projector.0.bias": (WIDE,),
        "model.mm_projector.2.weight": (WIDE, WIDE),
        "model.mm_projector.2.bias": (WIDE,),
        "model.text_hidden_fcs.0.0.weight": (WIDE, WIDE),
        "model.text_hidden_fcs.0.0.bias": (WIDE,),
        "model.text_hidden_fcs.0.2.weight": (SAM_WIDE, WIDE),
        "model.text_hidden_fcs.0.2.bias": (SAM_WIDE,),
    }
    for n in range(2):
        layer = f"model.layers.{n}"
        found |= {f"{layer}.self_attn.{name}_proj.weight": (WIDE, WIDE) for name in "qkvo"}
        found |= {
            f"{layer}.mlp.gate_proj.weight": (24, WIDE),
            f"{layer}.mlp.up_proj.weight": (24, WIDE),
            f"{layer}.mlp.down_proj.weight": (WIDE, 24),
            f"{layer}.input_layernorm.weight": (WIDE,),
            f"{layer}.post_attention_layernorm.weight": (WIDE,),
        }
    return found | {f"model.visual_model.{name}": shape for name, shape in sam_shapes().items()}


def pair(name, out, into):
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def norm(name, wide):
    return {f"{name}.weight": (wide,), f"{name}.bias": (wide,)}


def sam_shapes():
    deep, grid, wide = 16, SAM_SIDE // 8, SAM_WIDE
    found = {
        "pixel_mean": (3, 1, 1),
        "pixel_std": (3, 1, 1),
        "image_encoder.pos_embed": (1, grid, grid, deep),
        "image_encoder.patch_embed.proj.weight": (deep, 3, 8, 8),
        "image_encoder.patch_embed.proj.bias": (deep,),
        "image_encoder.neck.0.weight": (wide, deep, 1, 1),
        "image_encoder.neck.2.weight": (wide, wide, 3, 3),
    }
    found |= norm("image_encoder.neck.1", wide) | norm("image_encoder.neck.3", wide)
    for n, span in enumerate((4, grid)):  # a window, then the whole
        block = f"image_encoder.blocks.{n}"
        found |= norm(f"{block}.norm1", deep) | norm(f"{block}.norm2", deep)
        found |= pair(f"{block}.attn.qkv", 3 * deep, deep) | pair(f"{block}.attn.proj", deep, deep)
        found |= {f"{block}.attn.rel_pos_{axis}": (2 * span - 1, 8) for axis in "hw"}
        found |= pair(f"{block}.mlp.lin1", 32, deep) | pair(f"{block}.mlp.lin2", deep, 32)
    prompts = "prompt_encoder"
    found |= {
        f"{prompts}.pe_layer.positional_encoding_gaussian_matrix": (2, wide // 2),
        f"{prompts}.not_a_point_embed.weight": (1, wide),
        f"{prompts}.no_mask_embed.weight": (1, wide),
        f"{prompts}.mask_downscaling.0.weight": (1, 1, 2, 2),
        f"{prompts}.mask_downscaling.0.bias": (1,),
        f"{prompts}.mask_downscaling.3.weight": (4, 1, 2, 2),
        f"{prompts}.mask_downscaling.3.bias": (4,),
        f"{prompts}.mask_downscaling.6.weight": (wide, 4, 1, 1),
        f"{prompts}.mask_downscaling.6.bias": (wide,),
    }
    found |= {f"{prompts}.point_embeddings.{n}.weight": (1, wide) for n in range(4)}
    found |= norm(f"{prompts}.mask_downscaling.1", 1) | norm(f"{prompts}.mask_downscaling.4", 4)
    decoder = "mask_decoder"
    found |= {
        f"{decoder}.iou_token.weight": (1, wide),
        f"{decoder}.mask_tokens.weight": (4, wide),
        f"{decoder}.output_upscaling.0.weight": (wide, wide // 4, 2, 2),
        f"{decoder}.output_upscaling.0.bias": (wide // 4,),
        f"{decoder}.output_upscaling.3.weight": (wide // 4, wide // 8, 2, 2),
        f"{decoder}.output_upscaling.3.bias": (wide // 8,),
    }
    found |= norm(f"{decoder}.output_upscaling.1", wide // 4) | norm(f"{decoder}.transformer.norm_final_attn", wide)
    for n in range(2):
        layer = f"{decoder}.transformer.layers.{n}"
        for k in range(1, 5):
            found |= norm(f"{layer}.norm{k}", wide)
        found |= pair(f"{layer}.mlp.lin1", 48, wide) | pair(f"{layer}.mlp.lin2", wide, 48)
        found |= attention(f"{layer}.self_attn", wide, wide)
        found |= attention(f"{layer}.cross_attn_token_to_image", wide, wide // 2)
        found |= attention(f"{layer}.cross_attn_image_to_token", wide, wide // 2)
    found |= attention(f"{decoder}.transformer.final_attn_token_to_image", wide, wide // 2)
    for k in range(4):
        name = f"{decoder}.output_hypernetworks_mlps.{k}.layers"
        found |= pair(f"{name}.0", wide, wide) | pair(f"{name}.1", wide, wide) | pair(f"{name}.2", wide // 8, wide)
    head = f"{decoder}.iou_prediction_head.layers"
    return found | pair(f"{head}.0", 28, wide) | pair(f"{head}.1", 28, 28) | pair(f"{head}.2", 4, 28)


def attention(name, wide, inner):
    found = pair(f"{name}.out_proj", wide, inner)
    for one in "qkv":
        found |= pair(f"{name}.{one}_proj", inner, wide)
    return found


def make(folder, *, seg=None, shards=False):
    """A released folder; `seg` is a state that the output layer answers with [SEG] and then with the end."""
    import transformers as t
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    weights = {
        name: torch.randn(shape) * (0.4 if len(shape) > 1 else 0.1)
        + (1.0 if "norm" in name and "weight" in name else 0.0)
        for name, shape in released_shapes().items()
    }
    spoken = "what is cat dog in this image please output segmentation mask user assistant"
    words = ["<unk>", "<s>", "</s>", *spoken.split()]
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = t.PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.add_tokens(["[SEG]"])
    tokenizer.add_tokens(["<im_start>", "<im_end>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    head = weights["lm_head.weight"]
    head[tokenizer.convert_tokens_to_ids("[SEG]")] = head[3]  # of two that are alike the first is said
    for token, state in (seg or {}).items():
        head[token] = state * 50
    tower = t.CLIPVisionModel(
        t.CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=3,
            num_attention_heads=2,
            image_size=SIDE,
            patch_size=PATCH,
        )
    )
    tower.save_pretrained(folder / "vision_tower")
    (folder / "config.json").write_text(
        json.dumps(
            {
                "model_type": "llava",
                "architectures": ["READForCausalLM"],
                "hidden_size": WIDE,
                "intermediate_size": 24,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "rms_norm_eps": 1e-5,
                "vocab_size": WORDS,
                "mm_vision_select_layer": -2,
                "vision_tower": "openai/clip-vit-large-patch14-336",
            }
        )
    )
    if shards:
        names = sorted(weights)
        for n, some in enumerate((names[::2], names[1::2])):
            torch.save({name: weights[name] for name in some}, folder / f"pytorch_model-0000{n + 1}-of-00002.bin")
    else:
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    return make(tmp_path_factory.mktemp("read") / "silent")


@pytest.fixture(scope="module")
def speaking(silent, tmp_path_factory):
    """READ that answers "what is cat" with [SEG] and the end of the text."""
    model = Read(silent, dtype=torch.float32)
    seg, end = model._parts.tokenizer.convert_tokens_to_ids("[SEG]"), model._parts.tokenizer.eos_token_id
    first = full_states(model, "cat")[0, -1]
    folder = make(tmp_path_factory.mktemp("read") / "half", seg={seg: first})
    second = full_states(Read(folder, dtype=torch.float32), "cat", (seg,))[0, -1]
    across = second - first * (second @ first) / (first @ first)  # what the second state has and the first has not
    return make(tmp_path_factory.mktemp("read") / "speaking", seg={seg: first, end: first * 0.2 + across * 20})


def full_states(model, question, said=()):
    """Last states of the whole sequence in one pass, without a cache: the image tokens put where <image> stands."""
    with torch.inference_mode():
        before, after = model._prompt(question)
        embed = model._parts.llava.get_input_embeddings()
        given = torch.cat([embed(before), model._image_tokens(PHOTO), embed(after)], dim=1)
        if said:
            given = torch.cat([given, embed(torch.tensor([list(said)]))], dim=1)
        return model._parts.llava.model.language_model(inputs_embeds=given, use_cache=False).last_hidden_state


# --- weights ---------------------------------------------------------------------------------


def test_every_released_weight_has_one_place_and_every_place_one_weight(silent):
    parts = Read(silent, dtype=torch.float32)._parts
    places = [place for name in released_shapes() if (place := place_of(name))]
    assert len(places) == len(set(places)) == len(released_shapes()) - 2  # the two constants of SAM
    wanted = {("llava", name) for name, _ in parts.llava.named_parameters() if ".vision_tower." not in name}
    wanted |= {("sam", name) for name, _ in parts.sam.named_parameters()}
    wanted |= {("head", name) for name, _ in parts.head.named_parameters()}
    assert set(places) == wanted


def test_sizes_are_read_from_the_weights(silent):
    config = Read(silent, dtype=torch.float32)._parts.sam.config
    assert config.vision_config.global_attn_indexes == [1] and config.vision_config.window_size == 4
    assert config.vision_config.num_attention_heads == 2 and config.vision_config.image_size == SAM_SIDE
    assert config.mask_decoder_config.iou_head_hidden_dim == 28 and config.mask_decoder_config.mlp_dim == 48


def test_pytorch_shards_give_the_same_model_as_safetensors(silent, tmp_path):
    other = Read(make(tmp_path / "shards", shards=True), dtype=torch.float32)
    assert torch.equal(full_states(other, "dog"), full_states(Read(silent, dtype=torch.float32), "dog"))


def test_a_missing_weight_is_named(silent, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = make(tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    del weights["model.text_hidden_fcs.0.2.bias"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsMissing, match=r"lacks 1 weights of READ, the first is 2\.bias of head"):
        Read(folder)


# --- what it does ----------------------------------------------------------------------------


def test_the_image_stands_between_its_marks_and_the_image_tokens_are_llavas_own(silent):
    model = Read(silent, dtype=torch.float32)
    before, after = model._prompt("What cuts bread?")
    tokenizer = model._parts.tokenizer
    assert tokenizer.convert_ids_to_tokens(before[0].tolist())[:: len(before[0]) - 1] == ["<s>", "<im_start>"]
    assert tokenizer.convert_ids_to_tokens(after[0].tolist())[0] == "<im_end>"
    ids = torch.cat([before, torch.zeros(1, 144, dtype=torch.long), after], 1)  # token 0 stands for the image
    ids[:, : before.shape[1]][ids[:, : before.shape[1]] == 0] = 3
    text = after.clone()
    text[text == 0] = 3
    ids[:, -text.shape[1] :] = text
    given = model._parts.view.tensors([model._parts.view.prepare(PHOTO)], torch.device("cpu"))
    with torch.inference_mode():
        theirs = model._parts.llava.model(input_ids=ids, pixel_values=given["pixel_values"]).last_hidden_state
        embed = model._parts.llava.get_input_embeddings()
        ours = torch.cat([embed(ids[:, : before.shape[1]]), model._image_tokens(PHOTO), embed(text)], dim=1)
        states = model._parts.llava.model.language_model(inputs_embeds=ours).last_hidden_state
    assert torch.allclose(theirs, states, atol=1e-5)


def test_the_state_before_seg_draws_the_map_and_prompts_the_decoder(speaking):
    model = Read(speaking, dtype=torch.float32)
    answer = model.ask(PHOTO, "cat")
    (segment,) = answer.segments
    states = full_states(model, "cat")
    start = model._prompt("cat")[0].shape[1]
    query, tokens = states[0, -1].numpy(), states[0, start : start + 144].numpy()
    assert np.allclose(segment.similarity.ravel(), tokens @ query, atol=1e-4)
    expected = read_points(read_similarity(tokens, query), (60, 90))
    assert np.array_equal(segment.points.whole, expected.whole) and len(segment.points.labels) == 30
    assert segment.mask.shape == (60, 90) and answer.text == ""


def test_the_decoder_is_given_points_then_padding_then_the_projected_state(speaking):
    model = Read(speaking, dtype=torch.float32)
    (segment,) = model.ask(PHOTO, "cat").segments
    sam, frame = model._parts.sam, Frame((60, 90), SAM_SIDE, True)
    with torch.inference_mode():
        token = model._parts.head(full_states(model, "cat")[0, -1])
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
    answer = Read(silent, dtype=torch.float32).ask(PHOTO, "cat")
    assert answer.segments == ()


def test_answers_are_those_of_a_run_without_a_cache(silent):
    model = Read(silent, dtype=torch.float32)
    before, after = model._prompt("dog")
    embed = model._parts.llava.get_input_embeddings()
    with torch.inference_mode():
        first = torch.cat([embed(before), model._image_tokens(PHOTO), embed(after)], dim=1)
        states, ids = model._continue(first)
    known: list[int] = []
    for token in ids[:6]:
        assert int(model._parts.llava.lm_head(full_states(model, "dog", tuple(known))[0, -1]).argmax()) == token
        known.append(token)
    assert states.shape[1] == first.shape[1] + len(ids) - 1


# --- where an interface is expected ----------------------------------------------------------


def test_ground_asks_read_and_names_the_method(speaking, tmp_path):
    from PIL import Image

    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    config = Config().with_flags(models_interface=f"read:{speaking}")
    hit = ground_picture(tmp_path / "photo.png", "[cat]", config=config)
    (entity,) = hit.entities
    assert entity.grounding.rung in ("read", "absent") and entity.grounding.source == "exact"
    assert entity.grounding.present == bool(entity.regions) and hit.score == float(entity.grounding.present)
    if entity.regions:
        assert entity.regions[0].rle.decode().shape == (60, 90)


def test_read_makes_no_vectors_and_takes_no_pictures(silent):
    interface = load(f"read:{silent}", device="cpu")
    with pytest.raises(ModelError, match=r"makes no vectors of photos.*one photo at a time"):
        interface.encode_photos([PHOTO])
    with pytest.raises(InputError, match="reads words only"):
        ground_picture(PHOTO, _picture_query(), config=Config(), interface=interface)


def _picture_query():
    from interleave_index import Picture, Query

    return Query(Picture(PHOTO))


def test_without_read_the_message_says_what_to_get(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERLEAVE_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    with pytest.raises(WeightsMissing, match=r"READ is not on this machine.*models pull rui-qian/READ"):
        load("read", device="cpu")
