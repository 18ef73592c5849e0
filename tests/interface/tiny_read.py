"""READ at its true structure with tiny random weights, under the names of the release."""

import json

import torch

from interleave_index.interface.read.language import _Run
from interleave_index.interface.read.model import Read
from interleave_index.interface.read.prompts import after_photo

SURE = 500.0  # logit of the next word that a taught model knows
WIDE, WORDS, SIDE, PATCH = 16, 72, 24, 2  # of the language model; of CLIP: a grid of 12 x 12
SAM_SIDE, SAM_WIDE = 64, 32
SPOKEN = (
    "What Is is cat dog in this image ? Please please output segmentation mask . If it its , not say so USER : "
    "ASSISTANT Sure the result red green blue disc square thing cuts bread where there no yes here No a of I see"
)


def released_shapes(wide=WIDE, words=WORDS):
    """Every weight of the release, by its own name: LLaVA without its vision tower, SAM, the head between them."""
    found = {
        "model.embed_tokens.weight": (words, wide),
        "model.norm.weight": (wide,),
        "lm_head.weight": (words, wide),
        "model.mm_projector.0.weight": (wide, 16),
        "model.mm_projector.0.bias": (wide,),
        "model.mm_projector.2.weight": (wide, wide),
        "model.mm_projector.2.bias": (wide,),
        "model.text_hidden_fcs.0.0.weight": (wide, wide),
        "model.text_hidden_fcs.0.0.bias": (wide,),
        "model.text_hidden_fcs.0.2.weight": (SAM_WIDE, wide),
        "model.text_hidden_fcs.0.2.bias": (SAM_WIDE,),
    }
    for n in range(2):
        layer = f"model.layers.{n}"
        found |= {f"{layer}.self_attn.{name}_proj.weight": (wide, wide) for name in "qkvo"}
        found |= {
            f"{layer}.mlp.gate_proj.weight": (24, wide),
            f"{layer}.mlp.up_proj.weight": (24, wide),
            f"{layer}.mlp.down_proj.weight": (wide, 24),
            f"{layer}.input_layernorm.weight": (wide,),
            f"{layer}.post_attention_layernorm.weight": (wide,),
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


def make(folder, *, heads=None, shards=False, spread=0.4, wide=WIDE, attention_heads=2, spoken=SPOKEN):
    """A released folder.

    Args:
        heads: rows of the output layer by token.
        spread: of the weights.
        wide, attention_heads: of the language model.
        spoken: words that it knows; all others are one and the same to it.
    """
    import transformers as t
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    words = ["<unk>", "<s>", "</s>", *spoken.split()]
    rows = max(WORDS, len(words) + 3)
    weights = {
        name: torch.randn(shape) * (spread if len(shape) > 1 else 0.1)
        + (1.0 if len(shape) == 1 and name.endswith("weight") else 0.0)  # scales of norms
        for name, shape in released_shapes(wide, rows).items()
    }
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = t.PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.add_tokens(["[SEG]"])
    tokenizer.add_tokens(["<im_start>", "<im_end>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    head = weights["lm_head.weight"]
    head[tokenizer.convert_tokens_to_ids("[SEG]")] = head[3]  # of two that are alike the first is said
    for token, row in (heads or {}).items():
        head[token] = row
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
                "hidden_size": wide,
                "intermediate_size": 24,
                "num_hidden_layers": 2,
                "num_attention_heads": attention_heads,
                "num_key_value_heads": attention_heads,
                "rms_norm_eps": 1e-5,
                "vocab_size": rows,
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


def taught(folder, answers, *, shards=False):
    """A released folder whose model says [SEG] and the end where it is told to, and the end at once elsewhere.

    Args:
        answers: (photo, question, whether it is there) of everything that will be asked, few enough for its width.
    """
    model = Read.load(make(folder / "untaught"), dtype=torch.float32)
    seg, end = model.parts.tokenizer.convert_tokens_to_ids("[SEG]"), model.parts.tokenizer.eos_token_id
    states, says_seg = [], []
    with torch.inference_mode():
        for photo, question, there in answers:
            read = model.embed(photo).read
            run = _Run(model.language, read)
            states.append(run.extend({0: model.language.ids_after(after_photo(str(question)))})[0][-1])
            says_seg.append(there)
            if there:
                states.append(run.extend({0: [seg]})[0][-1])
                says_seg.append(False)
    solve = torch.linalg.pinv(torch.stack(states).double())
    wanted = torch.tensor([[SURE if said else -SURE] for said in says_seg], dtype=torch.float64)
    rows = {seg: (solve @ wanted)[:, 0].float(), end: (solve @ -wanted)[:, 0].float()}
    return make(folder / "taught", heads=rows, shards=shards)
