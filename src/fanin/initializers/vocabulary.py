"""mean_resize: new rows for a grown vocabulary."""

from __future__ import annotations

import math
from typing import Any

from fanin.errors import InputError
from fanin.initializers._arrays import adopt
from fanin.initializers._base import number, whole
from fanin.keys import Key, Law, sample

__all__ = ["mean_resize"]


def mean_resize(weight: Any, rows: int, *, key: Key, epsilon: float = 1e-5) -> Any:
    """The table with new rows drawn from N(μ, epsilon·Σ), the mean and covariance of the old ones.

    Random new rows can take all the probability of a tied head; at the mean row, the partition function grows by at
    most a factor 1 + k/V (Jensen). Drawn as μ + √(epsilon/V)·z(W − μ) with z ~ N(0, I_V), which has exactly that
    covariance, singular or not.

    Args:
        weight: the old table (V, width), a NumPy array or torch tensor.
        rows: number of rows of the new table; >= V.
        key: the stream of the new rows.
        epsilon: share of the old covariance; >= 0. 0 gives equal rows, which only differ once trained apart; 1 gives
            rows that vary like the old ones.

    Returns:
        The new table (rows, width), old rows first, of the kind, dtype and device of ``weight``.

    Raises:
        InputError: if ``weight`` is no finite table of at least one row, ``rows < V`` or ``epsilon`` negative.

    Example:
        >>> import numpy as np
        >>> W = np.random.default_rng(0).normal(size=(50, 8)).astype("float32")
        >>> grown = mean_resize(W, 52, key=Key(0, "embed"), epsilon=0.0)
        >>> grown.shape, bool(abs(grown[51] - W.mean(axis=0)).max() < 1e-6)
        ((52, 8), True)

    Source: Hewitt, Initializing New Word Embeddings for Pretrained Language Models, 2021 (epsilon 1e-5).
    """
    import torch

    table, back = adopt("mean_resize", "weight", weight, rank=2)
    known = table.shape[0]
    epsilon = number("mean_resize", "epsilon", epsilon, low=0)
    if known == 0:
        raise InputError.of("weight", tuple(table.shape), "a table of at least one row", "mean_resize")
    new = whole("mean_resize", "rows", rows, low=known) - known
    mean = table.mean(dim=0)
    z = torch.from_numpy(sample(Law("normal", 0.0, math.sqrt(epsilon / known)), key, new * known)).view(new, known)
    return back(torch.cat([table, mean + z @ (table - mean)]))
