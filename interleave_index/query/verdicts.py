"""The judgements of one query: of the whole, and of each entity and negative by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..interface.calibration import Curve
from ..records import Floats, ResolvedPart
from .context import QueryContext
from .ground import AskedPart
from .judgement import Judgement, curve_of, judge, judge_named, kind_of_part
from .score import Scores


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


def judge_library(
    context: QueryContext,
    best: float,
    best_evidence: Floats,
    best_negatives: Floats,
    count: int,
    *,
    looked_at: int,
    words_found: bool = False,
) -> Verdicts:
    """The judgements over a library.

    Args:
        best: score of the best photo.
        best_evidence, best_negatives: (E,) and (N,) best evidence of each entity and negative over the photos that
            were looked at.
        count: photos that could have been the best.
        looked_at: of them; on the ann path negatives bring none of their own, and are judged among these alone.
        words_found: a word that the model does not know occurs in the texts or names of photos, so that a query may be
            meant of which it can read nothing.
    """
    fixed = context.settings.cutoff
    if context.says_nothing and not words_found:
        count = 0
    whole = judge(curve_of(context.parts, context.calibration), best, count, fixed=fixed)
    entities = tuple(
        judge(_curve(context, part), float(value), count, fixed=fixed)
        for part, value in zip(context.parts_of("entity"), best_evidence, strict=True)
    )
    if context.calibration.mixed_with:  # fitted curves have learnt what a missing part is worth
        # a library without what a part means has no photo with it, however near one comes to the sentence
        whole = replace(whole, anything=min([whole.anything, *(entity.anything for entity in entities)]))
    return Verdicts(
        whole,
        entities,
        tuple(
            judge(_curve(context, part), float(value), looked_at, fixed=fixed)
            for part, value in zip(context.parts_of("negative"), best_negatives, strict=True)
        ),
    )


def judge_named_photo(context: QueryContext, scores: Scores) -> Verdicts:
    """The judgements of one photo that the user named, with its scores."""
    fixed = context.settings.cutoff
    whole = judge_named(curve_of(context.parts, context.calibration), float(scores.total[0]), fixed=fixed)
    entities = tuple(
        judge_named(_curve(context, part), float(value), fixed=fixed)
        for part, value in zip(context.parts_of("entity"), scores.evidence[0], strict=True)
    )
    negatives = tuple(
        judge_named(_curve(context, part), float(value), fixed=fixed)
        for part, value in zip(context.parts_of("negative"), scores.negative_evidence[0], strict=True)
    )
    if context.says_nothing:
        whole, entities = replace(whole, anything=0.0), tuple(replace(one, anything=0.0) for one in entities)
    return Verdicts(whole, entities, negatives)


def _curve(context: QueryContext, part: ResolvedPart) -> Curve:
    """A term is judged as a query of its own, which lies wholly in brackets."""
    return context.calibration.curves[kind_of_part(part)]


def judged_parts(
    context: QueryContext, verdicts: Verdicts, scores: Scores, row: int, relevance: float, *, own: bool = False
) -> list[AskedPart]:
    """Entities and negatives in the order of the query, with what is judged of each in one photo.

    The only part of a query is there exactly if the photo is meant; so is plain text, which is grounded as one entity.

    Args:
        scores: of several photos.
        row: of the photo among them.
        relevance: of the photo.
        own: the query is this photo, or a part of it, and nothing else but negatives.
    """
    meant = relevance >= verdicts.whole.cutoff
    asked: list[AskedPart] = []
    if context.whole_text is not None:
        asked.append(AskedPart(context.whole_text, context.whole_text_vector, relevance, meant))
    entity, negative = 0, 0
    for part in context.parts:
        if part.role == "negative":
            chance, present = _chance(verdicts.negatives[negative], scores.negative_evidence[row, negative])
            asked.append(AskedPart(part, context.scoring.negatives.regions[negative], chance, present))
            negative += 1
        elif part.role == "entity":
            chance, present = _chance(verdicts.entities[entity], scores.evidence[row, entity])
            if own or len(context.parts) == 1:
                chance, present = relevance, meant
            asked.append(AskedPart(part, context.scoring.entities.regions[entity], chance, present))
            entity += 1
    return asked


def _chance(judgement: Judgement, evidence: Floats) -> tuple[float, bool]:
    """The chance that a part is there by its evidence, and whether it counts as there."""
    chance = float(judgement.chances(evidence))
    return chance, chance >= judgement.cutoff
