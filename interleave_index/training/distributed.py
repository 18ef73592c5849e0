"""What several processes that train one model share. Alone, everything is what it was."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist


def process_count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def mean_over_processes(count: int, device: torch.device) -> Tensor:
    """A number as its mean over the processes, at least 1."""
    total = torch.tensor(float(count), device=device)
    if process_count() > 1:
        dist.all_reduce(total)
    return (total / process_count()).clamp(min=1)


def gather_rows(rows: Tensor) -> tuple[Tensor, int]:
    """(M, D) rows of all processes, those of this one with their gradient, and where this one's begin."""
    if process_count() == 1:
        return rows, 0
    counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(process_count())]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    lengths = [int(count) for count in counts]
    padded = torch.zeros((max(1, *lengths), rows.shape[1]), device=rows.device, dtype=rows.dtype)
    padded[: len(rows)] = rows.detach()
    gathered = [torch.zeros_like(padded) for _ in lengths]
    dist.all_gather(gathered, padded)
    rank = dist.get_rank()
    parts = [part[:length] for part, length in zip(gathered, lengths, strict=True)]
    parts[rank] = rows
    return torch.cat(parts), sum(lengths[:rank])
