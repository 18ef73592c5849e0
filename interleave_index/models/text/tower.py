"""find-mini's text tower: a tokenizer of its own and a small bidirectional transformer over its tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ModelError
from ..attention import Attention

PAD, UNKNOWN, BEGIN, PLACEHOLDER = "[PAD]", "[UNK]", "[BOS]", "[INTERACTIVE]"
INNER = "##"  # before what is inside of a word
MOST_TOKENS = 64


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Tokenised sentences, padded on the right.

    Attributes:
        ids: (B, T) int64.
        pad: (B, T) bool, True at padding.
        spans: (B, T, 2) int64, character span of each token; (0, 0) for the beginning and padding.
    """

    ids: Tensor
    pad: Tensor
    spans: Tensor


def train_tokenizer(sentences: Sequence[str], *, size: int = 8192) -> Tokenizer:
    """A lower-casing byte-pair tokenizer over words, with a single token for a visual entity.

    Args:
        sentences: what it shall know; lower-cased and stripped of accents here. The same ones give the same tokenizer.
        size: of the vocabulary, special tokens included.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, continuing_subword_prefix=INNER))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special, letters = [PAD, UNKNOWN, BEGIN, PLACEHOLDER], set[str]()
    for sentence in sentences:
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(sentence)):
            letters |= set(word[1:])
    inner = [f"{INNER}{letter}" for letter in sorted(letters)]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[*special, *inner],  # the trainer would number letters inside of words by chance
        continuing_subword_prefix=INNER,
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in special]
    return Tokenizer.from_str(json.dumps(state))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.up, self.down = nn.Linear(width, ffn), nn.Linear(ffn, width)

    def forward(self, x: Tensor, blocked: Tensor, drop: float) -> Tensor:
        normed = self.norm1(x)
        x = x + F.dropout(self.attn(normed, normed, normed, blocked), drop, self.training)
        return x + F.dropout(self.down(F.gelu(self.up(self.norm2(x)))), drop, self.training)


class TextTower(nn.Module):
    """Sentences to one state a token.

    Args:
        tokenizer: with the four special tokens of this module.
        width, heads, ffn, layers: of the transformer.
        dropout: on every branch, and on whole words of the input, while training.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        width: int = 256,
        heads: int = 4,
        ffn: int = 1024,
        layers: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.tokenizer, self.width, self.dropout = tokenizer, width, dropout
        self.token_embed = nn.Embedding(tokenizer.get_vocab_size(), width)
        self.position_embed = nn.Embedding(MOST_TOKENS, width)
        self.blocks = nn.ModuleList(_Block(width, heads, ffn) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.token_embed.weight, std=0.02)
        nn.init.normal_(self.position_embed.weight, std=0.01)
        self._special = {name: _id(tokenizer, name) for name in (PAD, UNKNOWN, BEGIN, PLACEHOLDER)}

    def tokenise(self, sentences: Sequence[str]) -> TokenBatch:
        """Tokens of sentences, the beginning token first, at most `MOST_TOKENS` each."""
        coded = [self.tokenizer.encode(sentence, add_special_tokens=False) for sentence in sentences]
        longest = max((min(len(c.ids) + 1, MOST_TOKENS) for c in coded), default=1)
        ids = torch.full((len(coded), longest), self._special[PAD])
        spans = torch.zeros((len(coded), longest, 2), dtype=torch.long)
        pad = torch.ones((len(coded), longest), dtype=torch.bool)
        for row, one in enumerate(coded):
            kept = one.ids[: longest - 1]
            ids[row, 0] = self._special[BEGIN]
            ids[row, 1 : len(kept) + 1] = torch.tensor(kept, dtype=torch.long)
            spans[row, 1 : len(kept) + 1] = torch.tensor(one.offsets[: len(kept)], dtype=torch.long).reshape(-1, 2)
            pad[row, : len(kept) + 1] = False
        return TokenBatch(ids, pad, spans)

    def end_of(self, sentence: str) -> int:
        """Where the part of a sentence ends that fits into `MOST_TOKENS` tokens, in characters."""
        offsets = self.tokenizer.encode(sentence, add_special_tokens=False).offsets
        kept = MOST_TOKENS - 1  # the beginning token takes one place
        return len(sentence) if len(offsets) <= kept else int(offsets[kept][0])

    def placeholders(self, batch: TokenBatch) -> Tensor:
        """(B, T) bool, True where a visual entity stands."""
        return batch.ids == self._special[PLACEHOLDER]

    def forward(self, batch: TokenBatch, silent: Tensor | None = None) -> Tensor:
        """(B, T, width) states; those of padding mean nothing.

        Args:
            silent: (B, T) bool, tokens that no other token hears, as if they were not there.
        """
        ids = batch.ids
        if self.training and self.dropout:
            lost = (torch.rand(ids.shape, device=ids.device) < self.dropout) & (ids > self._special[PLACEHOLDER])
            ids = torch.where(lost, torch.full_like(ids, self._special[UNKNOWN]), ids)
        x = self.token_embed(ids) + self.position_embed.weight[: ids.shape[1]]
        unheard = batch.pad if silent is None else batch.pad | silent
        blocked = unheard[:, None, :].expand(-1, ids.shape[1], -1)
        for block in self.blocks:
            x = block(x, blocked, self.dropout)
        out: Tensor = self.norm(x)
        return out


def _id(tokenizer: Tokenizer, name: str) -> int:
    number = tokenizer.token_to_id(name)
    if number is None:
        raise ModelError(f"the tokenizer has no token {name}, expected one that `interleave-index train` wrote")
    return int(number)


def load_tokenizer(file: Path) -> Tokenizer:
    """Read a tokenizer file.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the package raises nothing narrower
        raise ValueError(f"{file.name} is no tokenizer: {error}") from error
