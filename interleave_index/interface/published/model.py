"""The published model: everything that can be asked of a photo and of texts (docs/find-interface.md, section 6).

    model = load_published(folder)
    view = model.view(photo)                                     # the heavy step, once a photo
    table = model.class_table(["dog", "grass"])                  # once a list of classes
    segment(*model.logits(view, table), things={0})              # generic segmentation, see `segmentation`
    model.ground(view, ["the dog on the left"])                  # a mask for each expression
    model.ground_interleaved(view, compose([...]), examples)     # a mask for each entity, in words or by example
    model.interact(view, clicks)                                 # a mask for each user mask
    model.encode_image(view), model.encode_captions(texts), model.encode_interleaved(sentence, examples)

All 100 proposals take part; which of them an index keeps is decided in `published.interface`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...models.vision.pixel_decoder import Pyramid
from ...records import BoolMask, Floats, Size
from ..find import tasks
from ..find.adapter import View, to_array
from ..find.network import FindInterface
from ..find.outputs import Output, Pass
from ..find.prompter import Sentence
from ..find.prompts import MaskPrompt, Prompts, VisualTokens
from ..find.tasks import Grounding, Proposals, Reference
from .answers import Example, Interaction, InterleavedQuery, MaskAnswer, mask_answers
from .network import FindNetwork
from .preparation import padded_size, prompt_mask, stretched, to_photo
from .seeing import SeeingModel
from .text import PublishedPrompter, as_grounding, entity_only

BACKGROUND = "background"
BATCH = 32  # texts of one pass


class PublishedModel(SeeingModel[FindNetwork]):
    """A published checkpoint, ready to answer: a `find.model.FindModel`.

    Args:
        network: in eval mode.
        prompter: its language side.
        device: where the network runs.
        dtype: below float32, the network runs in mixed precision; what it answers is float32 all the same.
    """

    def __init__(
        self,
        network: FindNetwork,
        prompter: PublishedPrompter,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(network, device=device, dtype=dtype)
        self.prompter = prompter
        self._blank: Pyramid | None = None

    @property
    def published_protocol(self) -> bool:
        """Whether the published evaluation is replayed bug for bug; may be switched at any time.

        This package decides otherwise in some places, see docs/published-find.md.
        """
        return self.prompter.published

    @published_protocol.setter
    def published_protocol(self, wanted: bool) -> None:
        self.prompter.published = wanted

    # --- what the tasks ask ---------------------------------------------------------------------

    @property
    def interface(self) -> FindInterface:
        """See `FindModel.interface`."""
        return self.network.predictor

    def see(self, pyramid: Pyramid, prompts: Prompts, **options: Any) -> Pass:
        """See `FindModel.see`."""
        with self._precision():
            made: Pass = self.interface(pyramid.levels, pyramid.mask_features, prompts, **options)
        return made

    def read(self, prompts: Prompts) -> Output:
        """See `FindModel.read`."""
        with self._precision():
            made: Pass = self.interface(None, None, prompts)
        return made.final

    def sample(self, pyramid: Pyramid, masks: MaskPrompt, generator: torch.Generator | None = None) -> VisualTokens:
        """See `FindModel.sample`."""
        with self._precision():
            return self.interface.sample(pyramid.levels, masks, generator)

    # --- generic segmentation -----------------------------------------------------------------

    @torch.inference_mode()
    def class_table(self, names: Sequence[str], *, descriptions: bool = False) -> Tensor:
        """(K + 1, D) class vectors, background added as the last one.

        Args:
            descriptions: the names are whole sentences already, and are not put into the template.
        """
        tokens = self.prompter.descriptions if descriptions else self.prompter.class_names
        batches = [tokens(batch) for batch in _batches(names)] + [self.prompter.class_names([BACKGROUND])]
        rows = [self.read(Prompts(class_name=batch))["pred_retrievals_class"][:, 0] for batch in batches]
        return torch.cat(rows).float()

    @torch.inference_mode()
    def encode_examples(self, examples: Iterable[Example]) -> Tensor:
        """(n, D): of each the semantic vector of the proposal that its prompt selects, as a click does."""
        return torch.stack([tasks.encode_shown(self, self.reference(example)) for example in examples])

    @torch.inference_mode()
    def example_table(self, classes: Iterable[Iterable[Example]]) -> Tensor:
        """(K + 1, D) class vectors where classes are shown; background added in words.

        The vector of a class is the mean of those of its examples.

        Args:
            classes: the examples of each class, one at least; read one by one, so that they may be made on the way.
        """
        rows = [self.encode_examples(examples).mean(0, keepdim=True) for examples in classes]
        return torch.cat([*rows, self.class_table([])])

    @torch.inference_mode()
    def proposals(self, view: View, table: Tensor) -> Proposals:
        """One pass without prompts, a batch of one.

        Args:
            table: as `class_table` gives it.
        """
        return tasks.propose(self, view.pyramid, table.to(self.device))

    @torch.inference_mode()
    def logits(self, view: View, table: Tensor, *, size: Size | None = None) -> tuple[Tensor, Tensor]:
        """(Q, K + 1) class logits and (Q, H, W) mask logits of all proposals.

        Args:
            size: (height, width) of the masks, in the photo's aspect; None takes the photo's.
        """
        proposals = self.proposals(view, table)
        if proposals.class_logits is None:
            raise TypeError("a class table gives class logits")
        return proposals.class_logits[0], to_photo(proposals.masks[0], view, size=size)

    # --- one mask for each thing asked --------------------------------------------------------

    @torch.inference_mode()
    def ground(self, view: View, expressions: Sequence[str]) -> list[MaskAnswer]:
        """The proposal that fits each expression best; all expressions share the pass and see each other."""
        if not expressions:
            return []
        return self.answers(tasks.ground_expressions(self, view.pyramid, expressions), view)

    @torch.inference_mode()
    def ground_interleaved(
        self, view: View, sentence: Sentence, examples: Sequence[Example | None]
    ) -> list[MaskAnswer]:
        """A mask of the photo for every entity of a sentence.

        Args:
            sentence: entities in order, visual ones as the placeholder word.
            examples: one an entity, None for text; where its view is this very `view`, its points are sampled in
                this pass, as the published evaluation has it.
        """
        references = self._references(sentence, examples)
        if not references:
            return []
        own = [example.view is view for example in examples if example is not None]
        visual = tasks.mask_prompt(references) if own and all(own) else tasks.sample_references(self, references)
        grounding = tasks.ground_interleaved(self, view.pyramid, sentence, visual)
        return self.answers(grounding, view, stretch=self.published_protocol)

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
            previous: `Interaction.logits` of the round before.
        """
        logits = tasks.interact(self, view.pyramid, self.marks(view, masks, background), previous)
        full = to_photo(logits[0], view, first="bicubic", second="bicubic")
        return Interaction((full > 0).cpu().numpy(), logits)

    def answers(self, grounding: Grounding, view: View, *, stretch: bool = False) -> list[MaskAnswer]:
        """The mask of the best proposal for each thing asked; `stretch` as the published interleaved grounding does."""
        chosen = grounding.scores.argmax(0)
        masks = grounding.masks[chosen]
        full = stretched(masks, view) if stretch else to_photo(masks, view)
        scores, cosines = (rows.gather(0, chosen[None])[0].tolist() for rows in (grounding.scores, grounding.cosines))
        return mask_answers(full, scores, cosines)

    # --- retrieval ----------------------------------------------------------------------------

    @torch.inference_mode()
    def encode_image(self, view: View) -> tuple[Floats, Floats]:
        """(D,) image vector and (Q, D) vectors of all proposals, as a gallery keeps them; not of unit length."""
        proposals = tasks.propose(self, view.pyramid)
        return to_array(proposals.image[0]), to_array(proposals.vectors[0])

    @torch.inference_mode()
    def encode_captions(self, texts: Sequence[str]) -> Floats:
        """(N, D) vectors of captions by the caption query; they depend on no photo."""
        rows = [to_array(tasks.encode_captions(self, batch)) for batch in _batches(texts)]
        return np.concatenate(rows) if rows else np.zeros((0, self.interface.config.width), np.float32)

    def encode_phrase(self, phrase: str) -> Floats:
        """(D,) vector of a text entity by itself."""
        vector: Floats = self.encode_interleaved(Sentence(phrase, ((0, len(phrase)),), (False,)), [None]).entities[0]
        return vector

    @torch.inference_mode()
    def encode_interleaved(self, sentence: Sentence, examples: Sequence[Example | None]) -> InterleavedQuery:
        """Legend and entity vectors of one sentence (mode `retrieval_interleave_crossquery`).

        A visual entity is encoded on the photo of its example, a text entity on a blank input as an expression, both
        with the tokens that they have in this sentence. The legend depends on no photo but those of the examples.
        """
        references = self._references(sentence, examples)
        prompt = self.prompter.sentences([sentence])
        entities = np.zeros((len(references), self.interface.config.width), np.float32)
        for number, reference in enumerate(references):
            entity = entity_only(prompt, number)
            if reference is None:
                output = tasks.ask(self, self._blank_pyramid(), Prompts(grounding=as_grounding(entity)))
                entities[number] = to_array(output["pred_grounding_query"][0, 0])
            else:
                entities[number] = to_array(tasks.encode_example(self, reference, entity))
        legend = tasks.encode_legend(self, sentence, tasks.sample_references(self, references))
        return InterleavedQuery(to_array(legend), entities)

    # --- inside -------------------------------------------------------------------------------

    def _blank_pyramid(self) -> Pyramid:
        if self._blank is None:
            side = self.network.short
            self._blank = self._pyramid(torch.zeros((1, 3, *padded_size((side, side), self.network.stride))))
        return self._blank

    def reference(self, example: Example) -> Reference:
        """An example in pixels of the network's input."""
        padded = not self.published_protocol
        mask = prompt_mask(example.mask, example.view, padded=padded).to(self.device)
        if example.background is None:
            return Reference(example.view.pyramid, mask)
        background = prompt_mask(example.background, example.view, padded=padded).to(self.device)
        return Reference(example.view.pyramid, mask, background)

    def _references(self, sentence: Sentence, examples: Sequence[Example | None]) -> list[Reference | None]:
        given = tuple(example is not None for example in examples)
        if given != sentence.visual:
            raise InputError(f"examples are given for {given}, expected one for each visual entity: {sentence.visual}")
        return [None if example is None else self.reference(example) for example in examples]


def _batches(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
