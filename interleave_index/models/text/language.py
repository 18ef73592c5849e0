"""The language towers of FIND's published checkpoints: LLaMA cut off after 21 layers, and the UniCL text tower.

Both give one state a token, with the characters that the token stands for. LLaMA runs on the classes of
transformers, imported when a tower is built; UniCL is small and written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor, nn

from ...errors import BackendMissing, WeightsMissing
from ..attention import Attention
from ..hub.local import CONFIG, read_config
from .tower import load_tokenizer

TOKENIZER = "tokenizer.json"
LLAMA_LAYER = 21  # of 32; the residual stream there, before any final norm
DTYPE_OF = "layers.0.self_attn.q_proj.weight"  # released files keep the embeddings in another precision than the layers
BATCH = 8


@dataclass(frozen=True, slots=True)
class TokenStates:
    """One text in a language tower: real tokens only, the beginning token first.

    Attributes:
        states: (T, width).
        spans: (T, 2) int64, half-open characters of each token without blanks before it; (0, 0) for special tokens.
    """

    states: Tensor
    spans: Tensor


class LanguageTower(Protocol):
    """Texts to token states."""

    @property
    def width(self) -> int:
        """Length of a state."""

    def states(self, texts: Sequence[str], context: int, *, tail: int = 0) -> list[TokenStates]:
        """States of each text, cut at `context` tokens.

        Args:
            tail: so many end tokens more count as real, as the published UniCL evaluation has it; LLaMA has none.
        """


class LlamaTower:
    """LLaMA up to one of its layers.

    Args:
        folder: with config.json, tokenizer.json and *.safetensors as Hugging Face keeps them.
        layer: index into the hidden states, 0 the embeddings; the last one is taken after the final norm, as
            transformers counts. Layers above are never read.
        device: as torch names it.

    Raises:
        WeightsMissing: a file or a tensor is not there.
        BackendMissing: transformers is not installed.
    """

    def __init__(self, folder: Path, *, layer: int = LLAMA_LAYER, device: str = "cpu") -> None:
        self._tokenizer = read_tokenizer(folder)
        self._model = load_llama(folder, layer).to(device)
        self._device = torch.device(device)

    @property
    def width(self) -> int:
        """Length of a state."""
        return int(self._model.config.hidden_size)

    @torch.inference_mode()
    def states(self, texts: Sequence[str], context: int, *, tail: int = 0) -> list[TokenStates]:
        """See `LanguageTower.states`; computed in the precision of the weights."""
        states: list[TokenStates] = []
        for start in range(0, len(texts), BATCH):
            coded = [tokens_of(self._tokenizer, text, context) for text in texts[start : start + BATCH]]
            ids = nn.utils.rnn.pad_sequence([ids for ids, _ in coded], batch_first=True)
            lengths = torch.tensor([len(ids) for ids, _ in coded])
            real = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
            out = self._model(input_ids=ids.to(self._device), attention_mask=real.to(self._device), use_cache=False)
            states += [
                TokenStates(out.last_hidden_state[row, : len(ids)].cpu(), spans)
                for row, (ids, spans) in enumerate(coded)
            ]
        return states


def load_llama(folder: Path, layer: int) -> Any:
    """A transformers `LlamaModel` with `layer` layers, reading nothing above them."""
    try:
        from transformers import LlamaConfig, LlamaModel
        from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
    except ImportError as error:
        raise BackendMissing(
            "LLaMA runs on the package transformers, which is not installed; pip install 'interleave-index[hub]'"
        ) from error
    settings = LlamaConfig.from_dict(read_config(folder))
    whole = int(settings.num_hidden_layers)
    if not 0 <= layer <= whole:
        raise WeightsMissing(
            f"{folder} has {whole} layers, expected at least {layer}; name the LLaMA of the checkpoint"
        )
    settings.num_hidden_layers = layer
    with torch.device("meta"):
        model = LlamaModel(settings)
    if layer < whole:
        model.norm = nn.Identity()  # type: ignore[assignment]
    wanted = set(model.state_dict())
    tensors = dict(_tensors(folder, wanted))
    missing = sorted(wanted - set(tensors))
    if missing:
        raise WeightsMissing(f"{folder} lacks {len(missing)} of {len(wanted)} tensors, the first is {missing[0]}")
    kind = tensors[DTYPE_OF].dtype if DTYPE_OF in tensors else next(iter(tensors.values())).dtype
    try:
        model.load_state_dict({name: value.to(kind) for name, value in tensors.items()}, assign=True)
    except RuntimeError as error:
        raise WeightsMissing(f"{folder} does not fit its {CONFIG}: {str(error).splitlines()[-1].strip()}") from error
    model.rotary_emb = LlamaRotaryEmbedding(settings)
    return model.train(False).requires_grad_(False)


def _tensors(folder: Path, wanted: set[str]) -> list[tuple[str, Tensor]]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsMissing(f"no *.safetensors in {folder}, expected the weights of a LLaMA checkpoint in that format")
    tensors = []
    for file in files:
        with safe_open(file, framework="pt") as content:
            for key in content.keys():  # noqa: SIM118  no dictionary
                name = key.removeprefix("model.")
                if name in wanted:
                    tensors.append((name, content.get_tensor(key)))
    return tensors


class _Resblock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1, self.ln_2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor, future: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, future)
        inner = self.mlp["c_fc"](self.ln_2(x))
        out: Tensor = x + self.mlp["c_proj"](inner * torch.sigmoid(1.702 * inner))
        return out


class UniclNetwork(nn.Module):
    """A causal pre-norm transformer over CLIP's tokens; names as published under `lang_encoder.lang_encoder.`."""

    def __init__(
        self, *, width: int = 512, heads: int = 8, layers: int = 12, vocabulary: int = 49408, context: int = 77
    ):
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.zeros(context, width))
        self.resblocks = nn.ModuleList(_Resblock(width, heads) for _ in range(layers))
        self.ln_final = nn.LayerNorm(width, eps=1e-12)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) ids to (B, T, width) states."""
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        future = torch.ones((ids.shape[1], ids.shape[1]), dtype=torch.bool, device=ids.device).triu(1)
        for block in self.resblocks:
            x = block(x, future)
        out: Tensor = self.ln_final(x)
        return out


class UniclTower:
    """The UniCL text tower with its tokenizer.

    Args:
        network: in eval mode.
        tokenizer: CLIP's, with its beginning and end tokens.

    Attributes:
        network: the same.
    """

    def __init__(self, network: UniclNetwork, tokenizer: Tokenizer, *, device: str = "cpu") -> None:
        self.network, self._tokenizer, self._device = network.to(device), tokenizer, torch.device(device)

    def save_tokenizer(self, file: Path) -> None:
        """Write its tokenizer.json, without any length that it was cut at."""
        self._tokenizer.no_truncation()
        self._tokenizer.save(str(file))

    @property
    def width(self) -> int:
        """Length of a state."""
        return int(self.network.ln_final.weight.shape[0])

    @torch.inference_mode()
    def states(self, texts: Sequence[str], context: int, *, tail: int = 0) -> list[TokenStates]:
        """See `LanguageTower.states`. Attention is causal, so that end tokens after a text change nothing in it."""
        states = []
        for text in texts:
            ids, spans = tokens_of(self._tokenizer, text, context)
            more = min(tail, context - len(ids))
            ids = torch.cat([ids, ids[-1:].expand(more)])  # the end token is the padding token
            spans = torch.cat([spans, torch.zeros((more, 2), dtype=torch.long)])
            states.append(TokenStates(self.network(ids[None].to(self._device))[0].cpu(), spans))
        return states


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder.

    Raises:
        WeightsMissing: it is not there, or damaged.
    """
    file = folder / TOKENIZER
    if not file.is_file():
        raise WeightsMissing(
            f"no {TOKENIZER} in {folder}, expected the fast tokenizer that belongs to the language model"
        )
    try:
        return load_tokenizer(file)
    except ValueError as error:
        raise WeightsMissing(f"{file} cannot be read: {error}") from error


def tokens_of(tokenizer: Tokenizer, text: str, context: int) -> tuple[Tensor, Tensor]:
    """Ids (T,) and spans (T, 2) of one text with its special tokens, T at most `context`.

    A token's span starts at its first character that is no blank, whatever the tokenizer counts to it.
    """
    tokenizer.no_padding()
    tokenizer.enable_truncation(context)
    coded = tokenizer.encode(text)
    spans = []
    for (start, end), special in zip(coded.offsets, coded.special_tokens_mask, strict=True):
        inner = text[start:end]
        spans.append((0, 0) if special else (start + len(inner) - len(inner.lstrip() or inner), end))
    return torch.tensor(coded.ids, dtype=torch.long), torch.tensor(spans, dtype=torch.long).reshape(-1, 2)
