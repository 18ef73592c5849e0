"""Stage `align`: image vectors and captions find the teachers' space, before any mask is asked for.

The interface starts at random, and gradients of masks are louder than those of a whole picture; a short time without
them is enough for pictures and captions to meet. The teachers' space stands still and holds every training photo at
once, where a batch would offer a few negatives.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError
from ..interface.find.model import FindModel
from ..interface.find.variables import Prompts
from .augment import jitter, random_crop
from .measures import caption_recall
from .samples import Samples, held_out, project_targets, target_directions

IMAGE_WEIGHT, TEXT_WEIGHT = 8.0, 4.0


class Targets:
    """Directions of all training photos in the teachers' space, and the two losses towards them.

    Args:
        samples: with teacher vectors.
        dim: of the space, D.
    """

    def __init__(self, samples: Samples, dim: int) -> None:
        if samples.pooled is None:
            raise InputError("captions are aligned in the teachers' space, no teacher targets given; pass --targets")
        mean, components = project_targets(samples.pooled, dim)
        self._directions = target_directions(samples.pooled, mean, components)

    def image_loss(self, images: Tensor, rows: Tensor) -> Tensor:
        """1 - cosine of (N, D) image vectors with the directions of their photos, weighted."""
        return IMAGE_WEIGHT * (1 - (F.normalize(images.float(), dim=-1) * self._directions[rows]).sum(1)).mean()

    def text_loss(self, texts: Tensor, rows: Tensor, scale: Tensor) -> Tensor:
        """Cross-entropy of (M, D) captions over the directions of all photos, weighted."""
        logits = scale * F.normalize(texts.float(), dim=-1) @ self._directions.T
        return TEXT_WEIGHT * F.cross_entropy(logits, rows)


def random_captions(samples: Samples, rows: np.ndarray, rng: np.random.Generator) -> list[str]:
    """One caption of each photo, drawn at random."""
    return [str(rng.choice(samples.captions[n])) for n in rows]


class AlignStage:
    """Pixel decoder, interface and text tower, by whole pictures and captions alone; the backbone is frozen.

    Args:
        more: captions a step that come without their photo.
    """

    name = "align"

    def __init__(
        self, model: FindModel, train: Samples, held: Samples, *, batch: int = 32, more: int = 96, lr: float = 6e-4
    ) -> None:
        self.model, self.train_set, self.held = model, train, held
        self.photos_per_step, self.more, self.lr = batch, more, lr
        self.targets = Targets(train, model.interface.config.width)
        self.usable = train.where(lambda n: not held_out(train.keys[n]))
        self.captioned = train.where(lambda n: bool(train.captions[n]) and not held_out(train.keys[n]))
        model.vision.backbone.requires_grad_(False)

    @property
    def module(self) -> nn.Module:
        """The whole model; the backbone takes no gradient."""
        return self.model

    def parameter_groups(self) -> list[dict[str, object]]:
        """As in stage `interface`."""
        return trained_groups(self.model, self.lr)

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The two losses of a fresh batch: a quarter of its photos may have no caption."""
        model = self.model
        model.vision.backbone.eval()
        plain = rng.choice(self.usable, self.photos_per_step // 4)
        captioned = rng.choice(self.captioned, self.photos_per_step - len(plain) + self.more)
        rows = np.concatenate([plain, captioned[: self.photos_per_step - len(plain)]])
        pixels = random_crop(len(rows), rng)(
            torch.from_numpy(self.train_set.pixels[rows]).permute(0, 3, 1, 2).float(), model.config.side
        )
        with torch.no_grad():
            maps = model.vision.backbone(model.vision.normalise(jitter(pixels, rng)))
        pyramid = model.vision.pixel_decoder(maps)
        images = model.interface(pyramid.levels, pyramid.mask_features, Prompts()).final["pred_retrievals"][:, 0]
        captions = model.text_tokens(random_captions(self.train_set, captioned, rng))
        texts = model.interface(None, None, Prompts(caption=captions)).final["pred_retrievals_lang"][:, 0]
        return {
            "image_target": self.targets.image_loss(images, torch.from_numpy(rows)),
            "text_target": self.targets.text_loss(texts, torch.from_numpy(captioned), model.interface.scale),
        }

    def measure(self) -> dict[str, float]:
        """Caption IR@10 over the held-out captioned photos, in percent."""
        return {"IR@10": caption_recall(self.model, self.held)}


def trained_groups(model: FindModel, lr: float) -> list[dict[str, object]]:
    """Groups for AdamW: the pixel decoder learns at half the rate; no decay on norms, biases and embeddings."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = lr / 2 if name.startswith("vision.") else lr
            decay = 0.05 if parameter.ndim > 1 and "embed" not in name and "query" not in name else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": parameters, "lr": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()]
