"""The published model's wrapper: everything that can be asked of a photo and of texts (find.md §6).

    model = load_published(folder)
    view = model.view(photo)                                     # the heavy step, once a photo
    table = model.class_table(["dog", "grass"])                  # once a list of classes
    model.panoptic(view, table, things={0}), model.semantic(view, table), model.instances(view, table, things={0})
    model.ground(view, ["the dog on the left"])                  # a mask for each expression
    model.ground_interleaved(view, compose([...]), references)   # a mask for each entity, in words or by example
    model.interact(view, clicks)                                 # a mask for each user mask
    model.encode_image(view), model.encode_captions(texts), model.encode_interleaved(sentence, references)

All 100 proposals take part; what an index keeps is another matter (`published.index`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...models.vision.pixel_decoder import Pyramid
from ...records import RGB, BoolMask, Floats
from ..find.model import Sentence
from ..find.outputs import Output, Pass
from ..find.prompts import InterleavePrompt, MaskPrompt, Prompts, SpatialPrompt, VisualTokens
from . import segmentation
from .answers import Example, Found, Interaction, Proposals
from .network import PublishedNetwork
from .preparation import View, padded_size, prepare, prompt_mask, stretched, to_photo
from .retrieval import InterleavedQuery
from .text import Prompter, as_grounding, entity_only

BACKGROUND = "background"
BATCH = 32  # texts of one pass
PROMPT_SEED = 0  # of the point draws for large prompts: the same prompt always gives the same tokens


class PublishedModel:
    """A published checkpoint, ready to answer.

    Args:
        network: in eval mode.
        prompter: its language side.
        device: where the network runs.
        dtype: below float32, the network runs in mixed precision; what it answers is float32 all the same.
        published_protocol: replay the published evaluation bug for bug where this package decides otherwise
            (docs/published-find.md lists the places).
    """

    def __init__(
        self,
        network: PublishedNetwork,
        prompter: Prompter,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        published_protocol: bool = False,
    ) -> None:
        self.network, self.prompter = network, prompter
        self.published_protocol = published_protocol
        self.device, self.dtype = torch.device(device), dtype
        self._blank: Pyramid | None = None

    @property
    def published_protocol(self) -> bool:
        """Whether the published evaluation is replayed; may be switched at any time."""
        return self.prompter.published

    @published_protocol.setter
    def published_protocol(self, wanted: bool) -> None:
        self.prompter.published = wanted

    # --- photos -------------------------------------------------------------------------------

    @torch.inference_mode()
    def view(self, photo: RGB, *, short: int | None = None, long: int | None = None) -> View:
        """Backbone and pixel decoder on one upright photo.

        Args:
            photo: (H, W, 3) uint8.
            short, long: sides that it is resized to; None takes those of the model.
        Raises:
            ShapeError: not such an array.
        """
        sizes = self.network.sizes
        pixels, resized = prepare(photo, short or sizes.short, long or sizes.long)
        padded = int(pixels.shape[2]), int(pixels.shape[3])
        return View(self._pyramid(pixels), (photo.shape[0], photo.shape[1]), resized, padded)

    # --- generic segmentation -----------------------------------------------------------------

    @torch.inference_mode()
    def class_table(self, names: Sequence[str], *, descriptions: bool = False) -> Tensor:
        """(K + 1, D) class vectors, background added as the last one.

        Args:
            descriptions: the names are whole sentences already, and are not put into the template.
        """
        said = self.prompter.descriptions if descriptions else self.prompter.class_names
        batches = [said(some) for some in _batches(names)] + [self.prompter.class_names([BACKGROUND])]
        return torch.cat([self._speak(Prompts(class_name=text))["pred_retrievals_class"][:, 0] for text in batches])

    @torch.inference_mode()
    def example_table(self, examples: Iterable[Example]) -> Tensor:
        """(K + 1, D) class vectors where each class is shown by one exemplar region; background added in words.

        The vector of a class is the semantic vector of the proposal that its region selects.
        """
        rows = [self._example_vector(example)[None] for example in examples]
        return torch.cat([*rows, self.class_table([])])

    @torch.inference_mode()
    def proposals(self, view: View, table: Tensor) -> Proposals:
        """One pass without prompts.

        Args:
            table: as `class_table` gives it.
        """
        out = self._look(view.pyramid, Prompts(), table)
        return Proposals(
            out["pred_retrievals"][0, 0], out["pred_captions"][0], out["pred_logits"][0], out["pred_masks"][0]
        )

    @torch.inference_mode()
    def semantic(self, view: View, table: Tensor) -> Floats:
        """(K, H, W) float32 class scores of every pixel of the photo."""
        found = self.proposals(view, table)
        scores: Floats = segmentation.semantic(found.logits, to_photo(found.masks, view)).cpu().numpy()
        return scores

    @torch.inference_mode()
    def panoptic(self, view: View, table: Tensor, things: Collection[int]) -> segmentation.Panoptic:
        """The panoptic picture at the photo's size; `things` are positions of countable classes in the table."""
        found = self.proposals(view, table)
        return segmentation.panoptic(found.logits, to_photo(found.masks, view), things)

    @torch.inference_mode()
    def instances(
        self, view: View, table: Tensor, things: Collection[int] | None = None
    ) -> list[segmentation.Instance]:
        """At most 100 instances at the photo's size, best first; of the classes `things` only, unless None."""
        found = self.proposals(view, table)
        return segmentation.instances(found.logits, to_photo(found.masks, view), things)

    # --- one mask for each thing asked --------------------------------------------------------

    @torch.inference_mode()
    def ground(self, view: View, expressions: Sequence[str]) -> list[Found]:
        """The proposal that fits each expression best; all expressions share the pass and see each other."""
        if not expressions:
            return []
        out = self._look(view.pyramid, Prompts(grounding=self.prompter.expressions(expressions)))
        cosines = _cosines(out["pred_gtexts"][0], out["pred_grounding_query"][0])
        scores = self.network.predictor.scale * cosines
        return self._found(out["pred_gmasks"][0], scores, cosines, view)

    @torch.inference_mode()
    def ground_interleaved(self, view: View, sentence: Sentence, examples: Sequence[Example | None]) -> list[Found]:
        """A mask of the photo for every entity of a sentence.

        Args:
            sentence: entities in order, visual ones as the placeholder word.
            examples: one an entity, None for text; where its view is this very `view`, its points are sampled in
                this pass, as the published evaluation has it.
        """
        self._check(sentence, examples)
        if not sentence.spans:
            return []
        out = self._look(view.pyramid, Prompts(interleave=self._legend(sentence, examples, view)))
        visual = torch.tensor(sentence.visual, device=self.device)
        pixel = out["pred_imaskembs"][0], out["pred_entity_pixel"][0]
        meaning = out["pred_interleave_objects"][0], out["pred_entity_class"][0]
        scores = torch.where(visual, pixel[0] @ pixel[1].T, meaning[0] @ meaning[1].T)
        cosines = torch.where(visual, _cosines(*pixel), _cosines(*meaning))
        return self._found(out["pred_imasks"][0], scores, cosines, view, stretch=self.published_protocol)

    @torch.inference_mode()
    def interact(
        self,
        view: View,
        masks: Sequence[BoolMask],
        background: Sequence[BoolMask] | None = None,
        previous: Tensor | None = None,
    ) -> Interaction:
        """The mask behind each user mask (clicks, strokes, boxes).

        Args:
            masks: n of (H, W) bool in pixels of the photo; background: as many masks of pixels that are not meant.
            previous: `Interaction.logits` of the round before. With several prompts the memory gets their union
                (the published code fails there).
        """
        yes = torch.stack([prompt_mask(mask, view) for mask in masks]).to(self.device)
        no = None if background is None else [torch.stack([prompt_mask(m, view) for m in background]).to(self.device)]
        memory = None if previous is None else previous.amax(1, keepdim=True)
        index = torch.arange(len(masks), device=self.device)[None]
        out = self._look(view.pyramid, Prompts(spatial=SpatialPrompt(MaskPrompt([yes], no), index, memory)))
        chosen = (out["pred_smaskembs"][0] @ out["pred_pspatials"][0].T).argmax(0)
        logits = out["pred_smasks"][:, chosen]
        full = to_photo(logits[0], view, first="bicubic", antialias=False)
        return Interaction((full > 0).cpu().numpy(), logits)

    # --- retrieval ----------------------------------------------------------------------------

    @torch.inference_mode()
    def encode_image(self, view: View) -> tuple[Floats, Floats]:
        """(D,) image vector and (Q, D) vectors of all proposals, as a gallery keeps them; not of unit length."""
        out = self._look(view.pyramid, Prompts())
        return _array(out["pred_retrievals"][0, 0]), _array(out["pred_captions"][0])

    @torch.inference_mode()
    def encode_captions(self, texts: Sequence[str]) -> Floats:
        """(N, D) vectors of captions by the caption query; they depend on no photo."""
        width = self.network.predictor.config.width
        rows = [
            self._speak(Prompts(caption=self.prompter.captions(some)))["pred_retrievals_lang"][:, 0]
            for some in _batches(texts)
        ]
        return _array(torch.cat(rows)) if rows else np.zeros((0, width), np.float32)

    @torch.inference_mode()
    def encode_sentences(self, texts: Sequence[str]) -> Floats:
        """(N, D) vectors of captions by the legend query (mode `retrieval_interleave_text`)."""
        return np.stack([self.encode_legend(Sentence(text), []) for text in texts])

    def encode_phrase(self, phrase: str) -> Floats:
        """(D,) vector of a text entity by itself."""
        vector: Floats = self.encode_interleaved(Sentence(phrase, ((0, len(phrase)),), (False,)), [None]).entities[0]
        return vector

    @torch.inference_mode()
    def encode_example(self, example: Example) -> Floats:
        """(D,) vector of a visual entity by itself."""
        return _array(self._example_vector(example))

    @torch.inference_mode()
    def encode_legend(self, sentence: Sentence, examples: Sequence[Example | None]) -> Floats:
        """(D,) vector of a whole sentence, without those of its entities."""
        self._check(sentence, examples)
        out = self._speak(Prompts(interleave=self._legend(sentence, examples, None)))
        return _array(out["pred_interleave_image"][0, 0])

    @torch.inference_mode()
    def encode_interleaved(self, sentence: Sentence, examples: Sequence[Example | None]) -> InterleavedQuery:
        """Legend and entity vectors of one sentence (mode `retrieval_interleave_crossquery`).

        A visual entity is encoded on the photo of its example, a text entity on a blank input as an expression, both
        with the tokens that they have in this sentence. The legend depends on no photo but those of the examples.
        """
        self._check(sentence, examples)
        whole = self.prompter.sentence(sentence)
        entities = []
        for number, example in enumerate(examples):
            if example is None:
                asked = Prompts(grounding=as_grounding(entity_only(whole, number, None)))
                entities.append(self._look(self._blank_pyramid(), asked)["pred_grounding_query"][0, 0])
            else:
                entities.append(self._example_vector(example, entity_only(whole, number, None)))
        width = self.network.predictor.config.width
        return InterleavedQuery(
            self.encode_legend(sentence, examples),
            _array(torch.stack(entities)) if entities else np.zeros((0, width), np.float32),
        )

    # --- inside -------------------------------------------------------------------------------

    def _look(self, pyramid: Pyramid, prompts: Prompts, table: Tensor | None = None) -> Output:
        with self._precision():
            made: Pass = self.network.predictor(
                pyramid.levels,
                pyramid.mask_features,
                prompts,
                class_table=None if table is None else table.to(self.device),
                generator=_generator(self.device),
            )
        return _full(made.final)

    def _speak(self, prompts: Prompts) -> Output:
        with self._precision():
            made: Pass = self.network.predictor(None, None, prompts)
        return _full(made.final)

    def _pyramid(self, pixels: Tensor) -> Pyramid:
        with self._precision():
            return self.network.pyramid(pixels.to(self.device))

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def _blank_pyramid(self) -> Pyramid:
        if self._blank is None:
            side = self.network.sizes.short
            self._blank = self._pyramid(torch.zeros((1, 3, *padded_size((side, side)))))
        return self._blank

    def _legend(self, sentence: Sentence, examples: Sequence[Example | None], view: View | None) -> InterleavePrompt:
        """The prompt of a sentence; examples on `view` itself are sampled in the pass, others before it."""
        if not any(sentence.visual):
            return self.prompter.sentence(sentence)
        if view is not None and all(example is None or example.view is view for example in examples):
            return self.prompter.sentence(sentence, self._masks(view, examples))
        return self.prompter.sentence(sentence, self._sampled(examples))

    def _masks(self, view: View, examples: Sequence[Example | None]) -> MaskPrompt:
        nothing = np.zeros(view.resized, bool)
        padded = not self.published_protocol

        def stacked(masks: Sequence[BoolMask]) -> list[Tensor]:
            return [torch.stack([prompt_mask(mask, view, padded=padded) for mask in masks]).to(self.device)]

        return MaskPrompt(
            stacked([nothing if e is None else e.mask for e in examples]),
            stacked([nothing if e is None or e.background is None else e.background for e in examples]),
        )

    def _sampled(self, examples: Sequence[Example | None]) -> VisualTokens:
        """Visual tokens of examples on photos of their own, numbered by entity, in one row."""
        levels: list[list[Tensor]] = [[], [], []]
        index = []
        for number, example in enumerate(examples):
            if example is None:
                continue
            with self._precision():
                tokens = self.network.predictor.sample(
                    example.view.pyramid.levels, self._masks(example.view, [example]), _generator(self.device)
                )
            for kept, level in zip(levels, tokens.levels, strict=True):
                kept.append(level)
            index.append(torch.full_like(tokens.index, number))
        rows = [torch.cat(level, 1) for level in levels]
        numbers = torch.cat(index, 1)
        return VisualTokens((rows[0], rows[1], rows[2]), torch.zeros_like(numbers, dtype=torch.bool), numbers)

    def _example_vector(self, example: Example, entity: InterleavePrompt | None = None) -> Tensor:
        """(D,) semantic vector of the proposal that an example selects on its own photo."""
        if entity is None:
            entity = self.prompter.sentence(compose_example())
        entity.masks = self._masks(example.view, [example])
        out = self._look(example.view.pyramid, Prompts(interleave=entity))
        best = (out["pred_imaskembs"][0] @ out["pred_entity_pixel"][0, 0]).argmax()
        vector: Tensor = out["pred_interleave_objects"][0, best]
        return vector

    def _found(
        self, masks: Tensor, scores: Tensor, cosines: Tensor, view: View, *, stretch: bool = False
    ) -> list[Found]:
        chosen = scores.argmax(0)
        full = stretched(masks[chosen], view) if stretch else to_photo(masks[chosen], view)
        return [
            Found((full[n] > 0).cpu().numpy(), float(scores[best, n]), float(cosines[best, n]))
            for n, best in enumerate(chosen.tolist())
        ]

    def _check(self, sentence: Sentence, examples: Sequence[Example | None]) -> None:
        seen = tuple(example is not None for example in examples)
        if seen != sentence.visual:
            raise InputError(f"examples are given for {seen}, expected one for each visual entity: {sentence.visual}")


def compose_example() -> Sentence:
    """The sentence that is nothing but one visual entity."""
    from ..find.model import compose

    return compose([("", 0, True)])


def _batches(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]


def _cosines(rows: Tensor, others: Tensor) -> Tensor:
    """(Q, E) cosines with the epsilon of the published code."""
    one, other = (x / (x.norm(dim=-1, keepdim=True) + 1e-7) for x in (rows.float(), others.float()))
    found: Tensor = one @ other.T
    return found


def _full(output: Output) -> Output:
    return Output({name: value.float() for name, value in output.values.items()})


def _array(rows: Tensor) -> Floats:
    return rows.float().cpu().numpy()


def _generator(device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(PROMPT_SEED)


__all__ = ["Example", "Found", "Interaction", "Proposals", "PublishedModel", "compose_example"]
