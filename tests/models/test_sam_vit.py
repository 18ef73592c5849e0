"""The SAM backbone: equal to a second writing without modules, under the published names and sizes."""

import pytest
import torch
from torch.nn import functional as F

from interleave_index.errors import ShapeError
from interleave_index.models.vision.sam_vit import SAM_B, SAM_L, SamBackbone, SamSizes, sam_sizes

TINY = SamSizes(
    width=24, depth=3, heads=2, inner=40, patch=8, window=3, whole=(1,), image_size=64, channels=(4, 6, 8, 10)
)


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    network = SamBackbone(TINY).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    return network.double()  # so that only a different order of steps could differ


def attention(w, at, x):
    """(n, h, w, C): one query at a time over all places of the same window, with an offset for every distance."""
    count, height, width, channels = x.shape
    each = channels // TINY.heads
    qkv = (x @ w[f"{at}.qkv.weight"].T + w[f"{at}.qkv.bias"]).reshape(count, height, width, 3, TINY.heads, each)
    out = torch.zeros(count, height, width, TINY.heads, each, dtype=x.dtype)
    rows, columns = torch.arange(height), torch.arange(width)
    for i in range(height):
        for j in range(width):
            query = qkv[:, i, j, 0]  # (n, heads, each)
            scores = torch.einsum("nhc,nyxhc->nhyx", query * each**-0.5, qkv[:, :, :, 1])
            scores = scores + torch.einsum("nhc,yc->nhy", query, w[f"{at}.rel_pos_h"][i - rows + height - 1])[..., None]
            scores = (
                scores + torch.einsum("nhc,xc->nhx", query, w[f"{at}.rel_pos_w"][j - columns + width - 1])[:, :, None]
            )
            chances = scores.flatten(2).softmax(-1).reshape(scores.shape)
            out[:, i, j] = torch.einsum("nhyx,nyxhc->nhc", chances, qkv[:, :, :, 2])
    return out.flatten(3) @ w[f"{at}.proj.weight"].T + w[f"{at}.proj.bias"]


def windowed(w, at, x):
    """Windows from the upper left corner; those over the edge are filled up with zeros."""
    height, width = x.shape[1:3]
    out = torch.zeros_like(x)
    for top in range(0, height, TINY.window):
        for left in range(0, width, TINY.window):
            part = x[:, top : top + TINY.window, left : left + TINY.window]
            inside = part.shape[1:3]
            part = F.pad(part, (0, 0, 0, TINY.window - inside[1], 0, TINY.window - inside[0]))
            found = attention(w, at, part)[:, : inside[0], : inside[1]]
            out[:, top : top + TINY.window, left : left + TINY.window] = found
    return out


def norm(w, name, x):
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)


def encoded(w, image):
    x = F.conv2d(image, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=TINY.patch)
    x = x.permute(0, 2, 3, 1) + w["pos_embed"]
    for block in range(TINY.depth):
        at = f"blocks.{block}"
        reach = attention if block in TINY.whole else windowed
        x = x + reach(w, f"{at}.attn", norm(w, f"{at}.norm1", x))
        inner = F.gelu(norm(w, f"{at}.norm2", x) @ w[f"{at}.mlp.lin1.weight"].T + w[f"{at}.mlp.lin1.bias"])
        x = x + inner @ w[f"{at}.mlp.lin2.weight"].T + w[f"{at}.mlp.lin2.bias"]
    return x.permute(0, 3, 1, 2)


def pyramid(w, x):
    """The four branches: convolutions (up to a stride, down, or flat), norms and GELUs by their number."""
    steps = {
        "down_4": [("up", 0), ("norm", 1), ("gelu",), ("up", 3), ("norm", 4), ("flat", 5), ("norm", 6), ("gelu",)],
        "down_8": [("up", 0), ("norm", 1), ("flat", 2), ("norm", 3), ("gelu",)],
        "down_16": [("flat", 0), ("norm", 1), ("gelu",)],
        "down_32": [("down", 0), ("norm", 1), ("flat", 2), ("norm", 3), ("gelu",)],
    }
    maps = []
    for name, wanted in steps.items():
        y = x
        for kind, *number in wanted:
            if kind == "gelu":
                y = F.gelu(y)
                continue
            weight, bias = (w[f"neck.{name}.{number[0]}.{part}"] for part in ("weight", "bias"))
            if kind == "norm":
                y = F.group_norm(y, 1, weight, bias)
            elif kind == "up":
                y = F.conv_transpose2d(y, weight, bias, stride=2)
            else:
                y = F.conv2d(y, weight, bias, stride=2 if kind == "down" else 1)
        maps.append(y)
    return maps


def test_every_map_equals_a_second_writing_without_modules(backbone):
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = pyramid(backbone.state_dict(), encoded(backbone.state_dict(), image))
    found = backbone(image)
    assert [tuple(one.shape[1:]) for one in found] == [(4, 32, 32), (6, 16, 16), (8, 8, 8), (10, 4, 4)]
    for mine, wanted in zip(found, expected, strict=True):
        assert mine.shape == wanted.shape and float((mine - wanted).abs().max()) < 1e-10


def test_another_size_of_photos_is_refused(backbone):
    with pytest.raises(ShapeError, match="input is 64 x 32, expected 64 x 64"):
        backbone(torch.zeros(1, 3, 64, 32, dtype=torch.float64))


@pytest.mark.parametrize("sizes", [SAM_B, SAM_L, TINY])
def test_sizes_are_read_off_the_state_dict(sizes):
    with torch.device("meta"):
        state = SamBackbone(sizes).state_dict()
    assert sam_sizes({f"backbone.{name}": value for name, value in state.items()}, "backbone.") == sizes


def test_at_full_size_names_and_shapes_are_the_published_ones():
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in SamBackbone(SAM_B).state_dict().items()}
    assert shapes["pos_embed"] == (1, 64, 64, 768) and shapes["patch_embed.proj.weight"] == (768, 3, 16, 16)
    assert shapes["blocks.2.attn.rel_pos_h"] == (127, 64) and shapes["blocks.3.attn.rel_pos_w"] == (27, 64)
    assert shapes["blocks.11.mlp.lin1.weight"] == (3072, 768) and shapes["blocks.0.norm2.bias"] == (768,)
    neck = ("down_4.0", "down_4.3", "down_4.5", "down_8.0", "down_8.2", "down_16.0", "down_32.0", "down_32.2")
    assert [shapes[f"neck.{name}.weight"] for name in neck] == [
        (768, 384, 2, 2), (384, 192, 2, 2), (128, 192, 1, 1), (768, 384, 2, 2), (256, 384, 1, 1), (512, 768, 1, 1),
        (1536, 768, 2, 2), (1024, 1536, 1, 1)]  # fmt: skip
    assert len(shapes) == 1 + 2 + 12 * 14 + 2 * 16  # positions, patches, blocks, eight convolutions with their norms


def test_weights_go_in_and_come_out_under_the_published_names(backbone):
    other = SamBackbone(TINY).double().eval()
    other.load_state_dict(backbone.state_dict())
    image = torch.ones(1, 3, 64, 64, dtype=torch.float64)
    with torch.inference_mode():
        assert all(torch.allclose(one, two) for one, two in zip(other(image), backbone(image), strict=True))
    with pytest.raises(RuntimeError, match=r"blocks\.0\.norm1\.weight|layers\.0\.layer_norm1\.weight"):
        other.load_state_dict({k: v for k, v in backbone.state_dict().items() if k != "blocks.0.norm1.weight"})
