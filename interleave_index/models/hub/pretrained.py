"""Models of transformers from a folder: built without a network, without running a program of the folder, and quietly.

The library is imported when the first of them is built; it is the extra ``hub``. Weights come from safetensors, or from
PyTorch files that are read without unpickling anything but tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import BackendMissing, WeightsMissing

_LOADING_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError)


def library() -> Any:
    """The module transformers.

    Raises:
        BackendMissing: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise BackendMissing(
            'models from a hub need the package transformers; install it with: pip install "interleave-index[hub]"'
        ) from error
    return transformers


def build(folder: Path, kind: str, device: str, dtype: Any = None, **more: Any) -> Any:
    """A model of one class of transformers, in eval mode and without gradients.

    Args:
        folder: with config.json and weights.
        kind: name of the class.
        device: as torch names it.
        dtype: of the weights; None is float32.
        more: arguments of `from_pretrained`.
    Raises:
        BackendMissing: transformers is missing, or is too old for the class.
        WeightsMissing: a weight of the class is not in the folder, or the files do not load.
    """
    import torch

    transformers = library()
    if not hasattr(transformers, kind):
        raise BackendMissing(
            f"transformers {transformers.__version__} has no {kind}; "
            'install a newer one with: pip install --upgrade "interleave-index[hub]"'
        )
    try:
        with _quiet(transformers):
            model, facts = getattr(transformers, kind).from_pretrained(
                folder, local_files_only=True, dtype=dtype or torch.float32, output_loading_info=True, **more
            )
    except ImportError as error:
        raise BackendMissing(
            f"{folder} cannot be built as {kind} without a package that is not installed ({_words(error)}); "
            "take a checkpoint whose parts are all of transformers"
        ) from error
    except _LOADING_ERRORS as error:
        raise WeightsMissing(f"{folder} cannot be loaded as {kind}: {_words(error)}; get the model again") from error
    missing = sorted(facts["missing_keys"])
    if missing:
        raise WeightsMissing(
            f"{folder} lacks {len(missing)} weights of {kind}, the first is {missing[0]}; get the model again"
        )
    return model.to(device).eval().requires_grad_(False)


def reader(folder: Path, kind: str, **more: Any) -> Any:
    """A processor or tokenizer of one class of transformers, such as ``AutoTokenizer``.

    Args:
        folder: with its files.
        kind: name of the class.
        more: arguments of `from_pretrained`.
    Raises:
        BackendMissing: transformers, or a package that this one needs.
        WeightsMissing: its files are not in the folder.
    """
    transformers = library()
    try:
        with _quiet(transformers):
            return getattr(transformers, kind).from_pretrained(folder, local_files_only=True, **more)
    except ImportError as error:
        raise BackendMissing(
            f"{kind} of {folder} needs a package that is not installed ({_words(error)}); "
            'install it with: pip install "interleave-index[hub]"'
        ) from error
    except _LOADING_ERRORS as error:
        raise WeightsMissing(
            f"{folder} has no {kind} that can be read: {_words(error)}; get the model again"
        ) from error


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and no hints of the library while it loads; its settings are put back afterwards."""
    talk = transformers.utils.logging
    level, bars = talk.get_verbosity(), talk.is_progress_bar_enabled()
    talk.set_verbosity_error()
    talk.disable_progress_bar()
    try:
        yield
    finally:
        talk.set_verbosity(level)
        if bars:
            talk.enable_progress_bar()


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
