"""Tiny segmenters and detectors with random weights, saved to a folder as a hub would hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIDE = 64


def _saved(folder: Path, model: Any, *parts: Any) -> Path:
    model.save_pretrained(folder)
    for part in parts:
        part.save_pretrained(folder)
    return folder


def sam(folder: Path) -> Path:
    import torch
    import transformers as t

    torch.manual_seed(1)
    vision = t.SamVisionConfig(
        hidden_size=16,
        output_channels=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
        global_attn_indexes=[1],
        window_size=4,
        mlp_dim=32,
        num_pos_feats=16,
    )
    prompts = t.SamPromptEncoderConfig(hidden_size=32, image_size=SIDE, patch_size=8, mask_input_channels=4)
    decoder = t.SamMaskDecoderConfig(
        hidden_size=32, num_attention_heads=2, mlp_dim=32, iou_head_hidden_dim=32, num_hidden_layers=1
    )
    config = t.SamConfig(
        vision_config=vision.to_dict(), prompt_encoder_config=prompts.to_dict(), mask_decoder_config=decoder.to_dict()
    )
    return _saved(folder, t.SamModel(config))


def sam2(folder: Path) -> Path:
    import torch
    import transformers as t

    torch.manual_seed(2)
    backbone = t.Sam2HieraDetConfig(
        hidden_size=8,
        num_attention_heads=1,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 2, 1, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 2, 2, 1],
        global_attention_blocks=[2],
        window_positional_embedding_background_size=[2, 2],
    )
    vision = t.Sam2VisionConfig(
        backbone_config=backbone.to_dict(),
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=32,
    )
    prompts = t.Sam2PromptEncoderConfig(hidden_size=32, image_size=SIDE, patch_size=16, mask_input_channels=4)
    decoder = t.Sam2MaskDecoderConfig(
        hidden_size=32, num_attention_heads=2, mlp_dim=32, iou_head_hidden_dim=32, num_hidden_layers=1
    )
    config = t.Sam2Config(
        vision_config=vision.to_dict(), prompt_encoder_config=prompts.to_dict(), mask_decoder_config=decoder.to_dict()
    )
    return _saved(folder, t.Sam2Model(config))


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "cat", "dog", ".", "?", "visual"]


def bert_tokenizer(folder: Path) -> Any:
    import transformers as t

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return t.BertTokenizer(str(folder / "vocab.txt"))


def clip_tokenizer(folder: Path) -> Any:
    import transformers as t
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: n for n, word in enumerate(["!", "<|startoftext|>", "<|endoftext|>", *WORDS[5:]])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<|endoftext|>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=[("<|startoftext|>", 1), ("<|endoftext|>", 2)]
    )
    return t.PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        pad_token="!",
        unk_token="<|endoftext|>",
        model_max_length=16,
    )


def owl(folder: Path) -> Path:
    import torch
    import transformers as t

    torch.manual_seed(3)
    tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = t.Owlv2Config(
        text_config={
            **tower,
            "vocab_size": 20,
            "max_position_embeddings": 16,
            "eos_token_id": 2,
            "bos_token_id": 1,
            "pad_token_id": 0,
        },
        vision_config={**tower, "image_size": SIDE, "patch_size": 16},
        projection_dim=32,
    )
    processor = t.Owlv2Processor(t.Owlv2ImageProcessorPil(size={"height": SIDE, "width": SIDE}), clip_tokenizer(folder))
    model = t.Owlv2ForObjectDetection(config)
    with torch.no_grad():  # fresh heads put every box outside the picture
        model.box_head.dense2.weight.mul_(1e-3)
    return _saved(folder, model, processor)


def dino(folder: Path) -> Path:
    import torch
    import transformers as t

    torch.manual_seed(4)
    tokenizer = bert_tokenizer(folder)
    backbone = t.SwinConfig(
        image_size=SIDE, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4], window_size=4
    )
    backbone.out_features = ["stage2", "stage3", "stage4"]
    text = t.BertConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        vocab_size=len(WORDS),
        max_position_embeddings=64,
    )
    config = t.GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=12,
        max_text_len=64,
    )
    images = t.GroundingDinoImageProcessorPil(size={"shortest_edge": 160, "longest_edge": 320})
    processor = t.GroundingDinoProcessor(images, tokenizer)
    return _saved(folder, t.GroundingDinoForObjectDetection(config), processor)


def sam3(folder: Path) -> Path:
    import torch
    import transformers as t

    torch.manual_seed(5)
    side = 112
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": side,
        "pretrain_image_size": side,
        "patch_size": 14,
        "window_size": 4,
        "global_attn_indexes": [1],
    }
    vision = {
        "model_type": "sam3_vision_model",
        "backbone_config": backbone,
        "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    }
    wide = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "num_layers": 1}
    config = t.Sam3Config(
        vision_config=vision,
        detr_encoder_config=wide,
        detr_decoder_config={**wide, "num_queries": 6},
        geometry_encoder_config=wide,
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
        text_config={
            "vocab_size": 20,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "projection_dim": 32,
            "max_position_embeddings": 32,
            "eos_token_id": 2,
            "bos_token_id": 1,
            "pad_token_id": 0,
        },
    )
    return _saved(folder, t.Sam3Model(config), clip_tokenizer(folder))
