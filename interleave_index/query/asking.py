"""One query made ready: its parts resolved and encoded, how they are judged, and how they are tied to a photo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..errors import SpaceMismatch
from ..grammar import Query
from ..interface.calibration import Calibration
from ..interface.protocol import Interface
from ..records import RGB, EntityHit, Floats, Photo, ResolvedPart, ResolvedQuery, Space
from .calibration import complete, of_library, unpacked
from .ground import AskedPart, StoredRegions, ground_exact, ground_stored
from .judgement import Judgement, curve_of, judge, judge_named
from .pixels import LoadPicture, PixelCache, indexed_pixels
from .resolve import resolve, stored_encoding, whole_text
from .score import Scores, ScoringQuery, mean_of, scoring_query, terms
from .settings import Dials

if TYPE_CHECKING:
    from ..storage.rows import StoredVectors
    from ..storage.store import Store

Depth: TypeAlias = Literal["stored", "named", "exact"]
GENERIC_SAMPLE = 1000  # photos of the library that stand in where the interface has no calibration


class Model:
    """The interface, built on first use and checked against the space."""

    def __init__(self, factory: Callable[[], Interface], space: Space) -> None:
        self._factory, self._space = factory, space
        self.built: Interface | None = None

    def get(self) -> Interface:
        """The interface; SpaceMismatch when it is not that of the space."""
        if self.built is None:
            interface = self._factory()
            if interface.space != self._space:
                mine, theirs = self._space, interface.space
                alike = (mine.interface, mine.checkpoint, mine.dim) == (theirs.interface, theirs.checkpoint, theirs.dim)
                held, got = (
                    space.preprocessing if alike else f"{space.interface} {space.checkpoint[:8]} (D={space.dim})"
                    for space in (mine, theirs)
                )
                raise SpaceMismatch(
                    f"index holds space {held}, the interface is {got}; ingest again, or set models.interface"
                    f"{', models.regions and models.proposals as they were' if alike else ''}"
                )
            self.built = interface
        return self.built


@dataclass(frozen=True, slots=True)
class Verdicts:
    """How one query judges photos, and each of its terms by itself.

    Attributes:
        whole: of the query.
        entities, negatives: one each, in order.
    """

    whole: Judgement
    entities: tuple[Judgement, ...]
    negatives: tuple[Judgement, ...]


class Asking:
    """One query in one space: resolved, encoded, and ready to be held against photos.

    Args:
        query: its parts, in order.
        store: the index, or None where there is none.
        space_id: of the index.
        model: asked for an encoding only when stored vectors are not enough.
        load_picture: gives upright RGB for a path, a URL or an array.
        cache: of the pixels of indexed photos.
        depth: how photos will be grounded.
        settings: weights and cut-off.
    Attributes:
        parts: resolved.
        scoring: what the score needs.
        notes: what the caller should know; grows as photos are grounded.
    """

    def __init__(
        self,
        query: Query,
        store: Store | None,
        space_id: int,
        model: Model,
        load_picture: LoadPicture,
        cache: PixelCache,
        depth: Depth | None,
        settings: Dials,
    ) -> None:
        self.query, self.store, self.space_id, self.model, self.settings = query, store, space_id, model, settings
        self.load_picture, self.cache, self.depth = load_picture, cache, depth
        resolved = resolve(query, store, space_id, load_picture, cache, pixels=depth == "exact")
        self.parts, self.notes = resolved.parts, list(resolved.notes)
        self.unreadable = False
        if not resolved.stored:
            self._read_words(model.get())
        encoding = stored_encoding(self.parts) if resolved.stored else model.get().encode_query(self.parts)
        self.scoring: ScoringQuery = scoring_query(
            self.parts,
            encoding,
            self.calibration,
            entity_weight=settings.entity_weight,
            negative_weight=settings.negative_weight,
        )

    def _read_words(self, interface: Interface) -> None:
        """Note what the model cannot read; a query that says nothing to it has no answer."""
        wanted = [part for part in self.parts if part.role != "negative"]
        found = {part.label: interface.reading(part.label) for part in self.parts if part.kind == "text"}
        for one in found.values():
            self.notes += one.notes()
        left = tuple(
            part
            for part in self.parts
            if part.kind != "text" or not (found[part.label].empty and found[part.label].left_out)
        )
        if any(part.role != "negative" for part in left):
            self.parts = left  # a part that cannot be read at all is left out, as its note says
        self.unreadable = all(part.kind == "text" and found[part.label].nothing for part in wanted) and any(
            found[part.label].unknown or found[part.label].left_out for part in wanted if part.kind == "text"
        )

    @cached_property
    def calibration(self) -> Calibration:
        """The interface's own, completed by photos of the library where something is missing."""
        found = self._kept_calibration()
        return found if found.curves and not found.stand_in else complete(found, self._sample)

    @cached_property
    def _sample(self) -> StoredVectors | None:
        return None if self.store is None else self.store.null_sample(self.space_id, GENERIC_SAMPLE)

    def _kept_calibration(self) -> Calibration:
        """The built interface's own, else what the index keeps of it, else a stand-in from the library."""
        if self.model.built is not None:
            return self.model.built.calibration
        kept = None if self.store is None else self.store.load_calibration(self.space_id)
        if kept is not None:
            return unpacked(kept)
        if self._sample is None or not len(self._sample.image):
            return self.model.get().calibration
        self.notes.append(
            "the index keeps no calibration: relevance is judged against its own photos; ingest again to keep one"
        )
        return of_library(self._sample)

    # --- judging -------------------------------------------------------------------------------

    def verdicts(
        self, best: float, best_evidence: Floats, best_negatives: Floats, count: int, *, looked_at: int
    ) -> Verdicts:
        """The judgements over a library.

        Args:
            best: score of the best photo.
            best_evidence, best_negatives: (E,) and (N,) best evidence of each entity and negative over the photos that
                were looked at.
            count: photos that could have been the best.
            looked_at: of them; on the ann path negatives bring none of their own, and are judged among these alone.
        """
        fixed, count = self.settings.cutoff, 0 if self.unreadable else count
        entities, negatives = (
            tuple(
                judge(curve_of([replace(part, role="entity")], self.calibration), float(value), among, fixed=fixed)
                for part, value in zip(self._of(role), bests, strict=True)
            )
            for role, bests, among in (("entity", best_evidence, count), ("negative", best_negatives, looked_at))
        )
        return Verdicts(judge(curve_of(self.parts, self.calibration), best, count, fixed=fixed), entities, negatives)

    def verdicts_named(self, scores: Scores) -> Verdicts:
        """The judgements of one photo that the user named, with its scores."""
        fixed = self.settings.cutoff
        entities, negatives = (
            tuple(
                judge_named(curve_of([replace(part, role="entity")], self.calibration), float(value), fixed=fixed)
                for part, value in zip(self._of(role), evidence[0], strict=True)
            )
            for role, evidence in (("entity", scores.evidence), ("negative", scores.negative_evidence))
        )
        whole = judge_named(curve_of(self.parts, self.calibration), float(scores.total[0]), fixed=fixed)
        if self.unreadable:
            whole, entities = replace(whole, anything=0.0), tuple(replace(one, anything=0.0) for one in entities)
        return Verdicts(whole, entities, negatives)

    def _of(self, role: str) -> list[ResolvedPart]:
        return [part for part in self.parts if part.role == role]

    # --- grounding -----------------------------------------------------------------------------

    @cached_property
    def grounded(self) -> ResolvedQuery:
        """The parts as grounding wants them: plain text alone is one entity."""
        whole = whole_text(self.parts)
        return self.parts if whole is None else (whole, *(part for part in self.parts if part.role == "negative"))

    def asked(
        self, verdicts: Verdicts, scores: Scores, row: int, relevance: float, *, own: bool = False
    ) -> list[AskedPart]:
        """Entities and negatives in the order of the query, with what is judged of each in one photo.

        The only entity of a query that is nothing else is there exactly if the photo is meant; so is plain text alone,
        which is grounded as one entity. In its `own` photo the part that a query names is there.
        """
        alone = own or len(self.grounded) == 1
        asked: list[AskedPart] = []
        places = {"entity": 0, "negative": 0}
        for part in self.grounded:
            if part.role == "caption":
                continue
            number = places[part.role]
            places[part.role] += 1
            if part.role == "entity" and (alone or self.grounded is not self.parts):
                vector = self.scoring.entities.regions[0] if self.grounded is self.parts else self._whole_text_vector
                asked.append(AskedPart(part, vector, relevance, relevance >= verdicts.whole.cutoff))
                continue
            some, judgements, evidence = (
                (self.scoring.entities, verdicts.entities, scores.evidence)
                if part.role == "entity"
                else (self.scoring.negatives, verdicts.negatives, scores.negative_evidence)
            )
            chance = float(judgements[number].chances(evidence[row : row + 1, number])[0])
            asked.append(AskedPart(part, some.regions[number], chance, chance >= judgements[number].cutoff))
        return asked

    @cached_property
    def _whole_text_vector(self) -> Floats:
        encoding = self.model.get().encode_query(self.grounded[:1])
        found: Floats = terms(
            self.grounded[:1], encoding.entities, mean_of(self.calibration.phrases, len(encoding.legend))
        ).regions[0]
        return found

    def ground(
        self, photo: Photo, stored: StoredRegions, asked: Sequence[AskedPart], rgb: RGB | None = None
    ) -> tuple[EntityHit, ...]:
        """The parts tied to one photo, as deep as was asked for; `rgb` are its pixels where they are at hand."""
        if self.depth is None:
            return ()
        hits = ground_stored(photo, stored, asked, masks=self.depth != "named")
        if self.depth in ("stored", "named"):
            return hits
        if rgb is None and self.store is not None:
            rgb = indexed_pixels(self.store, photo, self.load_picture, self.cache)
        if rgb is None:
            self.notes.append(
                f"neither the original nor the thumbnail of photo {photo.id} is left; its stored regions are shown"
            )
            return hits
        return ground_exact(photo, hits, asked, self.model.get().ground(rgb, self.grounded))
