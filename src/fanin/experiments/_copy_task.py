"""The copy task: symbols, a delay, a signal, and then the symbols are to be recalled."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from fanin.data import Dataset

__all__ = ["LETTERS", "Recaller", "copies"]

LETTERS = 8
"""Different symbols; a blank and the signal come on top (Arjovsky et al., 2016, §4.1)."""


def copies(delay: int, symbols: int = 1, *, train: int = 8000, test: int = 1000, seed: int = 0) -> Dataset:
    """One-hot sequences (samples, symbols + delay + symbols, 10) and the symbols to be recalled, (samples, symbols).

    Without memory the loss is ln 8 = 2.08 nat and the accuracy 1/8.

    Args:
        delay: steps between the last symbol and the first recall; the signal comes on the last of them.
        symbols: to be recalled.
        train: training samples.
        test: test samples.
        seed: of the symbols.

    Example:
        >>> data = copies(5, 2, train=3, test=1)
        >>> data.train_x.argmax(-1)[:, 2:].tolist()  # blanks are 8, the signal is 9
        [[8, 8, 8, 8, 9, 8, 8], [8, 8, 8, 8, 9, 8, 8], [8, 8, 8, 8, 9, 8, 8]]

    Source: Hochreiter & Schmidhuber, 1997; Arjovsky, Shah & Bengio, 2016.
    """
    random = np.random.default_rng(seed)
    targets = random.integers(0, LETTERS, (train + test, symbols))
    tokens = np.full((len(targets), symbols + delay + symbols), LETTERS)
    tokens[:, :symbols] = targets
    tokens[:, symbols + delay - 1] = LETTERS + 1
    x = np.eye(LETTERS + 2, dtype=np.float32)[tokens]
    words = f"copy task: {symbols} of {LETTERS} symbols over {delay} steps"
    return Dataset(words, x[:train], targets[:train], x[train:], targets[train:], LETTERS, source=words)


class Recaller(nn.Module):
    """A recurrent layer whose state is read at the steps of recall.

    Args:
        units: of the layer.
        symbols: to be recalled.
        cell: nn.LSTM or nn.GRU.
    """

    def __init__(self, units: int, symbols: int = 1, cell: type[nn.LSTM] | type[nn.GRU] = nn.LSTM) -> None:
        super().__init__()
        self.memory = cell(LETTERS + 2, units, batch_first=True)
        self.head = nn.Linear(units, LETTERS)
        self.symbols = symbols

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time, 10) → (batch, symbols, 8)."""
        states, _ = self.memory(x)
        out: Tensor = self.head(states[:, -self.symbols :])
        return out
