"""The one place that imports faiss. Knows nothing of what is stored."""

from __future__ import annotations

from typing import Any

from ..errors import BackendMissing

BLAS_THRESHOLD = 1500  # rows x queries from which faiss' float32 distances go through BLAS (its default is 128,000)


def load_faiss() -> Any:
    """The faiss module.

    Raises:
        BackendMissing: neither faiss-cpu nor faiss-gpu is installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise BackendMissing(
            f"faiss cannot be imported ({error}), searching and optimizing an index need it; "
            "install interleave-index[cpu], or interleave-index[gpu] on Linux with an NVIDIA card, never both"
        ) from error
    if faiss.cvar.distance_compute_blas_threshold != BLAS_THRESHOLD:
        faiss.cvar.distance_compute_blas_threshold = BLAS_THRESHOLD
    return faiss


def set_threads(threads: int) -> None:
    """Let faiss use this many OpenMP threads in calls made from the current thread; at least 1."""
    load_faiss().omp_set_num_threads(max(1, threads))
