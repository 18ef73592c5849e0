"""find-mini behind the interface protocol: its preparation, which masks become regions, and how it reads queries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...geometry import fit
from ...models.vision.pixel_decoder import Pyramid
from ...models.vision.tower import SQUARE, multiplies_bfloat16, squashed, to_side
from ...records import RGB, BoolMask, Floats, ResolvedPart, Size, Space
from ..find import tasks
from ..find.adapter import SAME_IOU, SMALLEST_AREA, FindAdapter, Regions, View, check_photo, to_array
from ..find.nms import soft_nms
from ..find.prompter import EXAMPLE, Sentence
from ..find.prompts import Prompts, VisualTokens
from ..find.tasks import Proposals, Reference, References
from ..protocol import Capabilities, TextReading
from .blend import blend
from .bundle import WORDS, load_bundle
from .caption_expansion import EXPANSION_WEIGHT, with_names
from .model import MiniModel
from .names import means_nothing, name_of
from .region_scorer import RegionScorer, region_features
from .texts import NAME_TEMPLATES, ONE_TEMPLATE, encode_texts
from .words import KnownWords, without

MOST_REGIONS = 32
SIGMA = 0.25  # of the decay of a mask's score by its IoU with better ones; half that of Soft-NMS
STORED_LONG_SIDE = 256  # of masks; the network's own grid is much coarser
BATCH = 16
TEXTS_KEPT = 256  # vectors of texts that were read by themselves
LATIN = re.compile(r"[A-Za-zÀ-ɏ]")  # a letter of the script that the text tower was trained with


class FindMini(FindAdapter):
    """The bundled model, or one of the same kind trained by the user.

    Args:
        folder: a bundle, see `find_mini.bundle`.
        device: where the network runs, as torch names it.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        bundle = load_bundle(folder)
        bundle.model.vision.backbone.fold_norms()
        if device == "cpu" and multiplies_bfloat16():  # vectors of photos are the same to a cosine of 0.999
            bundle.model.halve()
        self.network: MiniModel = bundle.model.to(device)
        self._device, self._side = torch.device(device), bundle.model.config.side
        self._vocabulary = replace(bundle.vocabulary, vectors=bundle.vocabulary.vectors.to(device))
        self._scorer = RegionScorer(bundle.scorer.weights.to(device))
        self._known_words = KnownWords.from_file(folder / WORDS) if (folder / WORDS).is_file() else None
        space = Space(
            interface=str(bundle.config.get("name", folder.name)),
            checkpoint=bundle.checkpoint,
            preprocessing=f"squash {SQUARE}, then bilinear {self._side}",
            dim=bundle.model.interface.config.width,
        )
        super().__init__(self.network, space, bundle.calibration, Capabilities(photos_at_a_time=BATCH, device=device))
        # A query of plain text asks for one text three times: as a sentence, and as the entity that is grounded.
        self._one_caption = lru_cache(TEXTS_KEPT)(lambda text: self._read_captions([text])[0])

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Without gradients, and with everything made on the way on the network's own device."""
        with torch.inference_mode(), nullcontext() if self._device.type == "cpu" else self._device:
            yield

    # --- photos -------------------------------------------------------------------------------

    def _views(self, photos: Sequence[RGB]) -> tuple[Pyramid, list[View]]:
        """Photos squashed to a square, through one that is larger as in training."""
        side = self._side
        sizes = [check_photo(photo) for photo in photos]
        squares = np.stack([squashed(photo, SQUARE) for photo in photos])
        pixels = torch.from_numpy(squares).permute(0, 3, 1, 2).to(self._device, torch.float32)
        pyramid = self.network.pyramid(to_side(pixels, side))
        views = [View(_one_photo(pyramid, row), size, (side, side), (side, side)) for row, size in enumerate(sizes)]
        return pyramid, views

    def _select_regions(self, view: View, proposals: Proposals, row: int) -> Regions:
        """The best proposals, first what differs from those before it."""
        logits = proposals.masks[row]
        quality = to_array(self._scorer(region_features(proposals, row)))
        kept, scores = soft_nms(
            logits, quality, most=MOST_REGIONS, same_iou=SAME_IOU, smallest=SMALLEST_AREA, sigma=SIGMA
        )
        masks = upsampled(logits[kept], fit(view.photo, STORED_LONG_SIDE))
        visible = np.flatnonzero(masks.any((1, 2)))
        numbers = np.array(kept, np.int64)[visible]
        vectors = F.normalize(proposals.vectors[row, numbers], dim=-1)
        return Regions(masks[visible], to_array(vectors), np.array(scores, np.float32)[visible])

    # --- texts --------------------------------------------------------------------------------

    def reading(self, text: str) -> TextReading:
        """What the model cannot read of a text: words that training never met, and what lies beyond its last token."""
        unknown, readable = self._unknown(text), self._readable(text)
        cut = readable[self.network.text.end_of(readable) :].strip()
        if self._known_words is None:
            return TextReading(cut=cut)
        misread = tuple(word for word in unknown if LATIN.search(word))
        return TextReading(
            unknown=misread,
            left_out=tuple(word for word in unknown if word not in misread),
            near={word: self._known_words.near(word) for word in misread},
            cut=cut,
            nothing=means_nothing(without(text, unknown)),
            empty=means_nothing(readable),
        )

    def _unknown(self, text: str) -> tuple[str, ...]:
        """Words of a text that the model does not know; those around a name that mean nothing are no loss."""
        if self._known_words is None:
            return ()
        return tuple(word for word in self._known_words.unknown(text) if not means_nothing(word))

    def _readable(self, text: str) -> str:
        """A text without other scripts and signs, which cannot be read. Unknown words are read by their pieces."""
        unreadable = [word for word in self._unknown(text) if not LATIN.search(word)]
        return without(text, unreadable) if unreadable else text

    def _encode_captions(self, texts: Sequence[str]) -> Floats:
        """A text that names a thing is read by that name alone.

        A text without meaning is the mean caption, which is not of unit length: with that taken off it is no evidence
        of anything.
        """
        if len(texts) == 1:
            one: Floats = self._one_caption(texts[0])
            return one[None].copy()
        return self._read_captions(texts)

    def encode_stored_phrases(self, phrases: Sequence[str]) -> Floats:
        """(N, D); a name is read in one template, which tells the phrases of a passage apart as well as three do."""
        with self._running():
            return self._read_captions(phrases, ONE_TEMPLATE)

    def _read_captions(self, texts: Sequence[str], templates: Sequence[str] = NAME_TEMPLATES) -> Floats:
        """(N, D) of several texts, all read anew; each is read once, however many rows it has."""
        vectors = np.tile(self.calibration.captions.mean(0).astype(np.float32), (len(texts), 1))
        names: dict[int, str] = {}
        singular = None if self._known_words is None else self._known_words.singular
        for row, text in enumerate(texts):
            readable = self._readable(text)
            if not means_nothing(readable):
                names[row] = name_of(readable, singular) or readable
        if names:
            read = {name: row for row, name in enumerate(dict.fromkeys(names.values()))}
            made = to_array(encode_texts(self.network, list(read), templates))
            vectors[list(names)] = made[[read[name] for name in names.values()]]
        return vectors

    _encode_phrases = _encode_captions
    reads_phrases_as_captions = True

    # --- pictures in queries --------------------------------------------------------------------

    def _reference(self, part: ResolvedPart, view: View) -> Reference:
        height, width = view.pyramid.mask_features.shape[-2:]
        grid = height, width
        mask = np.ones(grid, bool) if part.mask is None else squashed_mask(part.mask, grid)
        reference = Reference(view.pyramid, torch.as_tensor(mask, device=self._device))
        if part.background is None:
            return reference
        background = squashed_mask(part.background, grid)
        return replace(reference, background=torch.as_tensor(background, device=self._device))

    def _encode_example(self, reference: Reference, *, in_mean: bool = False) -> Floats:
        """The entity's own vector, which needs no proposals; but in means drawn towards its likely names."""
        tokens = tasks.sample_references(self.network, [reference])
        entities = tasks.encode_entities(self.network, [EXAMPLE], tokens)[0]
        vectors = F.normalize(entities, dim=-1) if in_mean else self._named(entities, (True,), tokens)
        return to_array(vectors[0])

    def _named(self, entities: Tensor, visual: Sequence[bool], tokens: VisualTokens | None) -> Tensor:
        """(E, D) unit vectors of (E, D) entities; those of pictures are drawn towards their likely names."""
        vectors = F.normalize(entities, dim=-1)
        if tokens is not None and tokens.vectors is not None:
            rows = [row for row, is_visual in enumerate(visual) if is_visual]
            vectors[rows] = self._vocabulary.named(vectors[rows], tokens.vectors[0, rows])
        return vectors

    def _encode_legend(self, sentence: Sentence, references: References) -> Floats:
        """A sentence with pictures: mostly what its likely captions mean, else FIND's legend."""
        tokens = tasks.sample_references(self.network, references)
        if self._vocabulary.names and tokens is not None and tokens.vectors is not None:
            return to_array(self._expanded(sentence, tokens.vectors[0]))
        return to_array(F.normalize(tasks.encode_legend(self.network, sentence, tokens), dim=-1))

    def _expanded(self, sentence: Sentence, shown: Tensor) -> Tensor:
        """(D,) of the sentence without its pictures and of its likely captions with names in their place."""
        captions, weights = self._vocabulary.captions(sentence, shown)
        without_pictures = with_names(sentence, [""] * sum(sentence.visual))
        *vectors, silent = encode_texts(self.network, [*captions, without_pictures])
        expansion = F.normalize(weights @ torch.stack(vectors), dim=-1)
        return F.normalize(silent + EXPANSION_WEIGHT * expansion, dim=-1)

    # --- grounding ----------------------------------------------------------------------------

    def _ground_entities(
        self,
        view: View,
        sentence: Sentence,
        references: References,
        entities: Sequence[ResolvedPart],
    ) -> list[tuple[BoolMask, float]]:
        """Text entities are compared by the vectors that a search compares; scores are those of stored regions."""
        tokens = tasks.sample_references(self.network, references)
        prompts = Prompts(interleave=self.network.prompter.sentences([sentence], tokens))
        output = tasks.ask(self.network, view.pyramid, prompts)
        vectors = self._named(output["pred_entity_class"][0], sentence.visual, tokens)
        of_text = [number for number, part in enumerate(entities) if part.kind == "text"]
        phrases = self._encode_phrases([entities[number].label for number in of_text])
        vectors[of_text] = torch.as_tensor(phrases, device=vectors.device)
        output["pred_entity_class"] = vectors[None]
        scores = tasks.entity_scores(output, [sentence.visual], self.network.interface.scale)
        mean = torch.as_tensor(self.calibration.captions.mean(0), device=vectors.device)
        objects = F.normalize(output["pred_interleave_objects"][0], dim=-1)
        cosines = objects @ (F.normalize(vectors, dim=-1) - mean).T
        best = scores[0].argmax(0)
        answers = []
        for number, chance in enumerate(blend(output["pred_imasks"], scores, output["pred_iquality"])[0]):
            mask = upsampled((chance - 0.5)[None], view.photo)[0]
            answers.append((mask, float(cosines[best[number], number])))
        return answers[: len(sentence.spans)]


def _one_photo(pyramid: Pyramid, row: int) -> Pyramid:
    """The slice of a pyramid that is one of its photos; shares its memory."""
    one = slice(row, row + 1)
    deep = None if pyramid.deep is None else pyramid.deep[one]
    levels = tuple(level[one] for level in pyramid.levels)
    return Pyramid(pyramid.mask_features[one], pyramid.encoded[one], levels, deep)


def squashed_mask(mask: BoolMask, grid: Size) -> BoolMask:
    """Cells of the grid that the mask mostly covers; a mask too small for that keeps every cell it touches."""
    coverage = F.adaptive_avg_pool2d(torch.from_numpy(mask.astype(np.float32))[None], grid)[0].numpy()
    mostly: BoolMask = coverage > 0.5
    return mostly if mostly.any() else coverage > 0


def upsampled(logits: Tensor, size: Size) -> BoolMask:
    """(n, h, w) logits to (n, H, W) bool by bilinear interpolation; in memory column by column, as run lengths go."""
    if not len(logits):
        return np.zeros((0, *size), bool)
    grown = F.interpolate(logits.transpose(1, 2)[None], size=size[::-1], mode="bilinear", align_corners=False)[0]
    masks: BoolMask = (grown > 0).cpu().numpy().transpose(0, 2, 1)
    return masks
