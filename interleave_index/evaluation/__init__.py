"""Measures an interface on photo packs: retrieval, grounding, proposals, labels, and the judgement of its answers.

    evaluate(pack, *, interface, hard_negatives=None, facts=None, dump=None, seed=0, limit=None,
             exclude_sources=(), progress=None, plot=None) -> dict  # the report of docs/evaluate.md, plain JSON values

`progress(what, done, total)` is called often. Importing this package loads numpy only.
"""

from .report import evaluate

__all__ = ["evaluate"]
