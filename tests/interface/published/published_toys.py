"""Checkpoints of the published form with random weights and small widths, and language models to go with them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from interleave_index.interface.find.config import FindConfig
from interleave_index.interface.published.network import PublishedNetwork, PublishedSizes
from interleave_index.models.text.language import UniclNetwork
from interleave_index.models.vision.focal import FocalKind, FocalSizes

SENTENCES = [
    "Describe the concept of a red disc.",
    "a dog on a beach near a blue square [INTERACTIVE]",
    "the yellow cat",
]
LANGUAGE = "sem_seg_head.predictor.lang_encoder.lang_encoder."
LLAMA_LAYERS = 24


def small_sizes(kind: FocalKind = "focal", *, text_width: int = 48) -> PublishedSizes:
    """The depths, and so the keys, of a released model; nothing is wide."""
    levels, middle = (4, 18) if kind == "focal" else (3, 6)
    return PublishedSizes(
        FocalSizes(kind, 8, (2, 2, middle, 2), levels),
        {"heads": 8, "ffn": 48, "layers": 6},
        FindConfig(width=32, features=32, heads=8, ffn=48, object_queries=100, text_width=text_width, most_points=512),
    )


def tiny_sizes() -> PublishedSizes:
    """As small as the form allows, for tests that ask much of one model; photos become 64 to 96 pixels."""
    return PublishedSizes(
        FocalSizes("focal_dw", 8, (1, 1, 1, 1), 2),
        {"heads": 8, "ffn": 32, "layers": 1},
        FindConfig(width=32, features=32, heads=8, ffn=32, layers=3, object_queries=12, text_width=48, memories=4),
        short=64,
        long=96,
    )


def random_state(sizes: PublishedSizes, seed: int = 0) -> dict[str, Tensor]:
    """A state dict in which no tensor is constant, with what training leaves in a released file."""
    torch.manual_seed(seed)
    network = PublishedNetwork(sizes)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        network.predictor.decoder_norm.weight.mul_(3)  # masks and classes that differ from proposal to proposal
        network.predictor.query_feat.weight.mul_(10)
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return state | {"criterion.empty_weight": torch.ones(134), "dilation_kernel": torch.ones(1, 1, 3, 3)}


def imported_model(home: Path) -> Path:
    """Folder of a tiny model with its language model, imported and prepared."""
    from interleave_index.interface.generic import drawn_pictures
    from interleave_index.interface.importing import import_released
    from interleave_index.interface.published.importing import prepare

    home.mkdir(parents=True, exist_ok=True)
    torch.save(random_state(tiny_sizes()), home / "released.pt")
    llama_state(home / "llama")
    found = import_released(home / "released.pt", "tiny", language=str(home / "llama"), sides=(64, 96), home=home)
    prepare(found.folder, ["a dog", "a red disc"], drawn_pictures(2))
    return found.folder


def llama_tokenizer() -> Tokenizer:
    """A tokenizer that handles blanks as LLaMA's does: they belong to the word behind them."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    letters = [chr(n) for n in range(33, 127)]
    trainer = trainers.BpeTrainer(
        vocab_size=220, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=["▁", *letters], show_progress=False
    )
    tokenizer.train_from_iterator([word for s in SENTENCES * 3 for word in s.split()], trainer)  # no token of two words
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Strip(" ", 1, 0)])
    return tokenizer


def llama_state(
    folder: Path, *, width: int = 48, head_width: int = 12, seed: int = 3, weights: bool = True
) -> dict[str, Tensor]:
    """Write a small LLaMA as Hugging Face keeps one; gives the state dict of the causal model."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=LLAMA_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=head_width,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    llama_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(config.to_dict(), default=str), encoding="utf-8")
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    if weights:
        save_file(state, folder / "model.safetensors")
    return state


def clip_tokenizer() -> Tokenizer:
    """A lower-casing tokenizer with CLIP's beginning and end."""
    tokenizer = Tokenizer(models.BPE(unk_token="<end>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=120, special_tokens=["<start>", "<end>"], end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator([s.lower() for s in SENTENCES * 3], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        "<start> $A <end>", special_tokens=[("<start>", 0), ("<end>", 1)]
    )
    return tokenizer


def unicl_network(seed: int = 5) -> UniclNetwork:
    """A small UniCL tower."""
    torch.manual_seed(seed)
    network = UniclNetwork(width=64, heads=1, layers=3, vocabulary=120)
    with torch.no_grad():
        for parameter in network.parameters():
            if not isinstance(parameter, nn.UninitializedParameter):
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()
