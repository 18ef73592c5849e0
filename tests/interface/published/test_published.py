"""Released checkpoints: keys, import, the language side, and a model of an index made of one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from interleave_index.errors import ConfigError, InputError, ModelError, WeightsMissing
from interleave_index.interface.find.prompter import Sentence, compose
from interleave_index.interface.importing import import_released
from interleave_index.interface.published.folder import load_published, load_tower, read_config
from interleave_index.interface.published.importing import KeysDoNotFit, prepare
from interleave_index.interface.published.keys import network_shapes, sizes_of, sort_keys
from interleave_index.interface.published.network import PRESETS, PublishedNetwork, PublishedSizes
from interleave_index.interface.published.prepared import read_prepared
from interleave_index.interface.published.text import PublishedPrompter, TextCache, class_sentence
from interleave_index.interface.registry import load
from interleave_index.models.text.language import LlamaTower, TokenStates, UniclTower, tokens_of
from interleave_index.models.vision.davit import DavitSizes
from interleave_index.models.vision.sam_vit import SamSizes

ROOT = Path(__file__).parents[3]
PHOTO = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def llama(tmp_path_factory, toys):
    """Folder of a small LLaMA, and the state dict of its causal model."""
    folder = tmp_path_factory.mktemp("language") / "llama"
    return folder, toys.llama_state(folder)


@pytest.fixture(scope="module")
def state(toys):
    return toys.random_state(toys.tiny_sizes())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def imported(state, llama, home):
    """A tiny model, imported and prepared with three class names' worth of patience."""
    torch.save(state, home / "released.pt")
    found = import_released(home / "released.pt", "tiny", language=str(llama[0]), sides=(64, 96), home=home)
    config = json.loads((found.folder / "config.json").read_text())
    config["class_names"] = ["dog", "sky-other-merged"]
    (found.folder / "config.json").write_text(json.dumps(config))
    prepare(found.folder, ["a dog", "a cat"], [PHOTO, PHOTO[::-1]])
    return found


# --- keys ------------------------------------------------------------------------------------


def decoder_keys(channels):
    """Names and shapes of the pixel decoder of docs/find-interface.md, section 3."""
    at = "sem_seg_head.pixel_decoder."
    found: dict[str, tuple[int, ...]] = {}
    found |= {"input_proj.weight": (512, channels[3], 1, 1), "input_proj.bias": (512,)}
    for layer in range(6):
        stem = f"transformer.encoder.layers.{layer}."
        found |= {f"{stem}self_attn.in_proj_weight": (1536, 512), f"{stem}self_attn.in_proj_bias": (1536,)}
        found |= {f"{stem}self_attn.out_proj.weight": (512, 512), f"{stem}self_attn.out_proj.bias": (512,)}
        found |= {f"{stem}linear1.weight": (2048, 512), f"{stem}linear1.bias": (2048,)}
        found |= {f"{stem}linear2.weight": (512, 2048), f"{stem}linear2.bias": (512,)}
        found |= {f"{stem}{norm}.{part}": (512,) for norm in ("norm1", "norm2") for part in ("weight", "bias")}
    shapes = {f"adapter_{n}": (512, channels[n - 1], 1, 1) for n in (1, 2, 3)}
    shapes |= {f"layer_{n}": (512, 512, 3, 3) for n in (1, 2, 3, 4)}
    for name, shape in shapes.items():
        found |= {f"{name}.weight": shape, f"{name}.norm.weight": (512,), f"{name}.norm.bias": (512,)}
    found |= {"mask_features.weight": (512, 512, 3, 3), "mask_features.bias": (512,)}
    return {at + name: shape for name, shape in found.items()}


@pytest.mark.parametrize(("name", "of_backbone"), [("find-focal-l", 504), ("find-focal-t", 300), ("find-sam-b", 203)])
def test_at_full_size_every_key_and_shape_is_the_published_one(name, of_backbone):
    shapes = network_shapes(PRESETS[name])
    parts = {part: {key: shape for key, shape in shapes.items() if key.startswith(part)}
             for part in ("backbone.", "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor.")}  # fmt: skip
    assert [len(found) for found in parts.values()] == [of_backbone, 97, 182] and len(shapes) == of_backbone + 279
    assert parts["sem_seg_head.pixel_decoder."] == decoder_keys(PRESETS[name].backbone.channels)
    lines = (ROOT / "tests" / "data" / "find-interface-keys.txt").read_text().splitlines()
    published = {f"sem_seg_head.predictor.{key}": eval(shape) for key, shape in (line.split(" ", 1) for line in lines)}
    assert parts["sem_seg_head.predictor."] == published


@pytest.mark.parametrize("name", list(PRESETS))
def test_sizes_are_read_off_a_state_dict_of_full_size(name, toys):
    with torch.device("meta"):
        state = PublishedNetwork(PRESETS[name]).state_dict()
        if name.endswith("unicl"):
            from interleave_index.models.text.language import UniclNetwork

            state |= {toys.LANGUAGE + key: value for key, value in UniclNetwork().state_dict().items()}
    assert sizes_of(state) == PRESETS[name]
    assert sort_keys(state, PRESETS[name]).problems == ()


def test_keys_of_a_llama_inside_the_file_are_sorted_and_upper_layers_left_out(state, llama, toys):
    whole = state | {toys.LANGUAGE + key: value for key, value in llama[1].items()}
    found = sort_keys(whole, sizes_of(whole))
    assert found.problems == ()
    assert len(found.language) == 1 + 21 * 9 and len(found.network) == len(state) - 2
    assert len(found.left_out) == 2 + 2 + 3 * 9  # of training; head and last norm; layers 21 to 23
    whole[f"{toys.LANGUAGE}model.layers.3.mlp.extra.weight"] = torch.zeros(1)
    assert sort_keys(whole, sizes_of(whole)).problems == (f"{toys.LANGUAGE}model.layers.3.mlp.extra.weight is unknown",)


# --- import ----------------------------------------------------------------------------------


def test_unknown_missing_and_misshapen_keys_are_all_listed_and_nothing_is_written(state, tmp_path):
    spoilt = dict(state, stranger=torch.zeros(2))
    del spoilt["backbone.norm3.bias"]
    spoilt["sem_seg_head.predictor.decoder_norm.weight"] = torch.zeros(7)
    torch.save(spoilt, tmp_path / "spoilt.pt")
    with pytest.raises(KeysDoNotFit, match="3 keys of spoilt") as trouble:
        import_released(tmp_path / "spoilt.pt", "spoilt", home=tmp_path / "models")
    assert set(trouble.value.problems) == {
        "stranger is unknown",
        "backbone.norm3.bias is missing",
        "sem_seg_head.predictor.decoder_norm.weight has shape (7,), expected (32,)",
    }
    assert not list((tmp_path / "models").glob("*"))


class Trap:
    """Something that a state dict must not hold."""


@pytest.mark.parametrize(
    ("content", "message"),
    [({"backbone": Trap()}, "cannot be read as tensors"), ({"a": torch.zeros(1)}, "no checkpoint of FIND"),
     ([torch.zeros(1)], "holds list")],
)  # fmt: skip
def test_a_file_that_is_no_state_dict_of_find_is_refused(content, message, tmp_path):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=message):
        import_released(tmp_path / "other.pt", "other", home=tmp_path)


def test_an_import_that_was_not_finished_is_taken_up_again(state, llama, tmp_path):
    torch.save(state, tmp_path / "released.pt")
    first = import_released(tmp_path / "released.pt", "late", sides=(64, 96), home=tmp_path)
    (first.folder / "text").mkdir()
    (first.folder / "text" / "kept").touch()
    again = import_released(tmp_path / "released.pt", "late", language=str(llama[0]), sides=(64, 96), home=tmp_path)
    assert (first.language, again.language) == ("none", "referred") and (again.folder / "text" / "kept").exists()
    torch.save(dict(state, dilation_kernel=torch.zeros(1, 1, 3, 3)), tmp_path / "other.pt")
    with pytest.raises(InputError, match="there is a model late already"):  # another file does not take its place
        import_released(tmp_path / "other.pt", "late", language=str(llama[0]), home=tmp_path)


def test_a_backbone_that_is_not_supported_is_refused(state, tmp_path):
    other = {key: value for key, value in state.items() if not key.startswith("backbone.")}
    torch.save(other | {"backbone.stem.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"no checkpoint of FIND: it has \d+ tensors and not 'backbone\.norm0"):
        import_released(tmp_path / "other.pt", "other", home=tmp_path)


def test_a_name_is_never_taken_twice_and_never_a_path(imported, home):
    for name, message in (("tiny", "there is a model tiny already"), ("../tiny", "expected letters")):
        with pytest.raises(InputError, match=message):
            import_released(home / "released.pt", name, home=home)


def test_an_import_keeps_every_tensor_as_it_was(imported, state):
    from safetensors.torch import load_file

    kept = load_file(imported.folder / "model.safetensors")
    assert set(kept) == set(state) - {"criterion.empty_weight", "dilation_kernel"}
    assert all(torch.equal(value, state[name]) for name, value in kept.items())
    assert imported.language == "referred" and imported.preset is None


def test_a_file_in_which_two_tensors_share_memory_is_imported(state, tmp_path):
    one, other = "backbone.norm0.weight", "backbone.norm0.bias"
    tied = dict(state)
    tied[other] = tied[one]
    from safetensors.torch import load_file

    torch.save(tied, tmp_path / "tied.pt")
    found = import_released(tmp_path / "tied.pt", "tied", sides=(64, 96), home=tmp_path)
    kept = load_file(found.folder / "model.safetensors")
    assert torch.equal(kept[other], state[one]) and torch.equal(kept[one], state[one])


def test_without_a_language_model_the_import_works_and_asking_says_what_to_do(state, home):
    torch.save(state, home / "mute.pt")
    found = import_released(home / "mute.pt", "mute", sides=(64, 96), home=home)
    assert found.language == "none"
    model = load_published(found.folder)
    assert model.encode_image(model.view(PHOTO))[1].shape == (12, 32)
    with pytest.raises(WeightsMissing, match="without its language model; import it again with --language"):
        model.encode_captions(["a dog"])
    with pytest.raises(WeightsMissing, match="no prepared"):
        read_prepared(found.folder)


def test_a_language_model_inside_the_file_is_the_same_as_one_beside_it(state, llama, imported, home, tmp_path, toys):
    torch.save(state | {toys.LANGUAGE + key: value for key, value in llama[1].items()}, tmp_path / "whole.pt")
    only_tokenizer = tmp_path / "bare"
    toys.llama_state(only_tokenizer, weights=False)
    found = import_released(tmp_path / "whole.pt", "whole", language=str(only_tokenizer), sides=(64, 96), home=tmp_path)
    assert found.language == "inside"
    one, other = (load_published(folder).encode_captions(["a dog"]) for folder in (found.folder, imported.folder))
    assert np.allclose(one, other, atol=1e-6)


def test_embeddings_of_another_precision_than_the_layers_are_read(state, llama, toys, tmp_path):
    half = {key: value if "embed_tokens" in key else value.half() for key, value in llama[1].items()}
    torch.save(state | {toys.LANGUAGE + key: value for key, value in half.items()}, tmp_path / "half.pt",
               _use_new_zipfile_serialization=False)  # fmt: skip
    toys.llama_state(tmp_path / "bare", weights=False)
    found = import_released(
        tmp_path / "half.pt", "half", language=str(tmp_path / "bare"), sides=(64, 96), home=tmp_path
    )
    states = load_tower(found.folder).states(["a dog"], 77)[0].states
    whole = LlamaTower(llama[0]).states(["a dog"], 77)[0].states
    assert states.dtype == torch.float16
    assert float(torch.cosine_similarity(states.float(), whole, dim=-1).min()) > 0.99


def test_a_checkpoint_with_unicl_brings_its_tower_and_wants_a_tokenizer(toys, tmp_path):
    sizes = toys.tiny_sizes()
    sizes = replace(sizes, interface=replace(sizes.interface, text_width=64))
    tower = {toys.LANGUAGE + key: value for key, value in toys.unicl_network().state_dict().items()}
    torch.save(toys.random_state(sizes) | tower, tmp_path / "unicl.pt")
    with pytest.raises(WeightsMissing, match="brings its language model but no tokenizer"):
        import_released(tmp_path / "unicl.pt", "unicl", home=tmp_path)
    (tmp_path / "clip").mkdir()
    toys.clip_tokenizer().save(str(tmp_path / "clip" / "tokenizer.json"))
    found = import_released(
        tmp_path / "unicl.pt", "unicl", language=str(tmp_path / "clip"), sides=(64, 96), home=tmp_path
    )
    model = load_published(found.folder)
    model.published_protocol = True
    assert (found.language, read_config(found.folder)["sizes"]["language"]) == ("inside", "unicl")
    assert model.encode_captions(["a dog", "the yellow cat"]).shape == (2, 32)
    whole = model.prompter.sentences([compose([("a dog", 0, False)])]).text.tokens
    model.published_protocol = False
    assert whole.shape[1] == 1 + model.prompter.sentences([compose([("a dog", 0, False)])]).text.tokens.shape[1]


def test_a_checkpoint_with_a_davit_is_imported_and_sees(toys, tmp_path):
    sizes = replace(toys.tiny_sizes(), backbone=DavitSizes(widths=(32, 32, 32, 64), depths=(1, 1, 1, 1)))
    torch.save(toys.random_state(sizes), tmp_path / "davit.pt")
    found = import_released(tmp_path / "davit.pt", "davit", sides=(64, 96), home=tmp_path)
    model = load_published(found.folder)
    assert PublishedSizes.from_json(read_config(found.folder)["sizes"]).backbone == sizes.backbone
    assert np.isfinite(model.encode_image(model.view(PHOTO))[1]).all()


def test_a_checkpoint_with_a_sam_backbone_is_imported_and_sees_its_one_size_whatever_is_asked(toys, tmp_path):
    backbone = SamSizes(
        width=32, depth=2, heads=2, inner=64, patch=16, window=2, whole=(1,), image_size=96, channels=(8, 16, 16, 32)
    )
    sizes = replace(toys.tiny_sizes(), backbone=backbone, short=94, long=96)
    torch.save(toys.random_state(sizes), tmp_path / "sam.pt")
    found = import_released(tmp_path / "sam.pt", "sam", home=tmp_path)
    model = load_published(found.folder)
    kept = PublishedSizes.from_json(read_config(found.folder)["sizes"])
    assert kept == replace(sizes, decoder=kept.decoder, interface=model.interface.config)
    view = model.view(PHOTO, short=800, long=1333)
    assert (view.resized, view.padded) == ((72, 96), (96, 96))
    assert np.isfinite(model.encode_image(view)[1]).all()
    with pytest.raises(ConfigError, match="long side is 100, expected at most 96"):
        load_published(import_released(tmp_path / "sam.pt", "large", sides=(94, 100), home=tmp_path).folder)


# --- language --------------------------------------------------------------------------------


def test_llama_is_read_after_21_layers_without_a_final_norm(llama, toys):
    from transformers import LlamaForCausalLM
    from transformers.models.llama import LlamaConfig

    folder, weights = llama
    whole = LlamaForCausalLM(LlamaConfig.from_dict(json.loads((folder / "config.json").read_text()))).eval()
    whole.load_state_dict(weights)
    texts = ["a dog on a beach", "the yellow cat near a blue square", "dog"]
    for text, found in zip(texts, LlamaTower(folder).states(texts, 77), strict=True):
        ids, _ = tokens_of(toys.llama_tokenizer(), text, 77)
        with torch.no_grad():
            hidden = whole(ids[None], output_hidden_states=True).hidden_states
        assert len(hidden) == toys.LLAMA_LAYERS + 1 and found.states.shape == (len(ids), 48)
        assert torch.allclose(found.states, hidden[21][0], atol=2e-4 * float(hidden[21].abs().max()))
        assert not torch.allclose(found.states, hidden[20][0], atol=1e-2)


def test_the_layer_is_a_setting_and_the_last_one_comes_after_the_norm(llama):
    folder, _ = llama
    states = {layer: LlamaTower(folder, layer=layer).states(["a dog"], 77)[0].states for layer in (0, 6, 24)}
    assert not torch.allclose(states[6], states[0])
    assert float(states[24].pow(2).mean(-1).sqrt().sub(1).abs().max()) < 1e-3  # an RMS norm with weights of one
    with pytest.raises(WeightsMissing, match="has 24 layers, expected at least 25"):
        LlamaTower(folder, layer=25)


def test_missing_files_of_a_language_model_are_named(llama, tmp_path, toys):
    with pytest.raises(WeightsMissing, match=r"no tokenizer\.json"):
        LlamaTower(tmp_path)
    toys.llama_state(tmp_path / "bare", weights=False)
    with pytest.raises(WeightsMissing, match=r"no \*\.safetensors"):
        LlamaTower(tmp_path / "bare")
    (tmp_path / "bare" / "config.json").write_text('{"num_hidden')
    with pytest.raises(WeightsMissing, match=r"config\.json cannot be read"):
        LlamaTower(tmp_path / "bare")


def test_unicl_equals_the_clip_text_model_of_the_other_library(toys):
    from transformers import CLIPTextConfig, CLIPTextModel

    network = toys.unicl_network()
    config = CLIPTextConfig(vocab_size=120, hidden_size=64, intermediate_size=256, num_hidden_layers=3,
                            num_attention_heads=1, max_position_embeddings=77, layer_norm_eps=1e-12,
                            hidden_act="quick_gelu", bos_token_id=0, eos_token_id=1, pad_token_id=1)  # fmt: skip
    theirs = CLIPTextModel(config).eval()
    own, mapped = network.state_dict(), {}
    mapped["embeddings.token_embedding.weight"] = own["token_embedding.weight"]
    mapped["embeddings.position_embedding.weight"] = own["positional_embedding"]
    for layer in range(3):
        mine, its = f"resblocks.{layer}.", f"encoder.layers.{layer}."
        for kind in ("weight", "bias"):
            for name, rows in zip("qkv", own[f"{mine}attn.in_proj_{kind}"].chunk(3), strict=True):
                mapped[f"{its}self_attn.{name}_proj.{kind}"] = rows
            for old, new in (("attn.out_proj", "self_attn.out_proj"), ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"),
                             ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2")):  # fmt: skip
                mapped[f"{its}{new}.{kind}"] = own[f"{mine}{old}.{kind}"]
    mapped |= {f"final_layer_norm.{kind}": own[f"ln_final.{kind}"] for kind in ("weight", "bias")}
    prefix = "text_model." if any(key.startswith("text_model.") for key in theirs.state_dict()) else ""
    missing = theirs.load_state_dict({prefix + key: value for key, value in mapped.items()}, strict=False)
    assert not missing.unexpected_keys and all("position_ids" in key for key in missing.missing_keys)
    ids, _ = tokens_of(toys.clip_tokenizer(), "the yellow cat", 77)
    with torch.no_grad():
        assert torch.allclose(network(ids[None]), theirs(ids[None]).last_hidden_state, atol=1e-5)


def test_an_end_token_more_changes_no_state_before_it(toys):
    tower = UniclTower(toys.unicl_network(), toys.clip_tokenizer())
    (plain,), (longer,) = tower.states(["a dog"], 77), tower.states(["a dog"], 77, tail=1)
    assert len(longer.states) == len(plain.states) + 1 and longer.spans[-1].tolist() == [0, 0]
    assert torch.allclose(longer.states[:-1], plain.states, atol=1e-6)


def test_a_long_text_is_cut_and_keeps_its_first_token(toys):
    ids, spans = tokens_of(toys.llama_tokenizer(), "dog " * 50, 10)
    assert len(ids) == 10 and ids[0] == 1 and spans[0].tolist() == [0, 0]


class Tokens:
    """A tower whose states are zeros, with the spans of a tokenizer."""

    width = 4

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def states(self, texts, context, *, tail=0):
        spans = [tokens_of(self.tokenizer, text, context)[1] for text in texts]
        return [TokenStates(torch.zeros(len(one), 4), one) for one in spans]


@pytest.mark.parametrize("with_blank", [True, False])
def test_entities_own_the_tokens_inside_their_characters_with_or_without_the_blank_before(with_blank, toys, tmp_path):
    text, phrases = "a dog on a beach near [INTERACTIVE]", ("dog", "[INTERACTIVE]")
    starts = [text.index(phrase) for phrase in phrases]
    spans = tuple((low - with_blank, low + len(phrase)) for low, phrase in zip(starts, phrases, strict=True))
    tokenizer = toys.llama_tokenizer()
    cache = TextCache(tmp_path, "spans", lambda: Tokens(tokenizer))
    prompter = PublishedPrompter(cache, lambda states: states, context=77, class_context=77)
    (index,) = prompter.sentences([Sentence(text, spans, (False, True))]).token_index
    characters = tokens_of(tokenizer, text, 77)[1].tolist()
    for number, phrase in enumerate(phrases):
        assert "".join(text[a:b] for (a, b), own in zip(characters, index == number, strict=True) if own) == phrase
    assert index[0] == -4  # the beginning token


def test_class_names_lose_their_suffixes_and_gain_a_sentence():
    assert class_sentence("floor-other-merged") == "Describe the concept of floor."
    assert class_sentence("door-stuff") == "Describe the concept of door."


class CountingTower:
    """A tower that counts what it is asked."""

    width = 4

    def __init__(self):
        self.asked = []

    def states(self, texts, context, *, tail=0):
        self.asked.append(list(texts))
        spans = torch.zeros((2, 2), dtype=torch.long)
        return [TokenStates(torch.full((2, 4), float(len(text))), spans) for text in texts]


def test_a_text_is_asked_of_the_tower_once_and_then_read_from_disk(tmp_path):
    tower = CountingTower()
    cache = TextCache(tmp_path, "llama-abc-21", lambda: tower)
    first = cache.states(["dog", "cat!"], 77)
    assert torch.equal(cache.states(["cat!"], 77)[0].states, first[1].states)
    again = TextCache(tmp_path, "llama-abc-21", lambda: pytest.fail("the tower was built"))
    assert torch.equal(again.states(["cat!", "dog"], 77)[1].states, first[0].states)
    assert tower.asked == [["dog", "cat!"]]


@pytest.mark.parametrize("other", [("model", 77, 0), ("llama-abc-21", 150, 0), ("llama-abc-21", 77, 1)])
def test_another_model_layer_length_or_tail_is_another_entry(other, tmp_path):
    towers = [CountingTower(), CountingTower()]
    TextCache(tmp_path, "llama-abc-21", lambda: towers[0]).states(["dog"], 77)
    TextCache(tmp_path, other[0], lambda: towers[1]).states(["dog"], other[1], tail=other[2])
    assert towers[1].asked == [["dog"]]


def test_a_cache_file_cut_short_is_made_again(tmp_path):
    tower = CountingTower()
    TextCache(tmp_path, "m", lambda: tower).states(["dog"], 77)
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:20])
    assert TextCache(tmp_path, "m", lambda: tower).states(["dog"], 77)[0].states.shape == (2, 4)
    assert len(tower.asked) == 2


def test_mixed_precision_gives_nearly_the_same_vectors_and_another_space(imported):
    full, half = (load(str(imported.folder), device="cpu", dtype=dtype) for dtype in ("auto", "bfloat16"))
    assert full.space != half.space and half.space.preprocessing.endswith(", bfloat16")
    one, other = (interface.encode_photos([PHOTO])[0].image for interface in (full, half))
    assert other.dtype == np.float32 and 0.99 < float(one @ other) < 1 - 1e-7


# --- prepared --------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [None, [1], {"backbone": {"kind": "focal", "colour": 3}}])
def test_a_model_whose_sizes_are_damaged_is_one_clear_error(sizes, tmp_path):
    config = {"kind": "find-published", "format": 1} | ({} if sizes is None else {"sizes": sizes})
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsMissing, match=r"config\.json is damaged"):
        load_published(tmp_path)


def test_preparing_keeps_a_class_table_and_unit_banks(imported):
    table, calibration = read_prepared(imported.folder)
    assert table.shape == (3, 32)  # two names and the background
    for bank in (calibration.captions, calibration.phrases, calibration.pictures, calibration.regions):
        assert bank.shape == (2, 32) and np.allclose(np.linalg.norm(bank, axis=1), 1, atol=1e-4)


def test_another_llama_is_another_checkpoint(imported, state, home, tmp_path, toys):
    toys.llama_state(tmp_path / "other", seed=9)
    torch.save(state, tmp_path / "released.pt")
    other = import_released(
        tmp_path / "released.pt", "again", language=str(tmp_path / "other"), sides=(64, 96), home=tmp_path
    )
    assert read_config(other.folder)["checkpoint"] != read_config(imported.folder)["checkpoint"]


def test_the_tower_of_an_import_is_found_again(imported):
    assert load_tower(imported.folder).states(["a dog"], 77)[0].states.shape[1] == 48
