"""The interface against a second writing of it: one image at a time, no padded token, plain functions.

Covers what the reference file of the published modules leaves out: negative points, a round with a previous mask, and
each of the nine earlier predictions.
"""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from interleave_index.interface.find.config import FindConfig
from interleave_index.interface.find.network import FindInterface
from interleave_index.interface.find.prompts import (
    GroundingPrompt,
    InterleavePrompt,
    MaskPrompt,
    Prompts,
    SpatialPrompt,
    TextTokens,
)

C, HEADS, OBJECTS, LAYERS = 16, 4, 7, 9
GROUND, SEGMENT, ENTITY = "proposals_vision_grounding", "proposals_vision_segment", "proposals_interleave_entity"
OBJECT, IMAGE, MEMORY = "proposals_vision_object", "queries_vision_image", "memories_vision_spatial"
SPATIAL, DESCRIBED, LEGEND = "queries_vision_spatial", "queries_language_description", "queries_interleave_legend"
ENTITIES, CAPTION = "queries_interleave_entity", "queries_language_caption"
POINTS, POINTS_, WORDS = "tokens_vision_spatial", "tokens_vision_spatial_", "tokens_interleave_legend"
EXPRESSION, SAID = "tokens_language_description", "tokens_language_caption"
SEEING = (OBJECT, GROUND, SEGMENT, ENTITY, IMAGE, MEMORY)
READS = {SPATIAL: POINTS, CAPTION: SAID, DESCRIBED: EXPRESSION, LEGEND: WORDS, ENTITIES: WORDS, WORDS: POINTS_}
MEETS = {GROUND: {EXPRESSION}, SEGMENT: {POINTS, MEMORY}, ENTITY: {WORDS}, EXPRESSION: {GROUND}}
SEMANTIC = {OBJECT: "pred_captions", GROUND: "pred_gtexts", SEGMENT: "pred_spatials", ENTITY: "pred_interleave_objects",
            IMAGE: "pred_retrievals", SPATIAL: "pred_spatial_class", CAPTION: "pred_retrievals_lang",
            DESCRIBED: "pred_grounding_query", LEGEND: "pred_interleave_image",
            ENTITIES: "pred_entity_class"}  # fmt: skip
PIXEL = {OBJECT: "pred_maskembs", SEGMENT: "pred_smaskembs", ENTITY: "pred_imaskembs", IMAGE: "pred_image_pixel",
         SPATIAL: "pred_pspatials", LEGEND: "pred_legend_pixel", ENTITIES: "pred_entity_pixel"}  # fmt: skip
MASKED = {OBJECT: "pred_masks", GROUND: "pred_gmasks", SEGMENT: "pred_smasks", ENTITY: "pred_imasks"}


def attend(w, at, query, key, value, allowed):
    """One query after another; one that may see nothing answers the bias."""
    weights, biases = w[f"{at}.in_proj_weight"].chunk(3), w[f"{at}.in_proj_bias"].chunk(3)
    q, k, v = (x @ a.T + b for x, a, b in zip((query, key, value), weights, biases, strict=True))
    rows, size = [], q.shape[1] // HEADS
    for n in range(len(q)):
        seen = allowed[n]
        if not seen.any():
            rows.append(torch.zeros(q.shape[1], dtype=q.dtype))
            continue
        parts = []
        for head in range(HEADS):
            own = slice(head * size, (head + 1) * size)
            parts.append(((k[seen, own] @ q[n, own]) / math.sqrt(size)).softmax(0) @ v[seen, own])
        rows.append(torch.cat(parts))
    return torch.stack(rows) @ w[f"{at}.out_proj.weight"].T + w[f"{at}.out_proj.bias"]


def normed(w, at, x):
    return F.layer_norm(x, (C,), w[f"{at}.weight"], w[f"{at}.bias"])


def sines(height, width):
    def axis(place, last):
        angle = torch.tensor([(place + 1) / (last + 1e-6) * 2 * math.pi / 10000 ** (2 * (i // 2) / (C // 2))
                              for i in range(C // 2)], dtype=torch.float64)  # fmt: skip
        return torch.tensor([angle[i].sin() if i % 2 == 0 else angle[i].cos() for i in range(C // 2)])

    return torch.stack(
        [torch.cat([axis(y, height), axis(x, width)]) for y in range(height) for x in range(width)]
    ).double()


def sampled(w, level, source, size, positive, negative):
    """(P, C) tokens and the number of the mask of each; positive points first."""
    grid = (source @ w[f"mask_sptial_embed.{level}"]).reshape(*size, C)
    rows, numbers = [], []
    for sign, masks in enumerate((positive, negative)):
        for n, y, x in masks.nonzero().tolist():
            down, across = y / masks.shape[1] * (size[0] - 1), x / masks.shape[2] * (size[1] - 1)
            top, left = int(down), int(across)
            low, right = min(top + 1, size[0] - 1), min(left + 1, size[1] - 1)
            a, b = down - top, across - left
            upper = grid[top, left] * (1 - b) + grid[top, right] * b
            lower = grid[low, left] * (1 - b) + grid[low, right] * b
            rows.append(upper * (1 - a) + lower * a + w["pn_indicator.weight"][sign])
            numbers.append(n)
    return torch.stack(rows) if rows else torch.zeros((0, C)).double(), numbers


class ByHand:
    """One image and all its prompts, without padded tokens."""

    def __init__(self, w, levels, mask_features, table, asked):
        self.w, self.features, self.table, self.asked = w, mask_features, table, asked
        self.sizes = [tuple(level.shape[1:]) for level in levels]
        self.source = [level.flatten(1).T + w["level_embed.weight"][n] for n, level in enumerate(levels)]
        feat, place = w["query_feat.weight"], w["query_embed.weight"]
        self.content: dict[str, torch.Tensor] = {}
        self.place: dict[str, torch.Tensor] = {}
        self.number: dict[str, Any] = {}

        def put(name, content, position, number=None):
            self.content[name], self.place[name], self.number[name] = content, position, number

        for name in (
            OBJECT,
            *(p for p, key in ((GROUND, "grounding"), (SEGMENT, "spatial"), (ENTITY, "legend")) if key in asked),
        ):
            put(name, feat[:-1], place[:-1])
        put(IMAGE, feat[-1:], place[-1:])
        if "caption" in asked:
            put(CAPTION, feat[-1:], place[-1:])
            put(SAID, asked["caption"], asked["caption"])
        if "grounding" in asked:
            tokens, numbers, asking = asked["grounding"]
            put(DESCRIBED, feat[-1:].repeat(len(asking), 1), place[-1:].repeat(len(asking), 1), asking)
            put(EXPRESSION, tokens, tokens, numbers)
        if "spatial" in asked:
            count = len(asked["spatial"][0])
            put(SPATIAL, feat[-1:].repeat(count, 1), place[-1:].repeat(count, 1), list(range(count)))
        if "memory" in asked:
            put(MEMORY, w["spatial_featured.weight"], w["spatial_embed.weight"])
        if "legend" in asked:
            tokens, numbers, visual, asking, _, _ = asked["legend"]
            flags = torch.tensor([[float(n in visual)] for n in numbers], dtype=torch.float64)
            put(LEGEND, feat[-1:], place[-1:])
            put(ENTITIES, feat[-1:].repeat(len(asking), 1), place[-1:].repeat(len(asking), 1), asking)
            put(WORDS, tokens + flags * feat[-1], tokens + flags * place[-1], numbers)

    def points(self, level):
        """Visual tokens are new at every layer."""
        for name, key in ((POINTS, "spatial"), (POINTS_, "legend")):
            if key in self.asked:
                tokens, numbers = sampled(self.w, level, self.source[level], self.sizes[level], *self.asked[key][-2:])
                self.content[name], self.place[name], self.number[name] = tokens, tokens, numbers

    def layer(self, number, blocked):
        w, level = self.w, number % 3
        self.points(level)
        old, at = dict(self.content), f"content_attention.layers.{number}"
        grid, key = self.source[level], self.source[level] + sines(*self.sizes[level])
        for name in old:
            if name in SEEING:
                found = attend(w, f"{at}.multihead_attn", old[name] + self.place[name], key, grid, ~blocked[name])
            elif name in READS and READS[name] in old:
                tokens = old[READS[name]]
                allowed = torch.ones((len(old[name]), len(tokens)), dtype=torch.bool)
                if name != LEGEND and self.number[name] is not None and self.number[READS[name]] is not None:
                    keys = self.number[READS[name]]
                    same = [[a == b and a >= 0 for b in keys] for a in self.number[name]]
                    allowed = torch.tensor(same, dtype=torch.bool).reshape(allowed.shape)
                found = attend(
                    w,
                    f"{at}.multihead_attn",
                    old[name] + self.place[name],
                    tokens + self.place[READS[name]],
                    tokens,
                    allowed,
                )
            else:
                continue
            self.content[name] = normed(w, f"{at}.norm", old[name] + found)
        old, at = dict(self.content), f"condition_attention.layers.{number}"
        for name, x in old.items():
            seen = [other for other in old if other == name or other in MEETS.get(name, ())]
            values = torch.cat([old[other] for other in seen])
            keys = values + torch.cat([self.place[other] for other in seen])
            if len(x):
                everything = torch.ones((len(x), len(values)), dtype=torch.bool)
                x = normed(
                    w, f"{at}.norm", x + attend(w, f"{at}.self_attn", x + self.place[name], keys, values, everything)
                )
                inner = torch.relu(
                    x @ w[f"transformer_ffn_layers.{number}.linear1.weight"].T
                    + w[f"transformer_ffn_layers.{number}.linear1.bias"]
                )
                inner = (
                    inner @ w[f"transformer_ffn_layers.{number}.linear2.weight"].T
                    + w[f"transformer_ffn_layers.{number}.linear2.bias"]
                )
                self.content[name] = normed(w, f"transformer_ffn_layers.{number}.norm", x + inner)

    def heads(self, level):
        """Outputs, and who must not look where at the next layer."""
        w, out, blocked = self.w, {}, {}
        d = {name: normed(w, "decoder_norm", x) for name, x in self.content.items() if not name.startswith("tokens")}
        weight = cosines(d[IMAGE], d[OBJECT]).softmax(-1)
        d[IMAGE] = weight @ d[OBJECT]
        for name, rows in d.items():
            if name in SEMANTIC:
                out[SEMANTIC[name]] = rows @ w["class_embed"]
            pixel = rows
            for step in range(3):
                pixel = pixel @ w[f"mask_embed.layers.{step}.weight"].T + w[f"mask_embed.layers.{step}.bias"]
                pixel = torch.relu(pixel) if step < 2 else pixel
            if name in PIXEL:
                out[PIXEL[name]] = pixel
            if name in SEEING:
                logits = torch.einsum("nc,chw->nhw", pixel, self.features)
                if name in MASKED:
                    out[MASKED[name]] = logits
                if name == MEMORY:
                    logits = self.asked["memory"].expand(len(rows), -1, -1)
                small = F.interpolate(logits[None], self.sizes[level], mode="bilinear", align_corners=False)[0]
                off = (small.sigmoid() < 0.5).flatten(1)
                off[off.all(1)] = False
                blocked[name] = torch.zeros_like(off) if name == IMAGE else off
        out["pred_logits"] = w["lang_encoder.logit_scale"].exp() * cosines(out["pred_captions"], self.table)
        return out, blocked

    def run(self):
        """Ten predictions, in order."""
        out, blocked = self.heads(0)
        found = [out]
        for number in range(LAYERS):
            self.layer(number, blocked)
            out, blocked = self.heads((number + 1) % 3)
            found.append(out)
        return found


def cosines(a, b):
    return (a / (a.norm(dim=-1, keepdim=True) + 1e-7)) @ (b / (b.norm(dim=-1, keepdim=True) + 1e-7)).T


@pytest.fixture(scope="module")
def world():
    """A network in double precision, the inputs of two images, and their prompts."""
    torch.manual_seed(0)
    config = FindConfig(width=C, features=C, heads=HEADS, ffn=24, layers=LAYERS, object_queries=OBJECTS, text_width=12,
                        memories=5, most_points=64)  # fmt: skip
    network = FindInterface(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    network = network.double()
    levels = [torch.randn(2, C, n, n + 1, dtype=torch.float64) for n in (2, 4, 8)]
    return network, levels, torch.randn(2, C, 16, 18, dtype=torch.float64), torch.randn(4, C, dtype=torch.float64)


def drawn(*spots):
    masks = torch.zeros(len(spots), 16, 18, dtype=torch.bool)
    for mask, spot in zip(masks, spots, strict=True):
        if spot is not None:
            mask[spot[0] : spot[0] + 3, spot[1] : spot[1] + 2] = True
    return masks


POSITIVE = [drawn((1, 1), (9, 12)), drawn((4, 4), (0, 0))]
NEGATIVE = [drawn((12, 2), None), drawn((5, 11), (12, 14))]
SHOWN = [drawn(None, (3, 9), (8, 8)), drawn((2, 2), None, None)]
HIDDEN = [drawn(None, (13, 1), None), drawn((10, 10), None, None)]
LENGTHS, NUMBERS = (6, 4), ([-4, 0, 1, 1, -4, 2], [-4, 0, 0, 1])
VISUAL, EXPRESSIONS = ({1, 2}, {0}), ([0, 0, 0, 1, 1, 2], [0, 0, 1, 1])


def texts(seed):
    return torch.randn(2, 6, C, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch_prompts(memory):
    pad = torch.tensor([[n >= length for n in range(6)] for length in LENGTHS])
    numbers = torch.tensor([[*some, *[-5] * (6 - len(some))] for some in NUMBERS])
    owned = torch.tensor([[*some, *[-2] * (6 - len(some))] for some in EXPRESSIONS])
    visual = torch.tensor([[float(n in VISUAL[row]) for n in some] for row, some in enumerate(numbers.tolist())])
    return Prompts(
        caption=TextTokens(texts(1), pad),
        grounding=GroundingPrompt(TextTokens(texts(2), pad), owned, torch.tensor([[0, 1, 2], [0, 1, -3]])),
        spatial=SpatialPrompt(MaskPrompt(POSITIVE, NEGATIVE), torch.tensor([[0, 1], [0, 1]]), memory),
        interleave=InterleavePrompt(TextTokens(texts(3), pad), numbers, torch.tensor([[0, 1, 2], [0, 1, -6]]), visual,
                                    MaskPrompt(SHOWN, HIDDEN)),
    )  # fmt: skip


def one_by_hand(world, row, memory):
    network, levels, features, table = world
    length, count = LENGTHS[row], (3, 2)[row]
    # queries of a batch's other images are padded, and padded ones still meet the real ones, as published
    described, entities = ([*range(count), *[pad] * (3 - count)] for pad in (-3, -6))
    asked = {
        "caption": texts(1)[row, :length],
        "grounding": (texts(2)[row, :length], EXPRESSIONS[row], described),
        "spatial": (POSITIVE[row], POSITIVE[row], NEGATIVE[row]),
        "legend": (texts(3)[row, :length], NUMBERS[row], VISUAL[row], entities, SHOWN[row], HIDDEN[row]),
    }
    if memory is not None:
        asked["memory"] = memory[row]
    return ByHand(network.state_dict(), [level[row] for level in levels], features[row], table, asked).run()


@pytest.mark.parametrize("with_memory", [False, True])
def test_all_ten_predictions_equal_the_second_writing(world, with_memory):
    network, levels, features, table = world
    half = torch.where(torch.arange(18) < 9, 5.0, -5.0).double()
    memory = torch.stack([half.expand(1, 16, 18), -half.expand(1, 16, 18)]) if with_memory else None
    made = network(levels, features, batch_prompts(memory), class_table=table, earlier=True)
    assert len(made.earlier) == LAYERS
    for row in range(2):
        for mine, expected in zip([*made.earlier, made.final], one_by_hand(world, row, memory), strict=True):
            assert set(expected) == set(mine)
            for name, value in expected.items():
                difference = (mine[name][row, : len(value)] - value).abs().max()
                assert float(difference) < 1e-5, (row, name)  # sines and points are made in single precision
