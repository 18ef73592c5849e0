"""Tiny random universal segmenters and further promptable ones and detectors, saved to a folder as a hub would."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

SIDE = 64
LABELS: dict[str, Any] = {"num_labels": 3}


def _swin(t: Any) -> Any:
    config = t.SwinConfig(
        image_size=SIDE, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4], window_size=4
    )
    config.out_features = ["stage1", "stage2", "stage3", "stage4"]
    return config


def _confident(model: Any, layer: Any, scale: float = 1.0) -> Any:
    """Heads that find something: fresh ones are sure of nothing."""
    import torch

    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(scale)
        layer.weight.mul_(0.01)
        layer.bias.copy_(torch.linspace(8, -8, len(layer.bias)))
    return model


def _saved(folder: Path, model: Any, *parts: Any) -> Path:
    model.save_pretrained(folder)
    for part in parts:
        part.save_pretrained(folder)
    return folder


def mask2former(folder: Path, labels: dict[str, Any] = LABELS) -> Path:
    import torch
    import transformers as t

    torch.manual_seed(11)
    config = t.Mask2FormerConfig(
        backbone_config=_swin(t),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=6,
        **labels,
    )
    model = t.Mask2FormerForUniversalSegmentation(config)
    pixels = t.Mask2FormerImageProcessorPil(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    return _saved(folder, _confident(model, model.class_predictor), pixels)


def maskformer(folder: Path) -> Path:
    import torch
    import transformers as t

    torch.manual_seed(12)
    decoder = t.DetrConfig(
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=6,
    )
    config = t.MaskFormerConfig(
        backbone_config=_swin(t), decoder_config=decoder, fpn_feature_size=32, mask_feature_size=32, **LABELS
    )
    model = t.MaskFormerForInstanceSegmentation(config)
    pixels = t.MaskFormerImageProcessorPil(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    return _saved(folder, _confident(model, model.class_predictor), pixels)


def oneformer(folder: Path) -> Path:
    import torch
    import transformers as t

    from tests.models.tiny import _clip_tokenizer

    torch.manual_seed(20)
    folder.mkdir(parents=True, exist_ok=True)
    size = _clip_tokenizer(folder)
    config = t.OneFormerConfig(
        backbone_config=_swin(t),
        hidden_dim=32,
        conv_dim=32,
        mask_dim=32,
        dim_feedforward=16,
        encoder_feedforward_dim=16,
        encoder_layers=1,
        decoder_layers=2,
        query_dec_layers=1,
        num_attention_heads=2,
        num_queries=6,
        **LABELS,
        text_encoder_width=32,
        text_encoder_num_layers=1,
        text_encoder_vocab_size=size,
        task_seq_len=24,
        text_encoder_context_length=24,
        text_encoder_n_ctx=2,
        is_training=False,
    )
    model = t.OneFormerForUniversalSegmentation(config)
    head = model.model.transformer_module.decoder.class_embed
    pixels = {
        "image_processor_type": "OneFormerImageProcessor",
        "size": {"shortest_edge": SIDE, "longest_edge": 2 * SIDE},
        "class_info_file": "classes_of_a_hub.json",  # as released: a file that only a hub has
        "repo_path": "nobody/nothing",
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    return _saved(folder, _confident(model, head, 2))  # fresh weights draw one mask over everything


def eomt(folder: Path) -> Path:
    import torch
    import transformers as t

    torch.manual_seed(14)
    config = t.EomtConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
        num_blocks=1,
        num_queries=6,
        num_upscale_blocks=1,
        **LABELS,
        num_register_tokens=1,
    )
    model = t.EomtForUniversalSegmentation(config)
    pixels = t.EomtImageProcessorPil(size={"shortest_edge": SIDE, "longest_edge": SIDE}, do_pad=True)
    return _saved(folder, _confident(model, model.class_predictor), pixels)


def eomt_dinov3(folder: Path) -> Path:
    import torch
    import transformers as t

    torch.manual_seed(15)
    config = t.EomtDinov3Config(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
        num_blocks=1,
        num_queries=6,
        num_upscale_blocks=1,
        num_register_tokens=1,
        **LABELS,
    )
    model = t.EomtDinov3ForUniversalSegmentation(config)
    with torch.no_grad():
        model.mask_head.fc3.weight.mul_(3000)  # fresh ones draw half a chance everywhere
    pixels = t.EomtImageProcessorPil(size={"shortest_edge": SIDE, "longest_edge": SIDE}, do_pad=True)
    return _saved(folder, _confident(model, model.class_predictor, 3), pixels)


def sam_hq(folder: Path) -> Path:
    import torch
    import transformers as t

    torch.manual_seed(15)
    vision = t.SamHQVisionConfig(
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
    prompts = t.SamHQPromptEncoderConfig(hidden_size=32, image_size=SIDE, patch_size=8, mask_input_channels=4)
    decoder = t.SamHQMaskDecoderConfig(
        hidden_size=32, num_attention_heads=2, mlp_dim=32, iou_head_hidden_dim=32, num_hidden_layers=1, vit_dim=16
    )
    config = t.SamHQConfig(
        vision_config=vision.to_dict(), prompt_encoder_config=prompts.to_dict(), mask_decoder_config=decoder.to_dict()
    )
    return _saved(folder, t.SamHQModel(config))


def sam3_tracker(folder: Path) -> Path:
    import torch
    import transformers as t

    torch.manual_seed(16)
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
    config = t.Sam3TrackerConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 32, "image_size": side, "patch_size": 14, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 32,
            "num_attention_heads": 2,
            "mlp_dim": 32,
            "iou_head_hidden_dim": 32,
            "num_hidden_layers": 1,
        },
    )
    return _saved(folder, t.Sam3TrackerModel(config))


def sam3_video(folder: Path) -> Path:
    """Detector and tracker in one folder, as SAM 3 is released."""
    import torch
    import transformers as t

    from tests.models import tiny_prompted

    detector = t.Sam3Model.from_pretrained(tiny_prompted.sam3(folder / "detector")).config.to_dict()
    tracker = t.Sam3TrackerModel.from_pretrained(sam3_tracker(folder / "tracker")).config.to_dict()
    torch.manual_seed(19)
    parts = {name: tracker[name] for name in ("vision_config", "prompt_encoder_config", "mask_decoder_config")}
    video = t.Sam3TrackerVideoConfig(
        **parts,
        memory_attention_hidden_size=32,
        memory_attention_num_layers=1,
        memory_attention_num_attention_heads=1,
        memory_attention_downsample_rate=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[8, 8],
        memory_encoder_hidden_size=32,
        memory_encoder_output_channels=16,
        mask_downsampler_embed_dim=32,
        memory_fuser_embed_dim=32,
        memory_fuser_intermediate_dim=32,
    )
    config = t.Sam3VideoConfig(detector_config=detector, tracker_config=video.to_dict())
    return _saved(folder, t.Sam3VideoModel(config), tiny_prompted.clip_tokenizer(folder))


def omdet(folder: Path) -> Path:
    import torch
    import transformers as t

    from tests.models.tiny import _clip_tokenizer

    torch.manual_seed(17)
    folder.mkdir(parents=True, exist_ok=True)
    size = _clip_tokenizer(folder)
    backbone = _swin(t)
    backbone.out_features = ["stage2", "stage3", "stage4"]
    text = {
        "model_type": "clip_text_model",
        "hidden_size": 16,
        "projection_dim": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": size,
        "max_position_embeddings": 77,
        "eos_token_id": 1,
        "bos_token_id": 0,
        "pad_token_id": 1,
    }
    config = t.OmDetTurboConfig(
        text_config=text,
        backbone_config=backbone,
        apply_layernorm_after_vision_backbone=False,  # which takes channels last, as backbones of timm give them
        image_size=SIDE,
        encoder_in_channels=[16, 32, 64],
        vision_features_channels=[32, 32, 32],
        encoder_hidden_dim=32,
        decoder_hidden_dim=32,
        class_embed_dim=16,
        task_encoder_hidden_dim=24,
        text_projection_in_dim=16,
        text_projection_out_dim=16,
        encoder_dim_feedforward=16,
        decoder_dim_feedforward=16,
        decoder_num_layers=1,
        encoder_layers=1,
        num_queries=8,
        encoder_attention_heads=2,
        decoder_num_heads=2,
    )
    pixels = t.DetrImageProcessorPil(size={"height": SIDE, "width": SIDE}, do_pad=False)
    return _saved(folder, t.OmDetTurboForObjectDetection(config), pixels)


def owlvit(folder: Path) -> Path:
    import torch
    import transformers as t

    from tests.models.tiny_prompted import clip_tokenizer

    torch.manual_seed(18)
    tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    words = {"vocab_size": 20, "max_position_embeddings": 16, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
    config = t.OwlViTConfig(
        text_config={**tower, **words}, vision_config={**tower, "image_size": SIDE, "patch_size": 16}, projection_dim=32
    )
    model = t.OwlViTForObjectDetection(config)
    with torch.no_grad():  # fresh heads put every box outside the picture
        model.box_head.dense2.weight.mul_(1e-3)
    images = t.OwlViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return _saved(folder, model, t.OwlViTProcessor(images, clip_tokenizer(folder)))


def edgetam(folder: Path) -> Path:
    """With the encoder of a few convolutions in place of RepViT, which only timm has; all else is EdgeTAM's."""
    import torch
    import transformers as t

    torch.manual_seed(20)
    channels = [48, 32, 16, 16]  # of the coarsest map first, as the neck takes them
    vision = t.EdgeTamVisionConfig(
        backbone_config=_few_convolutions()(channels=channels[::-1]),
        backbone_channel_list=channels,
        backbone_feature_sizes=[[SIDE // stride, SIDE // stride] for stride in (4, 8, 16)],
        fpn_hidden_size=32,
    )
    config = t.EdgeTamConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 32, "image_size": SIDE, "patch_size": 16, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 32,
            "num_attention_heads": 2,
            "mlp_dim": 32,
            "iou_head_hidden_dim": 32,
            "num_hidden_layers": 1,
        },
    )
    return _saved(folder, t.EdgeTamModel(config))


@cache
def _few_convolutions() -> Any:
    """Config of an encoder that gives a list of maps at strides 4 to 32, as timm's do, known to the auto classes."""
    import torch
    import transformers as t
    from transformers.modeling_outputs import BaseModelOutput

    class FewConvolutionsConfig(t.PreTrainedConfig):
        model_type = "few_convolutions"
        channels: list[int] | None = None

    class FewConvolutions(t.PreTrainedModel):
        config_class = FewConvolutionsConfig
        main_input_name = "pixel_values"

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            widths, strides = [3, *config.channels], (4, 2, 2, 2)
            self.steps = torch.nn.ModuleList(
                torch.nn.Conv2d(before, after, stride, stride)
                for before, after, stride in zip(widths, widths[1:], strides, strict=False)
            )
            self.post_init()

        def forward(self, pixel_values: Any, **_: Any) -> Any:
            maps: Any = []
            last = pixel_values
            for step in self.steps:
                last = step(last).relu()
                maps.append(last)
            return BaseModelOutput(last_hidden_state=maps)

    t.AutoConfig.register("few_convolutions", FewConvolutionsConfig)
    t.AutoModel.register(FewConvolutionsConfig, FewConvolutions)
    return FewConvolutionsConfig
