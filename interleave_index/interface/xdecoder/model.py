"""X-Decoder and SEEM: everything that can be asked of a photo and of texts.

    model = load_family(folder)                              # an XDecoderModel or a SeemModel
    view = model.view(photo)                                 # the heavy step, once a photo
    table = model.class_table(["dog", "grass"])
    segment(*model.logits(view, table), things={0})          # generic segmentation, see `published.segmentation`
    model.ground(view, ["the dog on the left"])              # a mask for each expression
    model.encode_image(photo), model.encode_captions(texts)  # X-Decoder
    model.caption(view)                                      # X-Decoder
    model.interact(view, clicks)                             # SEEM: a mask for each user mask
    model.find_example(view, other_view, mask)               # SEEM v0 and demo: a thing shown in another photo

Source: docs/xdecoder.md. What the released code draws at random is drawn with a seed: the same question always gets the
same answer.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import InputError
from ...models.vision.pixel_decoder import Pyramid
from ...records import RGB, BoolMask, Floats, Size
from ..find.adapter import View, to_array
from ..find.outputs import Output
from ..find.prompts import MaskPrompt, TextTokens
from ..find.state import cosines
from ..find.tasks import PROMPT_SEED, quality_of
from ..published.answers import Interaction, MaskAnswer, mask_answers
from ..published.preparation import Grow, prompt_mask, to_photo
from ..published.seeing import SeeingModel
from .network import FamilyNetwork
from .seem import DrawnTokens, SeemDecoder
from .text import TextSide
from .xdecoder import XDecoder

SQUEEZED: Size = (224, 224)  # what photos are brought to for retrieval, whatever their aspect
CAPTION_STEPS = 50
STRIDE = 4  # of masks


class FamilyModel(SeeingModel[FamilyNetwork]):
    """What X-Decoder and SEEM are asked alike.

    Args:
        network: in eval mode.
        texts: its language side.
        device, dtype: see `SeeingModel`.
    """

    grow: Grow  # how mask logits come from stride 4 to the pixels of the input

    def __init__(
        self, network: FamilyNetwork, texts: TextSide, *, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__(network, device=device, dtype=dtype)
        self.texts = texts

    @property
    def dim(self) -> int:
        """C."""
        return self.network.sizes.interface.width

    @property
    def one_by_one(self) -> bool:
        """Whether each expression has a pass of its own."""
        return False

    def class_table(
        self,
        names: Sequence[str],
        *,
        descriptions: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Tensor:
        """(K + 1, C) class vectors, background added as the last one; see `TextSide.class_table`."""
        return self.texts.class_table(names, descriptions=descriptions, progress=progress)

    @torch.inference_mode()
    def logits(self, view: View, table: Tensor, *, size: Size | None = None) -> tuple[Tensor, Tensor]:
        """(Q, K + 1) class logits and (Q, H, W) mask logits of all queries; `size` instead of the photo's."""
        output = self._generic(view.pyramid, table)
        return output["pred_logits"][0], to_photo(output["pred_masks"][0], view, size=size, first=self.grow)

    @torch.inference_mode()
    def everything(self, view: View, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(Q, h, w) mask logits, (Q,) quality from 0 to 1, and (Q, D) vectors of all queries that stand for things."""
        output = self._generic(view.pyramid, table)
        masks, logits, vectors = (
            output[name][0, : self.network.sizes.interface.objects]
            for name in ("pred_masks", "pred_logits", "pred_captions")
        )
        return masks, quality_of(logits, masks), vectors

    def _generic(self, pyramid: Pyramid, table: Tensor | None) -> Output:
        """A pass without prompts, float32."""
        return self._ask(pyramid, class_table=None if table is None else table.to(self.device))

    def _ask(self, pyramid: Pyramid, **prompts: Any) -> Output:
        """A pass of the decoder, float32."""
        with self._precision():
            made = self.network.predictor(pyramid.levels, pyramid.mask_features, **prompts)
        return {name: value.float() for name, value in made.final.items()}

    @torch.inference_mode()
    def ground(self, view: View, expressions: Sequence[str]) -> list[MaskAnswer]:
        """The query that fits each expression best; all expressions share the pass and see each other.

        In SEEM's demo, where words act on all queries, each expression has a pass of its own.
        """
        passes = [[text] for text in expressions] if self.one_by_one else [expressions] if expressions else []
        return [answer for texts in passes for answer in self.answers(view, *self._scored(view, texts))]

    @torch.inference_mode()
    def phrase_map(self, view: View, phrase: str) -> Floats:
        """(h, w) float32, 0 to 1, the mask of a phrase over the photo, on the grid of stride 4."""
        masks, similarity = self._scored(view, [phrase])
        height, width = (max(1, round(side / STRIDE)) for side in view.resized)
        return to_array(masks[int(similarity[:, 0].argmax()), :height, :width].sigmoid())

    @abstractmethod
    def _scored(self, view: View, expressions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(Q, h, w) mask logits in one pass with E expressions, and their (Q, E) cosines with them."""

    def answers(self, view: View, masks: Tensor, similarity: Tensor) -> list[MaskAnswer]:
        """The best of (Q, h, w) mask logits for each of E things by their (Q, E) cosines."""
        best = similarity.argmax(0)
        scale = float(self.network.predictor.scale)
        found = similarity.gather(0, best[None])[0].tolist()
        return mask_answers(to_photo(masks[best], view, first=self.grow), [scale * one for one in found], found)


class XDecoderModel(FamilyModel):
    """A released X-Decoder, ready to answer. Vectors of photos have two halves, see `encode_image`."""

    grow: Grow = "smooth"

    @property
    def decoder(self) -> XDecoder:
        """The decoder."""
        found = self.network.predictor
        if not isinstance(found, XDecoder):
            raise TypeError(f"the decoder is a {type(found).__name__}, expected that of X-Decoder")
        return found

    @property
    def dim(self) -> int:
        """Of its vectors: twice the width of the decoder."""
        return 2 * super().dim

    def everything(self, view: View, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `FamilyModel`; vectors are as those of texts."""
        masks, quality, vectors = super().everything(view, table)
        return masks, quality, doubled(vectors)

    @torch.inference_mode()
    def encode_image(self, photo: RGB) -> Floats:
        """(2 C,) unit vector of a photo as retrieval has it: squeezed to a square.

        Its halves are the vector of the class query and that of the backbone, both of the same length; those of a text
        are the same twice. So the cosine with a text is the mean of the two that the published retrieval takes.
        """
        network = self.network
        pixels, _ = self._prepared(photo, network.short, network.long, squeezed=SQUEEZED)
        with self._precision():
            pyramid, whole = network.pyramid_and_whole(pixels)
        if whole is None:
            raise TypeError("the network has no projection of its backbone")
        image = self._generic(pyramid, None)["pred_captions"][0, -1]
        return to_array(torch.cat([F.normalize(image, dim=-1), F.normalize(whole[0].float(), dim=-1)]) / 2**0.5)

    @torch.inference_mode()
    def encode_captions(self, texts: Sequence[str]) -> Floats:
        """(N, 2 C) unit vectors of texts."""
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        return to_array(doubled(self.texts.vectors(texts)))

    def encode_phrase(self, phrase: str) -> Floats:
        """(2 C,) unit vector of a text entity: a text like any other."""
        vector: Floats = self.encode_captions([phrase])[0]
        return vector

    def _scored(self, view: View, expressions: Sequence[str]) -> tuple[Tensor, Tensor]:
        tokens, whole = self.texts.expressions(expressions)
        output = self._ask(view.pyramid, text=tokens)
        copies = slice(self.network.sizes.interface.queries, None)
        masks, vectors = (output[name][0, copies] for name in ("pred_masks", "pred_captions"))
        return masks, cosines(vectors, whole.float())

    @torch.inference_mode()
    def caption(self, view: View, *, outside: BoolMask | None = None, steps: int = CAPTION_STEPS) -> str:
        """A sentence about a photo.

        Args:
            outside: (H, W) bool of the photo, pixels that it must not look at, or None.
            steps: tokens at most.
        """
        blocked = None if outside is None else prompt_mask(outside, view)[None].to(self.device)
        start, _ = self.texts.ends
        pyramid = view.pyramid
        with self._precision():
            ids, _ = self.decoder.caption(
                pyramid.levels,
                pyramid.mask_features,
                self.texts.read,
                self.texts.words,
                start=start,
                steps=steps,
                outside=blocked,
            )
        return self.texts.sentence(ids[0].tolist())


class SeemModel(FamilyModel):
    """A released SEEM, ready to answer."""

    grow: Grow = "bilinear"

    @property
    def decoder(self) -> SeemDecoder:
        """The decoder."""
        found = self.network.predictor
        if not isinstance(found, SeemDecoder):
            raise TypeError(f"the decoder is a {type(found).__name__}, expected that of SEEM")
        return found

    @property
    def version(self) -> str:
        """Which SEEM it is."""
        return str(self.network.sizes.interface.version)

    @property
    def one_by_one(self) -> bool:
        """Whether each expression has a pass of its own."""
        return self.version == "demo"

    def _scored(self, view: View, expressions: Sequence[str]) -> tuple[Tensor, Tensor]:
        tokens, whole = self.texts.expressions(expressions)
        prompt = TextTokens(tokens, torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device))
        output = self._ask(view.pyramid, text=prompt)
        masks, vectors = ("pred_masks", "pred_captions") if self.version == "demo" else ("pred_gmasks", "pred_gtexts")
        return output[masks][0], cosines(output[vectors][0], whole.float())

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
            previous: `Interaction.logits` of the round before; the demo has no memory and leaves it aside.
        """
        if self.version == "v1":
            logits = self._interact_together(view, self.marks(view, masks, background), previous)
        else:
            rounds = []
            for number in range(len(masks)):
                own = slice(number, number + 1)
                marks = self.marks(view, masks[own], None if background is None else background[own])
                before = None if previous is None else previous[:, own]
                rounds.append(self._answer(view, self._sample(view, marks), previous=before))
            logits = torch.cat(rounds, 1)
        full = to_photo(logits[0], view, second="bilinear")
        return Interaction((full.sigmoid() > 0.5).cpu().numpy(), logits)

    def _interact_together(self, view: View, marks: MaskPrompt, previous: Tensor | None) -> Tensor:
        """SEEM v1: all prompts of a photo in one pass."""
        draws = self.decoder.draws(len(marks.positive[0]), torch.Generator().manual_seed(PROMPT_SEED)).to(self.device)
        output = self._ask(view.pyramid, drawn=self._sample(view, marks), previous=previous, draws=draws)
        return self.decoder.picked(output)

    @torch.inference_mode()
    def find_example(self, view: View, other: View, mask: BoolMask, background: BoolMask | None = None) -> MaskAnswer:
        """The mask of what a part of another photo shows; its score is the product that it was chosen by.

        Args:
            other: the photo that the part is in.
            mask: (H, W) bool of it, in pixels of the other photo; background: pixels that are not meant.
        Raises:
            InputError: SEEM v1, whose released code cannot be asked for this.
        """
        if self.version == "v1":
            raise InputError(
                "SEEM v1 finds nothing that is shown in another photo; name the thing in words, or use a SEEM imported "
                "with --seem-version v0"
            )
        shown = self._sample(other, self.marks(other, [mask], None if background is None else [background]))
        logits, score, cosine = self._chosen(self._ask(view.pyramid, shown=shown), shown)
        full = to_photo(logits[:, 0], view, second="bilinear")
        return MaskAnswer((full[0].sigmoid() > 0.5).cpu().numpy(), score, cosine)

    def _answer(self, view: View, drawn: DrawnTokens, previous: Tensor | None = None) -> Tensor:
        """(1, 1, h, w) logits for one prompt on the photo itself (v0, demo)."""
        if self.version == "demo":
            previous = None
        return self._chosen(self._ask(view.pyramid, drawn=drawn, previous=previous), drawn)[0]

    def _chosen(self, output: Output, prompt: DrawnTokens) -> tuple[Tensor, float, float]:
        """(1, 1, h, w) logits that answer one prompt (v0, demo), the product that chose them, and its cosine."""
        masks, pixels = ("pred_masks", "pred_maskembs") if self.version == "demo" else ("pred_smasks", "pred_smaskembs")
        rows, wanted = output[pixels][0], prompt.positive[0].float()
        fit = (rows @ wanted.T)[:, 0]
        best = int(fit.argmax())
        cosine = float(F.cosine_similarity(rows[best], wanted[0], dim=0))
        return output[masks][:, best : best + 1], float(fit[best]), cosine

    def _sample(self, view: View, marks: MaskPrompt) -> DrawnTokens:
        generator = torch.Generator(self.device).manual_seed(PROMPT_SEED)
        with self._precision():
            return self.decoder.sample(view.pyramid.levels, view.pyramid.mask_features, marks, generator)


def doubled(vectors: Tensor) -> Tensor:
    """(..., C) vectors to (..., 2 C) of unit length: the same twice, for both halves of a photo's vector."""
    unit = F.normalize(vectors.float(), dim=-1)
    return torch.cat([unit, unit], -1) / 2**0.5
