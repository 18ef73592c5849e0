"""The losses of find.md §7 on tensors: matching, masks at sampled points, choices among proposals, contrasts.

Works on any device, and over several processes: the number of masks that a mask loss is divided by is the mean over
the processes, and contrasts see the rows of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F

COST_CLASS, COST_BCE, COST_DICE = 2.0, 5.0, 5.0
POINTS, OVERSAMPLE, UNCERTAIN = 12544, 3, 0.75
BACKGROUND_WEIGHT = 0.1


@dataclass(frozen=True, slots=True)
class Pairs:
    """Matched proposals and targets of a batch, all (M,) int64: photo, proposal, target of that photo."""

    photo: Tensor
    proposal: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.photo)


def match(logits: Tensor, targets: Sequence[Tensor], chances: Sequence[Tensor], *, points: int = POINTS) -> Pairs:
    """Hungarian matching, photo by photo, on the same random points for all masks of a photo.

    Args:
        logits: (B, Q, h, w); targets: one (T, H, W) bool a photo; chances: one (Q, T) probability a photo.
    """
    from scipy.optimize import linear_sum_assignment

    rows: list[tuple[int, int, int]] = []
    with torch.no_grad():
        for number, (target, chance) in enumerate(zip(targets, chances, strict=True)):
            if not len(target):
                continue
            places = torch.rand((1, points, 2), device=logits.device)
            mine = sample(logits[number], places.expand(logits.shape[1], -1, -1))
            wanted = sample(target.float(), places.expand(len(target), -1, -1))
            bce = (F.softplus(mine).sum(1, keepdim=True) - mine @ wanted.T) / points
            soft = mine.sigmoid()
            dice = 1 - (2 * soft @ wanted.T + 1) / (soft.sum(1, keepdim=True) + wanted.sum(1) + 1)
            cost = COST_BCE * bce + COST_DICE * dice - COST_CLASS * chance.float()
            found = linear_sum_assignment(cost.nan_to_num(1e6).cpu().numpy())
            rows += [(number, int(one), int(other)) for one, other in zip(*found, strict=True)]
    table = torch.tensor(rows, dtype=torch.long, device=logits.device).reshape(-1, 3)
    return Pairs(table[:, 0], table[:, 1], table[:, 2])


def mask_losses(
    logits: Tensor, targets: Sequence[Tensor], pairs: Pairs, *, points: int = POINTS, over: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and dice of matched masks at points where the prediction is unsure.

    Args:
        over: what the sums are divided by; None takes the number of pairs, as a mean over the processes.
    """
    count = mean_over_processes(len(pairs), logits.device) if over is None else over
    if not len(pairs):
        zero = logits.sum() * 0.0
        return zero, zero
    mine = logits[pairs.photo, pairs.proposal].float()
    wanted = torch.stack([targets[i][t] for i, t in zip(pairs.photo.tolist(), pairs.target.tolist(), strict=True)])
    places = unsure_points(mine, points)
    with torch.no_grad():
        labels = sample(wanted.float(), places)
    values = sample(mine, places)
    bce = F.binary_cross_entropy_with_logits(values, labels, reduction="none").mean(1).sum() / count
    soft = values.sigmoid()
    dice = 1 - (2 * (soft * labels).sum(1) + 1) / (soft.sum(1) + labels.sum(1) + 1)
    return bce, dice.sum() / count


def sample(maps: Tensor, places: Tensor) -> Tensor:
    """(N, h, w) maps at (N, P, 2) places x, y in 0..1, bilinear, (N, P)."""
    grid = 2 * places[:, None] - 1
    return F.grid_sample(maps[:, None].float(), grid, align_corners=False)[:, 0, 0]


@torch.no_grad()
def unsure_points(logits: Tensor, points: int) -> Tensor:
    """(N, P, 2) places: three quarters where |logit| is least among three times as many random ones, else random."""
    drawn = torch.rand((len(logits), points * OVERSAMPLE, 2), device=logits.device)
    unsure = (-sample(logits, drawn).abs()).topk(int(UNCERTAIN * points), 1).indices
    kept = drawn.gather(1, unsure[..., None].expand(-1, -1, 2))
    more = torch.rand((len(logits), points - kept.shape[1], 2), device=logits.device)
    return torch.cat([kept, more], 1)


def class_loss(logits: Tensor, pairs: Pairs, classes: Sequence[Tensor]) -> Tensor:
    """Cross-entropy over the classes and background (last), which unmatched proposals are, at a tenth of the weight."""
    background = logits.shape[-1] - 1
    wanted = torch.full(logits.shape[:2], background, device=logits.device)
    if len(pairs):
        wanted[pairs.photo, pairs.proposal] = torch.stack(
            [classes[i][t] for i, t in zip(pairs.photo.tolist(), pairs.target.tolist(), strict=True)]
        )
    weight = torch.ones(background + 1, device=logits.device)
    weight[background] = BACKGROUND_WEIGHT
    return F.cross_entropy(logits.float().transpose(1, 2), wanted, weight)


def choice_loss(scores: Tensor, pairs: Pairs, query_of: Sequence[Tensor]) -> Tensor:
    """Softmax over proposals for every query; the target is shared by all proposals matched to that query's masks.

    Args:
        scores: (B, Q, E); query_of: one (T,) int64 a photo, the query that each target answers.
    """
    target = torch.zeros(scores.shape, device=scores.device)
    for photo, proposal, chosen in zip(
        pairs.photo.tolist(), pairs.proposal.tolist(), pairs.target.tolist(), strict=True
    ):
        target[photo, proposal, int(query_of[photo][chosen])] = 1
    total = target.sum(1, keepdim=True)
    asked = (total > 0).squeeze(1)
    loss = -(target / total.clamp(min=1) * scores.float().log_softmax(1)).sum(1)
    return (loss * asked).sum() / asked.sum().clamp(min=1)


def contrast(one: Tensor, other: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE of (N, D) rows that belong together in order, over the rows of all processes."""
    one, other = F.normalize(one.float(), dim=-1), F.normalize(other.float(), dim=-1)
    ones, first = gathered(one)
    others, _ = gathered(other)
    if not len(one):
        return (one.sum() + other.sum()) * 0.0
    target = torch.arange(len(one), device=one.device) + first
    return (F.cross_entropy(scale * one @ others.T, target) + F.cross_entropy(scale * other @ ones.T, target)) / 2


def fine_contrast(objects: Tensor, tokens: Tensor, pad: Tensor, scale: Tensor) -> Tensor:
    """Photos against single caption tokens.

    Args:
        objects: (N, Q, D); tokens: (N, T, D); pad: (N, T) bool.
    Source: find.md §7: similarity averaged over the objects, the target spread over the tokens of the own caption by
        their rank, 0.7 of that and 0.3 of its transpose, whose target is not normalised again.
    """
    if not len(objects):
        return objects.sum() * 0.0
    photo = F.normalize(objects.float(), dim=-1).mean(1)
    keep = ~pad
    words = F.normalize(tokens.float(), dim=-1)[keep]
    owner = torch.arange(len(objects), device=pad.device)[:, None].expand_as(keep)[keep]
    rank = torch.arange(1, keep.shape[1] + 1, device=pad.device).float().expand_as(keep)[keep]
    target = F.one_hot(owner, len(objects)).T.float() * rank
    target = target / target.sum(1, keepdim=True)
    scores = scale * photo @ words.T
    forth = -(target * scores.log_softmax(1)).sum(1).mean()
    back = -(target * scores.log_softmax(0)).sum(0).mean()
    return 0.7 * forth + 0.3 * back


# --- several processes -------------------------------------------------------------------------


def processes() -> int:
    """How many train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def mean_over_processes(count: int, device: torch.device) -> Tensor:
    """A number as its mean over the processes, at least 1."""
    value = torch.tensor(float(count), device=device)
    if processes() > 1:
        dist.all_reduce(value)
    return (value / processes()).clamp(min=1)


def gathered(rows: Tensor) -> tuple[Tensor, int]:
    """(M, D) rows of all processes, those of this one with their gradient, and where this one's begin."""
    if processes() == 1:
        return rows, 0
    counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(processes())]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    numbers = [int(count) for count in counts]
    most = max(1, *numbers)
    padded = torch.zeros((most, rows.shape[1]), device=rows.device, dtype=rows.dtype)
    padded[: len(rows)] = rows.detach()
    parts = [torch.zeros_like(padded) for _ in numbers]
    dist.all_gather(parts, padded)
    me = dist.get_rank()
    kept = [rows if n == me else part[:number] for n, (part, number) in enumerate(zip(parts, numbers, strict=True))]
    return torch.cat(kept), sum(numbers[:me])
