"""The SAM backbone of FIND and SEEM: SAM's plain transformer, and a small pyramid in the place of its neck.

The transformer runs on the classes of Hugging Face; `SimplePyramid` makes four maps at strides 4, 8, 16 and 32 of its
one map at stride 16. Parameter names are the published ones under `backbone.`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from ...errors import BackendMissing, ShapeError
from .renaming import use_published_names

Maps = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class SamSizes:
    """Sizes of a SAM backbone; the defaults are those of SAM-B.

    Attributes:
        kind: always `sam`.
        width: channels of the transformer; depth: its blocks; heads: of its attention; inner: width of its MLPs.
        patch: pixels of a side of a token.
        window: tokens of a side of a window.
        whole: positions of the blocks that attend to the whole photo instead of to windows.
        image_size: pixels of a side of the input; there are no positions for any other.
        channels: of res2 to res5.
    """

    kind: Literal["sam"] = "sam"
    width: int = 768
    depth: int = 12
    heads: int = 12
    inner: int = 3072
    patch: int = 16
    window: int = 14
    whole: tuple[int, ...] = (2, 5, 8, 11)
    image_size: int = 1024
    channels: tuple[int, ...] = (128, 256, 512, 1024)


SAM_B = SamSizes()
SAM_L = SamSizes(width=1024, depth=24, heads=16, inner=4096, whole=(5, 11, 17, 23))

OUTER = ("4.5", "8.2", "16.0", "32.2")  # convolutions of the pyramid that give res2 to res5

# Hugging Face's name -> the published one, below the backbone
NAMES = (
    (r"^patch_embed\.projection\.", "patch_embed.proj."),
    (r"^layers\.(\d+)\.layer_norm(\d)\.", r"blocks.\1.norm\2."),
    (r"^layers\.(\d+)\.", r"blocks.\1."),
)


class SimplePyramid(nn.Module):
    """One map at stride 16 to four; every norm takes all channels of a photo together.

    Args:
        width: channels of the one map.
        channels: of res2 to res5.
    """

    def __init__(self, width: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        res2, res3, res4, res5 = channels
        quarter, eighth, last = max(2 * res2, width // 2), max(res3, width // 2), max(res5, 2 * width)
        self.down_4 = nn.Sequential(
            *_normed(nn.ConvTranspose2d(width, quarter, 2, 2), quarter),
            nn.GELU(),
            *_normed(nn.ConvTranspose2d(quarter, quarter // 2, 2, 2), quarter // 2),
            *_normed(nn.Conv2d(quarter // 2, res2, 1), res2),
            nn.GELU(),
        )
        self.down_8 = nn.Sequential(
            *_normed(nn.ConvTranspose2d(width, eighth, 2, 2), eighth),
            *_normed(nn.Conv2d(eighth, res3, 1), res3),
            nn.GELU(),
        )
        self.down_16 = nn.Sequential(*_normed(nn.Conv2d(width, res4, 1), res4), nn.GELU())
        self.down_32 = nn.Sequential(
            *_normed(nn.Conv2d(width, last, 2, 2), last), *_normed(nn.Conv2d(last, res5, 1), res5), nn.GELU()
        )

    def forward(self, encoded: Tensor) -> Maps:
        """(B, width, h, w) at stride 16 to (res2, res3, res4, res5)."""
        return self.down_4(encoded), self.down_8(encoded), self.down_16(encoded), self.down_32(encoded)


def _normed(convolution: nn.Module, channels: int) -> tuple[nn.Module, nn.Module]:
    return convolution, nn.GroupNorm(1, channels)


class SamBackbone(nn.Module):
    """SAM's transformer and the pyramid behind it, randomly initialised.

    Raises:
        BackendMissing: transformers is not installed.
    """

    def __init__(self, sizes: SamSizes = SAM_B) -> None:
        super().__init__()
        self.sizes = sizes
        found = _encoder(sizes)
        self.patch_embed, self.pos_embed, self.layers = found.patch_embed, found.pos_embed, found.layers
        self.neck = SimplePyramid(sizes.width, sizes.channels)
        use_published_names(self, NAMES)

    def encode(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels, S the side of `sizes`, to (B, width, S / 16, S / 16).

        Raises:
            ShapeError: photos of another side.
        """
        side = self.sizes.image_size
        if pixels.shape[-2:] != (side, side):
            raise ShapeError(
                f"input is {pixels.shape[-2]} x {pixels.shape[-1]}, expected {side} x {side}: "
                "a SAM backbone has positions for no other size"
            )
        tokens = self.patch_embed(pixels) + self.pos_embed
        for layer in self.layers:
            tokens = layer(tokens)
        encoded: Tensor = tokens.permute(0, 3, 1, 2)
        return encoded

    def forward(self, pixels: Tensor) -> Maps:
        """(B, 3, S, S) normalised pixels to (res2, res3, res4, res5)."""
        maps: Maps = self.neck(self.encode(pixels))
        return maps


def _encoder(sizes: SamSizes) -> Any:
    try:
        from transformers import SamVisionConfig
        from transformers.models.sam.modeling_sam import SamVisionEncoder
    except ImportError as error:
        raise BackendMissing(
            "a SAM backbone runs on the package transformers, which is not installed; "
            "pip install 'interleave-index[hub]'"
        ) from error
    config = SamVisionConfig(
        hidden_size=sizes.width,
        num_hidden_layers=sizes.depth,
        num_attention_heads=sizes.heads,
        mlp_dim=sizes.inner,
        image_size=sizes.image_size,
        patch_size=sizes.patch,
        window_size=sizes.window,
        global_attn_indexes=list(sizes.whole),
        output_channels=1,  # of the neck, which is not used
    )
    return SamVisionEncoder(config)


def sam_sizes(state: Mapping[str, Tensor], prefix: str = "") -> SamSizes:
    """Sizes of the SAM backbone in a state dict; without a pyramid, as in SAM's own, that of the published ones.

    Raises:
        KeyError: a tensor that shows them is missing.
    """
    own = {key.removeprefix(prefix): value.shape for key, value in state.items() if key.startswith(prefix)}
    width, patch = own["patch_embed.proj.weight"][0], own["patch_embed.proj.weight"][-1]
    grid = own["pos_embed"][1]
    depth = 1 + max(int(key.split(".")[1]) for key in own if key.startswith("blocks."))
    reaches = [(own[f"blocks.{block}.attn.rel_pos_h"][0] + 1) // 2 for block in range(depth)]
    windows = [reach for reach in reaches if reach != grid]
    has_neck = "neck.down_4.5.weight" in own
    return SamSizes(
        width=width,
        depth=depth,
        heads=width // own["blocks.0.attn.rel_pos_h"][1],
        inner=own["blocks.0.mlp.lin1.weight"][0],
        patch=patch,
        window=windows[0] if windows else grid,
        whole=tuple(block for block, reach in enumerate(reaches) if reach == grid),
        image_size=grid * patch,
        channels=tuple(own[f"neck.down_{name}.weight"][0] for name in OUTER) if has_neck else SAM_B.channels,
    )
