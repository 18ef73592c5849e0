"""Files as others release them, tiny, by their own names: X-Decoder, SAM, Florence-2, a LLaMA, CLIP's tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from interleave_index.models.vision.davit import Davit, DavitSizes
from interleave_index.models.vision.focal import FocalSizes, focal_backbone
from interleave_index.models.vision.pixel_decoder import PixelDecoder
from interleave_index.models.vision.sam_vit import SamBackbone, SamSizes

SIDE = 96
FOCAL = FocalSizes("focal_dw", 16, (1, 1, 1, 1), 2)
DAVIT = DavitSizes(widths=(32, 32, 32, 64), depths=(1, 1, 1, 1), kernels=(7, 3, 3, 3))
SAM = SamSizes(width=32, depth=2, heads=2, inner=64, patch=16, window=3, whole=(1,), image_size=SIDE)


@dataclass(frozen=True)
class Released:
    """Where they lie."""

    folder: Path

    @property
    def xdecoder(self) -> Path:
        """Backbone, pixel decoder and UniCL tower."""
        return self.folder / "xdecoder_focalt_last.pt"

    @property
    def sam(self) -> Path:
        """The encoder with its own neck, and a mask decoder that nobody wants here."""
        return self.folder / "sam_vit_b_01ec64.pth"

    @property
    def florence(self) -> Path:
        """A DaViT in half precision, and a projection behind it."""
        return self.folder / "Florence-2-base" / "pytorch_model.bin"

    @property
    def llama(self) -> Path:
        """Folder of a language model."""
        return self.folder / "llama-7b"

    @property
    def clip(self) -> Path:
        """Folder of a tokenizer."""
        return self.folder / "clip-vit-base-patch32"

    def of(self, name: str) -> dict[str, str]:
        """Settings of a pair by its name, such as `sam-llama`."""
        vision, language = name.split("-")
        words = {"language": str(self.xdecoder), "tokenizer": str(self.clip)}
        return {"vision": str(getattr(self, vision))} | (
            words if language == "unicl" else {"language": str(self.llama)}
        )


def write_released(folder: Path, toys: ModuleType) -> Released:
    """Write all of them with random weights; `toys` makes language models."""
    files = Released(folder)
    torch.manual_seed(0)
    decoder = PixelDecoder(FOCAL.channels, 32, heads=4, ffn=64, layers=1)
    tower = {f"{toys.LANGUAGE}{name}": value for name, value in toys.unicl_network().state_dict().items()}
    state = _named(focal_backbone(FOCAL), "backbone.") | _named(decoder, "sem_seg_head.pixel_decoder.") | tower
    torch.save(state, files.xdecoder)
    sam = {k: v for k, v in _named(SamBackbone(SAM), "image_encoder.").items() if ".neck." not in k}
    own = {"image_encoder.neck.0.weight": torch.ones(4, 32, 1, 1), "mask_decoder.iou_token.weight": torch.ones(1, 4)}
    torch.save(sam | own, files.sam)
    florence = {k: v.half() for k, v in _named(Davit(DAVIT), "vision_tower.").items()}
    files.florence.parent.mkdir()
    torch.save(florence | {"image_projection": torch.ones(2, 2)}, files.florence)
    toys.llama_state(files.llama)
    files.clip.mkdir()
    toys.clip_tokenizer().save(str(files.clip / "tokenizer.json"))
    return files


def _named(network: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Its state dict with no tensor left constant, as if it had been trained."""
    return {prefix + name: value + 0.1 * torch.randn_like(value) for name, value in network.state_dict().items()}
