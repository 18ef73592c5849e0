"""DaViT: equal to that of Florence-2 in transformers, under the published names."""

import pytest
import torch

from interleave_index.models.vision.davit import DAVIT_D3, DAVIT_D5, Davit, DavitSizes

SIZES = {
    "d3": DavitSizes(widths=(32, 64, 64, 96), depths=(1, 1, 2, 1)),
    "d5": DavitSizes(widths=(32, 64, 64, 96), depths=(1, 1, 2, 1), kernels=(7, 3, 3, 3)),
}


def florence(sizes):
    """The same network of the other library, randomly initialised."""
    from transformers.models.florence2.configuration_florence2 import Florence2VisionConfig
    from transformers.models.florence2.modeling_florence2 import Florence2VisionBackbone

    heads = [width // 32 for width in sizes.widths]
    padding = [n // 2 if n % 2 else 0 for n in sizes.kernels]
    config = Florence2VisionConfig(
        depths=sizes.depths, patch_size=sizes.kernels, patch_padding=padding,
        embed_dim=sizes.widths, num_heads=heads, num_groups=heads, window_size=7, drop_path_rate=0.0)  # fmt: skip
    return Florence2VisionBackbone(config).eval().requires_grad_(False)


def published(name):
    """The published name of a parameter of the other library's network."""
    for old, new in ((".conv.", ".proj."), (".conv1.", ".conv1.fn.dw."), (".conv2.", ".conv2.fn.dw."),
                     ("_attn.qkv.", "_attn.fn.qkv."), ("_attn.proj.", "_attn.fn.proj."), (".ffn.fc", ".ffn.fn.net.fc"),
                     (".norm2.", ".ffn.norm."), (".spatial_block.norm1.", ".spatial_block.window_attn.norm."),
                     (".channel_block.norm1.", ".channel_block.channel_attn.norm.")):  # fmt: skip
        name = name.replace(old, new)
    return name


@pytest.mark.parametrize("kind", ["d3", "d5"])
def test_every_map_equals_that_of_the_other_library(kind):
    torch.manual_seed(0)
    theirs, mine = florence(SIZES[kind]), Davit(SIZES[kind]).eval().requires_grad_(False)
    for parameter in theirs.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    mine.load_state_dict({published(name): value for name, value in theirs.state_dict().items()})
    image = torch.randn(2, 3, 64, 96)
    expected, x = [], image
    for conv, stage in zip(theirs.convs, theirs.blocks, strict=True):
        x = conv(x)
        for pair in stage:
            x = pair(x)
        expected.append(x)
    found = mine(image)
    assert [tuple(one.shape[1:]) for one in found] == [(32, 16, 24), (64, 8, 12), (64, 4, 6), (96, 2, 3)]
    for one, wanted in zip(found, expected, strict=True):
        assert float((one - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())


@pytest.mark.parametrize(("sizes", "kernel"), [(DAVIT_D3, 2), (DAVIT_D5, 3)])
def test_at_full_size_shapes_are_those_of_the_configurations(sizes, kernel):
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in Davit(sizes).state_dict().items()}
    width = sizes.widths[1]
    assert shapes["convs.0.proj.weight"] == (sizes.widths[0], 3, 7, 7)
    assert shapes["convs.0.norm.weight"] == shapes["convs.1.norm.weight"] == (sizes.widths[0],)  # behind; before
    assert shapes["convs.1.proj.weight"] == (width, sizes.widths[0], kernel, kernel)
    assert shapes["blocks.1.0.spatial_block.window_attn.fn.qkv.weight"] == (3 * width, width)
    assert shapes["blocks.2.8.channel_block.ffn.fn.net.fc1.weight"] == (8 * width, 2 * width)
    assert shapes["blocks.1.0.channel_block.conv2.fn.dw.weight"] == (width, 1, 3, 3)
    assert not any(name.startswith("norm") for name in shapes)  # nothing behind the stages
    assert len(shapes) == 4 * 4 + 12 * 2 * 16  # convolution and norm a stage; twelve pairs of blocks
