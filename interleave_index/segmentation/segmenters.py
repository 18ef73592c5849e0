"""Models that segment a whole photo into classes, behind one seam: one for each way in which a model can do it.

    universal   Mask2Former, OneFormer, EoMT, MaskFormer: masks and classes of their own
    published   FIND, X-Decoder and SEEM as released: all proposals against a table of class names, as their authors do
    regions     every other interface: the regions that an index would keep, named by the nearest class

Large photos are decided at `DECIDED_SIDE` and enlarged, since a hundred masks of all pixels would fill the memory.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..errors import ConfigError, ModelError
from ..geometry import fit, resize_rle, size_of
from ..interface.protocol import Interface
from ..interface.registry import find, load, torch_device
from ..records import RGB, Floats, Panoptic, PhotoEncoding, ResolvedPart, Size
from .classes import SegmentClass, coco_classes, named_classes
from .panoptic import Candidate, compose, enlarged

if TYPE_CHECKING:
    from torch import Tensor

    from ..interface.published.interface import PublishedFind
    from ..interface.xdecoder.interface import SeemInterface, XDecoderInterface
    from ..models.segmenters.universal import UniversalSegmenter

DECIDED_SIDE = 1024  # pixels of the longer side at which masks compete
# Both chosen by panoptic quality on held-out training photos (docs/experiments.md).
TEMPERATURE = 0.7  # of the chances of classes, in deviations of the classes' cosines with regions in general
LEAST_CHANCE = 0.1  # of a region's class, for a segment
COLDEST = 1e-3  # temperature where all classes lie alike
SAME_MEANING = 0.7  # cosine from which on two names mean nearly the same
Classes = tuple[SegmentClass, ...]


class Segmenter(Protocol):
    """Anything that segments a whole photo.

    Attributes:
        name: of the model and its weights: segments of equal names are comparable.
        classes: what `PanopticSegment.category` is a position in.
    """

    name: str
    classes: Classes

    def segment(self, photo: RGB) -> Panoptic:
        """The segments of an upright photo (H, W, 3) uint8, at its size."""


class RegionSegmenter:
    """An interface by its regions: each is of the class whose name is nearest to it.

    Beside classes of a user's own, COCO's stand for everything else: what is nearer to one of them is no segment.

    Args:
        interface: encodes photos and names.
        classes: what is looked for.
    """

    def __init__(self, interface: Interface, classes: Classes) -> None:
        self._interface, self.classes = interface, classes
        self._things = things_of(classes)
        self.name = name_of(interface)

    @cached_property
    def _table(self) -> Floats:
        """(K + M, D) vectors of the classes, then of what else a region may be."""
        names = class_table(self._interface, [one.words for one in self.classes])
        if self.classes == coco_classes():
            return names
        others = class_table(self._interface, [one.words for one in coco_classes()])
        return np.concatenate([names, others[(others @ names.T).max(1) < SAME_MEANING]])

    def segment(self, photo: RGB) -> Panoptic:
        """See `Segmenter`."""
        (encoding,) = self._interface.encode_photos([photo])
        chances = class_chances(self._interface, encoding, self._table)
        return panoptic_of(encoding, chances, len(self.classes), self._things, size_of(photo))


class PublishedSegmenter:
    """A released checkpoint of FIND (or one trained like it), X-Decoder or SEEM, by all its proposals.

    Args:
        interface: the checkpoint.
        classes: what is looked for; their names are put into the sentences that the authors evaluate with.
    """

    def __init__(self, interface: PublishedFind | XDecoderInterface | SeemInterface, classes: Classes) -> None:
        self._model, self.classes = interface.model, classes
        self._things = things_of(classes)
        self.name = name_of(interface)

    @cached_property
    def _class_table(self) -> Tensor:
        return self._model.class_table([one.name for one in self.classes])

    def segment(self, photo: RGB) -> Panoptic:
        """See `Segmenter`."""
        from ..interface.published.segmentation import panoptic

        view = self._model.view(photo)
        logits, masks = self._model.logits(view, self._class_table, size=fit(view.photo, DECIDED_SIDE))
        return enlarged(panoptic(logits, masks, self._things), view.photo)


class UniversalPanoptic:
    """A universal segmenter, with the classes that it was trained with.

    Args:
        segmenter: the model.
        name: see `Segmenter`.
    """

    def __init__(self, segmenter: UniversalSegmenter, name: str) -> None:
        self._segmenter, self.name = segmenter, name
        self.classes = named_classes(segmenter.labels)
        self._things = things_of(self.classes)

    def segment(self, photo: RGB) -> Panoptic:
        """See `Segmenter`."""
        size = fit(size_of(photo), DECIDED_SIDE)
        labels = self._segmenter.labels
        candidates = [
            Candidate(one.mask, labels.index(one.label), one.score) for one in self._segmenter.segment(photo, size)
        ]
        return enlarged(compose(candidates, self._things, size), size_of(photo))


def load_segmenter(
    name: str,
    *,
    classes: Classes | None = None,
    device: str = "auto",
    dtype: str = "auto",
    proposals: str = "find-mini",
) -> Segmenter:
    """Build the segmenter that a model makes. Opens no connection.

    Args:
        name: as `interface.registry.load` takes it, or a folder or pulled name of a universal segmenter.
        classes: what is looked for; None takes those of the model, or COCO's where it has none of its own.
        device, dtype, proposals: see `interface.registry.load`.
    Raises:
        WeightsMissing, BackendMissing, ModelError: it cannot be built, or makes no vectors.
        ConfigError: classes for a model that reads no names.
    """
    from ..interface.published.interface import PublishedFind
    from ..interface.xdecoder.interface import SeemInterface, XDecoderInterface
    from ..models.hub.local import checkpoint_of
    from ..models.segmenters.universal import KINDS, UniversalSegmenter

    model = find(name)
    model_type = str(model.config.get("model_type"))
    if model_type in KINDS:
        if classes is not None:
            raise ConfigError(
                f"model {name} ({model_type}) finds the classes that it was trained with, expected no list of classes; "
                "leave it out, or take a model that reads names, such as find-mini"
            )
        made = UniversalSegmenter(model.folder, device=torch_device(device))
        return UniversalPanoptic(made, f"{model.folder.name} {checkpoint_of(model.folder)[:12]}")
    interface = load(name, device=device, dtype=dtype, proposals=proposals, grounding="own")
    found = coco_classes() if classes is None else classes
    if isinstance(interface, PublishedFind | XDecoderInterface | SeemInterface):
        return PublishedSegmenter(interface, found)
    if not interface.capabilities.encodes:
        raise ModelError(f"model {name} only grounds what it is asked for, expected one that makes vectors")
    return RegionSegmenter(interface, found)


def class_table(interface: Interface, names: Sequence[str]) -> Floats:
    """(K, D) vectors of names, as entities of queries."""
    queries = [(ResolvedPart("entity", "text", name),) for name in names]
    return np.stack([encoding.entities[0] for encoding in interface.encode_queries(queries)])


def class_chances(interface: Interface, encoding: PhotoEncoding, table: Floats) -> Floats:
    """(R, K) chance that each region of a photo is of each class: its score times the share of the class by cosine.

    Args:
        interface: encoded the photo, and the classes of the table, (K, D).
    """
    from scipy.special import softmax

    generic = interface.calibration.regions
    spread = float((generic @ table.T).std(1).mean()) if len(generic) else 0.0
    cosines = encoding.regions.reshape(-1, table.shape[1]) @ table.T
    chances: Floats = encoding.scores[:, None] * softmax(cosines / max(TEMPERATURE * spread, COLDEST), axis=1)
    return chances


def panoptic_of(
    encoding: PhotoEncoding, chances: Floats, classes: int, things: Collection[int], size: Size
) -> Panoptic:
    """The regions of a photo as segments of their likeliest class.

    Args:
        encoding: of the photo.
        chances: (R, K) of its regions.
        classes: how many of the K are classes; what is likeliest something behind them is no segment.
        things: positions of the countable classes.
        size: (height, width) of the photo.
    """
    decided = fit(size, DECIDED_SIDE)
    candidates = [
        Candidate(resize_rle(encoding.masks[row], decided).decode(), int(category), float(chances[row, category]))
        for row, category in enumerate(chances.argmax(1))
        if category < classes and chances[row, category] >= LEAST_CHANCE
    ]
    return enlarged(compose(candidates, things, decided), size)


def things_of(classes: Classes) -> frozenset[int]:
    """Positions of the countable classes."""
    return frozenset(number for number, one in enumerate(classes) if one.thing)


def name_of(interface: Interface) -> str:
    """Of an interface and its weights."""
    return f"{interface.space.interface} {interface.space.checkpoint[:12]}"
