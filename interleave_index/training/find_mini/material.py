"""What the stages of a run are taught with: photos, texts, the space between teachers, and the model that learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...errors import InputError
from ...interface.find_mini.model import MiniModel
from .features import own_places
from .measures import caption_recall
from .samples import Sample, Views, load_samples, load_views, pooled_of, where
from .sentences import Sentences, load_sentences, own_sentences
from .space import OwnSpace, Space

TEACHERS_SHARE = 2.0  # of the teachers' positions to those of a model that goes on learning
ANCHORS = 3072  # texts of a kind drawn for every batch


@dataclass(slots=True)
class Material:
    """Everything that a stage may learn from; what a run does not have is None.

    Attributes:
        model: that the stages make, one after the other.
        train, held: photos to train on, and photos that are only measured with.
        packs, more: the packs of the former, and further ones that only the vision tower and its paths learn from.
        targets: folder of the teacher targets.
        sentences: texts and their vectors.
        space: what stage `space` made; without teachers that of the bundle that the run starts from.
        earlier: the model of the bundle that the run starts from.
        limit: at most so many photos of further packs.
        seed: of everything that is drawn.
    """

    model: MiniModel
    train: Sequence[Sample]
    held: Sequence[Sample] = ()
    packs: Sequence[Path] = ()
    more: Sequence[Path] = ()
    targets: Path | None = None
    sentences: Sentences | None = None
    space: Space | OwnSpace | None = None
    earlier: MiniModel | None = None
    limit: int | None = None
    seed: int = 0

    @property
    def taught(self) -> bool:
        """Whether photos and names have positions in a space."""
        return self.space is not None and self.sentences is not None

    def teachers(self) -> tuple[Path, Sentences]:
        """Folder of the targets, and the sentences.

        Raises:
            InputError: there are none.
        """
        if self.targets is None or self.sentences is None:
            raise InputError("no teacher targets with sentence vectors given; pass --targets")
        return self.targets, self.sentences

    def lessons(self) -> tuple[Sentences, Space]:
        """The sentences, and the space between the teachers that they lie in.

        Raises:
            InputError: there are no teachers, or stage `space` has not been run.
        """
        if not isinstance(self.space, Space):
            raise InputError("no space in the folder of this run; run stage space first")
        return self.teachers()[1], self.space

    def texts(self) -> tuple[Sentences, Space | OwnSpace]:
        """The sentences, and the space that they lie in, be it the teachers' or the model's own.

        Raises:
            InputError: there is neither.
        """
        if self.sentences is None or self.space is None:
            raise InputError("no space that texts lie in; run stage space first, or pass --start a bundle")
        return self.sentences, self.space

    def views(self, *, more: bool) -> tuple[list[Sample], Views]:
        """Photos and views of the training packs, with `more` those of the further packs behind them."""
        targets, _ = self.teachers()
        samples, packs = list(self.train), list(self.packs)
        if more and self.more:
            samples += load_samples(self.more, targets=targets, limit=self.limit)
            packs += self.more
        return samples, load_views(samples, packs, targets)

    def photo_places(self) -> Tensor:
        """(N, D) positions of the training photos; of a model that goes on learning, its own share in them.

        Without teachers they lie where the model, as the run starts from it, has them.
        """
        if isinstance(self.space, OwnSpace):
            return own_places(self.model, self.train)
        sentences, space = self.lessons()
        places = space.of_photos(pooled_of(self.train))
        if sentences.own:  # the model's own vector of a photo and the teachers' are best together
            places = F.normalize(TEACHERS_SHARE * places + own_places(self.model, self.train), dim=1)
        return places

    def held_vectors(self) -> NDArray[np.float16]:
        """(n, S) vectors of the first caption of every captioned held-out photo, in order."""
        first = [sample.captions[0] for sample in self.held if sample.captions]
        if self.sentences is not None and self.sentences.own:
            sentences = own_sentences(self.model, {"caption": first})
        else:
            sentences = load_sentences(self.teachers()[0] / "held-sentences.npz")
        return sentences.vectors[[sentences.place[caption] for caption in first]]

    def mask_names(self) -> tuple[dict[str, int], Tensor]:
        """The number of every name of a mask that has a vector, and the (K, D) positions of those names."""
        sentences, space = self.texts()
        labels = {region.label for sample in self.train for region in sample.regions if region.label}
        names = sorted(label for label in labels if label in sentences.place)
        vectors = sentences.vectors[[sentences.place[name] for name in names]]
        return {name: n for n, name in enumerate(names)}, space.of_texts(vectors)


class Anchors:
    """Where the shared space has photos or views, and texts to measure nearness by.

    Args:
        places: (N, D) unit vectors of the views in the space, which the tower learns.
    """

    def __init__(self, material: Material, places: Tensor) -> None:
        sentences, space = material.texts()
        self.places = places
        kinds = sentences.of_kind("caption"), sentences.of_kind("name", "lemma")
        self.banks = [space.of_texts(sentences.vectors[rows]) for rows in kinds]
        self.scale = float(space.log_scale.exp())
        self.held_rows = where(material.held, lambda sample: sample.captions)
        self.held_texts = space.of_texts(material.held_vectors())

    def losses(self, predicted: Tensor, views: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Tensor]:
        """Cosine of (B, D) positions with the true ones, and divergence of how near each is to drawn texts."""
        true = self.places[torch.as_tensor(views)]
        divergence = predicted.new_zeros(())
        for bank in self.banks:
            texts = bank[torch.as_tensor(rng.integers(0, len(bank), ANCHORS))].T * self.scale
            true_nearness, nearness = F.log_softmax(true @ texts, 1), F.log_softmax(predicted @ texts, 1)
            divergence = divergence + F.kl_div(nearness, true_nearness, log_target=True, reduction="batchmean")
        return {"place": 4 * (1 - (predicted * true).sum(1)).mean(), "near": divergence}

    def recall(self, held_places: Tensor) -> float:
        """Caption IR@10 of the positions of the held-out photos, in percent."""
        return caption_recall(self.held_texts, held_places[torch.as_tensor(self.held_rows)])
