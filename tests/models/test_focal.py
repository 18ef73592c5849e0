"""The Focal backbones: equal to a second writing of them, and of the published names and sizes."""

import re

import pytest
import torch
from torch.nn import functional as F

from interleave_index.models.vision.focal import (
    FOCAL_L,
    FOCAL_T,
    FocalSizes,
    Modulation,
    focal_backbone,
    published_name,
)

TINY = {kind: FocalSizes(kind, 16, (1, 1, 2, 1), 3) for kind in ("focal", "focal_dw")}


@pytest.fixture(params=["focal", "focal_dw"])
def backbone(request):
    torch.manual_seed(0)
    network = focal_backbone(TINY[request.param]).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    return network


def norm(w, name, x):
    """LayerNorm over channels of (B, C, H, W), by hand."""
    mean, spread = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    return (x - mean) / (spread + 1e-5).sqrt() * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]


def linear(w, name, x):
    return torch.einsum("oc,bchw->bohw", w[f"{name}.weight"], x) + w[f"{name}.bias"][:, None, None]


def modulated(w, name, x, levels):
    """docs/find-interface.md, section 3: gated sum of contexts, over levels + 1, times the query."""
    width = x.shape[1]
    found = linear(w, f"{name}.f", x)
    query, context, gates = found[:, :width], found[:, width : 2 * width], found[:, 2 * width :]
    total = torch.zeros_like(query)
    for level in range(levels):
        kernel = w[f"{name}.focal_layers.{level}.0.weight"]
        context = F.gelu(F.conv2d(context, kernel, padding=kernel.shape[-1] // 2, groups=width))
        total = total + gates[:, level, None] * context
    total = total + gates[:, levels, None] * F.gelu(context.mean((2, 3), keepdim=True))
    total = F.conv2d(total / (levels + 1), w[f"{name}.h.weight"], w[f"{name}.h.bias"])
    return linear(w, f"{name}.proj", query * total)


def mlp(w, name, x):
    return linear(w, f"{name}.fc2", F.gelu(linear(w, f"{name}.fc1", x)))


def scaled(w, name, x):
    return w[name][:, None, None] * x


def block(w, at, x, sizes):
    """One block of either kind, in the order of docs/find-interface.md, section 3."""
    if sizes.kind == "focal":
        x = x + scaled(w, f"{at}.gamma_1", norm(w, f"{at}.norm1", modulated(w, f"{at}.modulation", x, sizes.levels)))
        return x + scaled(w, f"{at}.gamma_2", norm(w, f"{at}.norm2", mlp(w, f"{at}.mlp", x)))
    width = x.shape[1]
    x = depthwise(w, f"{at}.dw1", x, width)
    x = norm(w, f"{at}.norm1", x + scaled(w, f"{at}.gamma_1", modulated(w, f"{at}.modulation", x, sizes.levels)))
    x = depthwise(w, f"{at}.dw2", x, width)
    return norm(w, f"{at}.norm2", x + scaled(w, f"{at}.gamma_2", mlp(w, f"{at}.mlp", x)))


def depthwise(w, name, x, width):
    return x + F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1, groups=width)


def by_hand(w, image, sizes):
    """The whole backbone from its state dict, without any module."""
    stem = 2 if sizes.kind == "focal" else 3
    x = F.conv2d(image, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=4, padding=stem)
    x, maps = norm(w, "patch_embed.norm", x), []
    for stage, depth in enumerate(sizes.depths):
        for number in range(depth):
            x = block(w, f"layers.{stage}.blocks.{number}", x, sizes)
        maps.append(norm(w, f"norm{stage}", x))
        if stage < 3:
            down = f"layers.{stage}.downsample"
            x = F.conv2d(x, w[f"{down}.proj.weight"], w[f"{down}.proj.bias"], stride=2, padding=1)
            x = norm(w, f"{down}.norm", x)
    return maps


def test_every_map_equals_a_second_writing_without_modules(backbone):
    backbone = backbone.double()  # so that only a different order of steps could differ
    image = torch.randn(1, 3, 64, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = by_hand(backbone.state_dict(), image, backbone.sizes)
    for mine, wanted in zip(backbone(image), expected, strict=True):
        assert mine.shape == wanted.shape and float((mine - wanted).abs().max()) < 1e-11


def test_maps_have_strides_4_8_16_32_and_doubling_channels(backbone):
    maps = backbone(torch.zeros(1, 3, 64, 96))
    assert [tuple(found.shape[1:]) for found in maps] == [(16, 16, 24), (32, 8, 12), (64, 4, 6), (128, 2, 3)]


def test_sides_that_no_stride_divides_are_padded_and_not_refused(backbone):
    maps = backbone(torch.randn(1, 3, 50, 70))
    assert [tuple(found.shape[2:]) for found in maps] == [(13, 18), (7, 9), (4, 5), (2, 3)]


@pytest.mark.parametrize(("sizes", "tensors", "millions"), [(FOCAL_L, 504, 205.7), (FOCAL_T, 300, 29.9)])
def test_the_released_sizes_have_the_published_number_of_tensors_and_parameters(sizes, tensors, millions):
    with torch.device("meta"):
        state = focal_backbone(sizes).state_dict()
    assert len(state) == tensors
    assert sum(value.numel() for value in state.values()) / 1e6 == pytest.approx(millions, abs=0.05)


def published_keys(sizes):
    """Names and shapes of docs/find-interface.md, section 3, written down without the module."""
    width = sizes.width
    found: dict[str, tuple[int, ...]] = {}
    found |= {"patch_embed.proj.weight": (width, 3, 7, 7)} | vector("patch_embed.proj.bias", width)
    found |= normed("patch_embed.norm", width)
    for stage, depth in enumerate(sizes.depths):
        c = width * 2**stage
        for number in range(depth):
            at = f"layers.{stage}.blocks.{number}"
            for name in ("norm1", "norm2"):
                found |= normed(f"{at}.{name}", c)
            found |= vector(f"{at}.gamma_1", c) | vector(f"{at}.gamma_2", c)
            found |= matrix(f"{at}.modulation.f", 2 * c + sizes.levels + 1, c) | matrix(f"{at}.modulation.proj", c, c)
            found |= {f"{at}.modulation.h.weight": (c, c, 1, 1)} | vector(f"{at}.modulation.h.bias", c)
            for level in range(sizes.levels):
                found[f"{at}.modulation.focal_layers.{level}.0.weight"] = (c, 1, 3 + 2 * level, 3 + 2 * level)
            found |= matrix(f"{at}.mlp.fc1", 4 * c, c) | matrix(f"{at}.mlp.fc2", c, 4 * c)
            if sizes.kind == "focal_dw":
                for name in ("dw1", "dw2"):
                    found |= {f"{at}.{name}.weight": (c, 1, 3, 3)} | vector(f"{at}.{name}.bias", c)
        found |= normed(f"norm{stage}", c)
        if stage < 3:
            down = f"layers.{stage}.downsample"
            found |= {f"{down}.proj.weight": (2 * c, c, 3, 3)} | vector(f"{down}.proj.bias", 2 * c)
            found |= normed(f"{down}.norm", 2 * c)
    return found


def vector(name, size):
    return {name: (size,)}


def matrix(name, outputs, inputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def normed(name, size):
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


@pytest.mark.parametrize("sizes", [FOCAL_L, FOCAL_T])
def test_names_and_shapes_of_the_released_sizes_are_the_published_ones(sizes):
    with torch.device("meta"):
        mine = {name: tuple(value.shape) for name, value in focal_backbone(sizes).state_dict().items()}
    assert mine == published_keys(sizes)


def test_renaming_gives_no_name_of_the_other_library():
    found = published_name("encoder.stages.0.layers.1.modulation.projection_out.bias")
    assert not re.search("stages|projection", found)


def test_own_modulation_equals_that_of_the_other_library():
    torch.manual_seed(2)
    with_stages = focal_backbone(FocalSizes("focal", 16, (1, 1, 1, 1), 3))
    theirs = with_stages.get_submodule("encoder.stages.0.layers.0.modulation")
    mine = Modulation(16, 3, 3)
    state = {published_name(f"x.modulation.{name}").removeprefix("x.modulation."): value
             for name, value in theirs.state_dict().items()}  # fmt: skip
    mine.load_state_dict(state)
    x = torch.randn(1, 5, 7, 16)
    assert float((mine(x) - theirs(x)).detach().abs().max()) < 1e-6


def test_a_state_dict_goes_in_and_comes_out_under_the_published_names(backbone):
    again = focal_backbone(backbone.sizes).eval()
    state = {name: value.clone() for name, value in backbone.state_dict().items()}
    again.load_state_dict(state)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in state.items())
    with pytest.raises(RuntimeError, match="Missing key"):
        again.load_state_dict({name: value for name, value in state.items() if name != "norm2.weight"})
