"""Figures of merit for retrieval, grounding, interaction and segmentation as pure functions on arrays.

Conventions follow the published evaluation code of FIND, READ and COCO: float32 arithmetic where the original has
it, thresholds met by equality in float32, ties between scores broken by the lower position. Functions whose name
ends in ``_percent`` and all recalls, cIoU, mIoU and P@t give 0 to 100; everything else documents its range. Knows numpy
only.
"""

from .averages import auc_percent, best_constant, bootstrap_interval, macro
from .grounding import (
    THRESHOLDS,
    clicks_needed,
    grounding,
    grounding_ious,
    intersection_and_union,
    iou_without_ignored,
    proposal_recall,
)
from .ranking import (
    CUTOFFS,
    Counts,
    InterleavedScores,
    average_precisions,
    cosines,
    first_ranks,
    interleaved_scores,
    nearest_views,
    recall_at,
    retrieval,
)
from .read import IGNORED, ReadIou, SeeSegment, class_intersection_and_union, read_iou, see_segment
from .segmentation import (
    VOID,
    PanopticCounts,
    Segment,
    class_confusion,
    panoptic_counts,
    panoptic_quality,
    semantic_figures,
)

__all__ = [
    "CUTOFFS",
    "IGNORED",
    "THRESHOLDS",
    "VOID",
    "Counts",
    "InterleavedScores",
    "PanopticCounts",
    "ReadIou",
    "SeeSegment",
    "Segment",
    "auc_percent",
    "average_precisions",
    "best_constant",
    "bootstrap_interval",
    "class_confusion",
    "class_intersection_and_union",
    "clicks_needed",
    "cosines",
    "first_ranks",
    "grounding",
    "grounding_ious",
    "interleaved_scores",
    "iou_without_ignored",
    "macro",
    "intersection_and_union",
    "nearest_views",
    "panoptic_counts",
    "panoptic_quality",
    "proposal_recall",
    "read_iou",
    "recall_at",
    "retrieval",
    "see_segment",
    "semantic_figures",
]
