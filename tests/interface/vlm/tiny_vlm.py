"""Tiny interleaved encoders with random weights, saved to a folder as a hub would hold them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

WORDS = ("a red dog", "a blue cat like", "task: search result | query: two people", "Represent the user's input.")
QWEN_MARKS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
GEMMA_MARKS = ("<pad>", "<eos>", "<bos>", "<unk>", "<|image>", "<|image|>", "<image|>", "<|video|>", "<|audio|>")


def save(folder: Path, family: str, seed: int = 0) -> Path:
    """Write one model of a family: qwen3_vl or embedding_gemma2."""
    return _saved(folder, seed, lambda: _qwen(folder) if family == "qwen3_vl" else _gemma(folder))


def _saved(folder: Path, seed: int, make: Callable[[], Any]) -> Path:
    import torch

    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    model = make()
    with torch.no_grad():  # fresh weights are too small to tell pictures apart; real ones are not
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(4)
    model.save_pretrained(folder)
    return folder


def save_reranker(folder: Path, seed: int = 0) -> Path:
    """Write one Qwen3-VL that can answer yes or no, and reads long enough a prompt."""
    return _saved(folder, seed, lambda: _qwen(folder, answers=("yes", "no"), positions=800))


def _qwen(folder: Path, answers: tuple[str, ...] = (), positions: int = 160) -> Any:
    import transformers as t

    named = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    ids = _tokenizer(folder, QWEN_MARKS, named, answers=answers)
    t.Qwen2VLImageProcessorPil(
        patch_size=4,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 8 * 8 * 4, "longest_edge": 8 * 8 * 40},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    ).save_pretrained(folder)
    config = t.Qwen3VLConfig(
        text_config={
            "vocab_size": max(ids.values()) + 1,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": positions,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 1, 1],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 4,
            "patch_size": 4,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    return t.Qwen3VLForConditionalGeneration(config)  # the checkpoints of the hub are saved as this class


def _gemma(folder: Path) -> Any:
    import transformers as t

    marks = {"eos_token": "<eos>", "bos_token": "<bos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    ids = _tokenizer(folder, GEMMA_MARKS, marks, ends=("<bos>", "<eos>"))
    t.Gemma4ImageProcessorPil(patch_size=4, max_soft_tokens=70, pooling_kernel_size=2).save_pretrained(folder)
    config = t.EmbeddingGemma2Config(
        text_config={
            "vocab_size": max(ids.values()) + 1,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "global_head_dim": 16,
            "sliding_window_pattern": 3,
            "sliding_window": 16,
            "hidden_size_per_layer_input": 8,
            "embedding_dim": 24,
            "max_position_embeddings": 160,
            "pad_token_id": ids["<pad>"],
            "bos_token_id": ids["<bos>"],
            "eos_token_id": ids["<eos>"],
        },
        vision_config={
            "model_type": "gemma4_vision",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": 8,
            "patch_size": 4,
            "pooling_kernel_size": 2,
            "position_embedding_size": 300,
        },
        audio_config=None,
        boi_token_id=ids["<|image>"],
        eoi_token_id=ids["<image|>"],
        image_token_id=ids["<|image|>"],
        video_token_id=ids["<|video|>"],
        audio_token_id=ids["<|audio|>"],
    )
    return t.EmbeddingGemma2Model(config)


def _tokenizer(
    folder: Path,
    marks: tuple[str, ...],
    named: dict[str, str],
    ends: tuple[str, ...] = (),
    answers: tuple[str, ...] = (),
) -> Any:
    """A byte-level vocabulary; gives the ids of its marks. `ends` are put around every input, as Gemma's does.

    `answers` are words that are one token each.
    """
    import transformers as t
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        WORDS,
        trainers.BpeTrainer(vocab_size=330, special_tokens=list(marks), initial_alphabet=alphabet, show_progress=False),
    )
    if ends:
        first, last = ends
        made.post_processor = processors.TemplateProcessing(
            single=f"{first} $A {last}", special_tokens=[(end, made.token_to_id(end)) for end in ends]
        )
    made.add_tokens(list(answers))
    t.PreTrainedTokenizerFast(tokenizer_object=made, **named).save_pretrained(folder)
    return made.get_vocab()
