"""Post-norm transformers of 24 layers on a text, character by character: Adam at a constant rate, no warm-up.

The score is the loss on the held-out last tenth of the book, in bits per character: 4.6 for one that knows how often
each character occurs, which is where a start that fails ends. DeepNorm, Admin and T-Fixup change the forward pass; each
gets the one it was published for, written by hand; where ``nn.TransformerEncoder`` is used, ``fanin.rewire_`` makes it.

Source: Xiong et al., ICML 2020 (post-norm needs warm-up); Liu et al., EMNLP 2020 (Admin); Huang et al., ICML 2020
(T-Fixup); Wang et al., 2022 (DeepNorm).
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch
from benchmarks.training._table import Row, Settings
from torch import Tensor, nn

import fanin
from fanin.data import Dataset, alice
from fanin.experiments._transformers import Transformer, admin, bits, unigram
from fanin.schemes.deepnorm import constants

LAYERS, WIDTH, HEADS, CONTEXT, CLASSES = 24, 32, 4, 32, 70
STEPS = 150
LRS = (1e-3, 3e-3)
"""Two rates, so that both are trained to the end: a start that dies at the higher one looks better for 40 updates. At
1e-2 nothing trains, below 1e-3 nothing gets far in so few updates."""


@cache
def text() -> Dataset:
    """The book in windows of 32 characters."""
    return alice(CONTEXT)


class Encoder(nn.Module):
    """``nn.TransformerEncoder`` between embeddings and a linear head; its layers start as clones of one another."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(CLASSES, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=False
        )
        self.blocks = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, context) → (batch, context, classes)."""
        x = self.token(tokens) + self.position(torch.arange(tokens.shape[1]))
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        out: Tensor = self.head(self.blocks(x, mask=mask, is_causal=True))
        return out


def rewired(scheme: str) -> Encoder:
    """The encoder with the forward pass of a scheme."""
    model = Encoder()
    fanin.rewire_(model, text().batch(2).inputs, scheme=scheme)
    return model


def profiled(model: Transformer) -> None:
    """Admin's start, from a batch of 16 windows."""
    admin(model, text().batch(16).inputs, torch.initial_seed() % (1 << 31))


def rows(settings: Settings) -> list[Row]:
    """Blocks written by hand, each start with its own forward; and ``nn.TransformerEncoder`` as it comes."""
    by_hand = partial(Transformer, LAYERS, WIDTH, CONTEXT, CLASSES, heads=HEADS)
    plain, alpha = partial(by_hand, "post"), constants("only", LAYERS)[0]
    forwards = {"deepnorm": partial(by_hand, "post", alpha), "admin": partial(by_hand, "post", "omega")}
    forwards["t_fixup"] = partial(by_hand, "none")
    usual = {"torch": "own", "glorot": "glorot", "gpt2": "gpt2"}
    published = {"small_init": "small_init", "deepnorm": "deepnorm", "admin": profiled, "t_fixup": "t_fixup"}
    starts: dict[str, Any] = {**usual, **published, "auto": "auto"}
    encoders: dict[str, Any] = {**usual, "deepnorm": "deepnorm", "auto": "auto"}
    floor = unigram(text())
    shared: dict[str, Any] = {
        "table": "transformer",
        "data": text(),
        "optimizer": "adam",
        "lrs": LRS,
        "steps": STEPS // (4 if settings.quick else 1),
        "batch_size": 16,
        "loss": bits,
        "score": "test_loss",
        "learned_below": floor - 0.5,
    }
    return [
        Row(
            name="post-norm 24, written by hand",
            make={name: forwards.get(name, plain) for name in starts},
            starts=starts,
            labels={"blocks": "by hand", "layers": LAYERS, "unigram": floor},
            **shared,
        ),
        Row(
            name="post-norm 24, nn.TransformerEncoder",
            make={name: partial(rewired, name) if name == "deepnorm" else Encoder for name in encoders},
            starts=encoders,
            labels={"blocks": "torch", "layers": LAYERS, "unigram": floor},
            **shared,
        ),
    ]
