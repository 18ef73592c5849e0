"""Tiny dual encoders with random weights, saved to a folder as a hub would hold them: true structure, true files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WORDS = ("a red dog", "a blue cat", "a photo of a beach", "two people on a bench", "a green tree", "an old house")
SIDE, PATCH = 48, 8


def vision(**more):
    return {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": SIDE,
        "patch_size": PATCH,
        **more,
    }


def text(size, **more):
    return {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": size,
        "max_position_embeddings": 24,
        **more,
    }


def save(folder: Path, family: str, seed: int = 0) -> Path:
    """Write one model of a family: clip, metaclip_2, siglip, siglip2-fixed or siglip2."""
    import torch
    import transformers as t

    torch.manual_seed(seed)
    model: Any
    folder.mkdir(parents=True, exist_ok=True)
    if family == "clip":
        size = _clip_tokenizer(folder)
        model = t.CLIPModel(
            t.CLIPConfig(
                text_config=text(size, eos_token_id=1, bos_token_id=0, pad_token_id=1),
                vision_config=vision(),
                projection_dim=24,
            )
        )
        t.CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=SIDE).save_pretrained(folder)
    elif family == "metaclip_2":
        size = _tokenizer_file(folder, "XLMRobertaTokenizer", unigram=True)
        model = t.MetaClip2Model(
            t.MetaClip2Config(
                text_config=text(size, eos_token_id=2, bos_token_id=0, pad_token_id=1),
                vision_config=vision(),
                projection_dim=24,
            )
        )
        t.CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=SIDE).save_pretrained(folder)
    elif family == "siglip":
        size = _sentencepiece(folder)
        model = t.SiglipModel(t.SiglipConfig(text_config=text(size, projection_size=32), vision_config=vision()))
        t.SiglipImageProcessorPil(
            size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=2
        ).save_pretrained(folder)
    elif family == "siglip2-fixed":  # SigLIP 2 at a fixed size: SigLIP's classes with a vocabulary of its own
        size = _tokenizer_file(folder, "Siglip2Tokenizer")
        model = t.SiglipModel(t.SiglipConfig(text_config=text(size, projection_size=32), vision_config=vision()))
        t.SiglipImageProcessorPil(
            size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=2
        ).save_pretrained(folder)
    else:
        size = _tokenizer_file(folder, "Siglip2Tokenizer")
        shape = vision(num_patches=36)
        shape.pop("image_size")
        model = t.Siglip2Model(t.Siglip2Config(text_config=text(size, projection_size=32), vision_config=shape))
        t.Siglip2ImageProcessorPil(patch_size=PATCH, max_num_patches=36).save_pretrained(folder)
    # Fresh weights are too small to tell pictures apart; real ones are not.
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(4)
    model.save_pretrained(folder)
    return folder


def _clip_tokenizer(folder: Path) -> int:
    """A byte-level vocabulary with merges, as CLIP's."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(
        WORDS,
        trainers.BpeTrainer(
            vocab_size=120, special_tokens=["<|startoftext|>", "<|endoftext|>"], end_of_word_suffix="</w>"
        ),
    )
    parts = json.loads(made.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(parts["vocab"]))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in parts["merges"]) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "CLIPTokenizer",
                "bos_token": "<|startoftext|>",
                "eos_token": "<|endoftext|>",
                "unk_token": "<|endoftext|>",
                "pad_token": "<|endoftext|>",
                "model_max_length": 24,
            }
        )
    )
    return made.get_vocab_size()


def _tokenizer_file(folder: Path, kind: str, unigram: bool = False) -> int:
    """tokenizer.json alone, as the larger vocabularies come."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    made = Tokenizer(models.Unigram() if unigram else models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = (
        trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token="<unk>")
        if unigram
        else trainers.BpeTrainer(vocab_size=120, special_tokens=special)
    )
    made.train_from_iterator(WORDS * 3, trainer)
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": kind,
                "bos_token": "<s>",
                "eos_token": "</s>",
                "unk_token": "<unk>",
                "pad_token": "<pad>",
                "mask_token": "<mask>",
                "model_max_length": 24,
                "padding_side": "right",
            }
        )
    )
    return made.get_vocab_size()


def _sentencepiece(folder: Path) -> int:
    """A SentencePiece model, as SigLIP's."""
    import sentencepiece

    (folder / "words.txt").write_text("\n".join(WORDS * 3))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "words.txt"),
        model_prefix=str(folder / "spiece"),
        vocab_size=60,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "words.txt").unlink()
    (folder / "spiece.vocab").unlink()
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "SiglipTokenizer",
                "eos_token": "</s>",
                "unk_token": "<unk>",
                "pad_token": "</s>",
                "model_max_length": 24,
                "do_lower_case": True,
            }
        )
    )
    return 120
