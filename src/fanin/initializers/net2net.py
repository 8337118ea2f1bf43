"""wider and deeper: grow a trained network without changing its function."""

from __future__ import annotations

from typing import Any

import numpy as np

from fanin.errors import InputError
from fanin.initializers._arrays import adopt
from fanin.initializers._base import choice, whole
from fanin.keys import Key, Law, sample

__all__ = ["deeper", "wider"]


def wider(
    weight: Any, bias: Any, following: Any, units: int, *, key: Key, split: str = "random"
) -> tuple[Any, Any, Any]:
    """Copy random units of a layer; the next layer's weights are shared among the copies, so the output stays.

    With an even split, copies receive the same gradient and never part; the default splits each outgoing weight in
    random shares that add up to one, which keeps the function exactly and breaks the symmetry.

    Args:
        weight: (units, in, *window) of the layer to widen, a NumPy array or torch tensor.
        bias: its bias (units,), or None.
        following: (out, units, *window) of the layer that reads it.
        units: new number of units; >= the old one.
        key: the stream that chooses the copies and the shares.
        split: "random" shares, or "even" ones as in the paper (which adds noise to part the copies).

    Returns:
        The new weight, bias (None if it was) and following weight, of the kinds of the old ones.

    Raises:
        InputError: if the shapes do not belong together, ``units`` is too small or ``split`` unknown.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> W, b, V = rng.normal(size=(3, 5)), rng.normal(size=3), rng.normal(size=(2, 3))
        >>> W2, b2, V2 = wider(W, b, V, 7, key=Key(0, "grow"))
        >>> x = rng.normal(size=5)
        >>> bool(abs(V2 @ np.tanh(W2 @ x + b2) - V @ np.tanh(W @ x + b)).max() < 1e-6)
        True

    Source: Chen, Goodfellow & Shlens, ICLR 2016; random shares break the symmetry they break with noise.
    """
    import torch

    first, first_back = adopt("wider", "weight", weight)
    second, second_back = adopt("wider", "following", following)
    old = first.shape[0]
    if second.ndim < 2 or second.shape[1] != old or old == 0:
        raise InputError.of("following", tuple(second.shape), f"a tensor whose axis 1 has {old} entries", "wider")
    choice("wider", "split", split, ("random", "even"))
    new = whole("wider", "units", units, low=old)
    picks = sample(Law("uniform", 0.0, float(old)), key.child("copies"), new - old)
    source = np.concatenate([np.arange(old), np.minimum(picks.astype(np.int64), old - 1)])
    # Shares in [1, 2) before they are normalised, so that none is close to 0.
    shares = np.ones(new) if split == "even" else sample(Law("uniform", 1.0, 1.0), key.child("shares"), new)
    shares = shares / np.bincount(source, weights=shares, minlength=old)[source]
    index = torch.from_numpy(source)
    factor = torch.from_numpy(shares.astype(np.float32)).view(-1, *[1] * (second.ndim - 2))
    grown = None
    if bias is not None:
        vector, bias_back = adopt("wider", "bias", bias, rank=1)
        if vector.shape[0] != old:
            raise InputError.of("bias", tuple(vector.shape), f"{old} entries, one per unit", "wider")
        grown = bias_back(vector[index])
    return first_back(first[index]), grown, second_back(second[:, index] * factor)


def deeper(weight: Any) -> tuple[Any, Any]:
    """A layer to insert after the one of this weight that passes its units through: identity (or dirac) and zero bias.

    The function stays the same where the activation f is idempotent, f(f(x)) = f(x), as ReLU is. A normalization in
    between must be set to the identity as well.

    Args:
        weight: (units, in, *window) of the layer before; the new one has windows of the same size.

    Returns:
        The new weight (units, units, *window) and bias (units,), of the kind of ``weight``.

    Raises:
        InputError: if ``weight`` has rank < 2, or a window of even length, which has no centre.

    Example:
        >>> import numpy as np
        >>> W, b = deeper(np.ones((2, 5)))
        >>> W.tolist(), b.tolist()
        ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])

    Source: Chen, Goodfellow & Shlens, ICLR 2016.
    """
    import torch

    tensor, back = adopt("deeper", "weight", weight)
    window = tuple(tensor.shape[2:])
    if tensor.ndim < 2 or any(length % 2 == 0 for length in window):
        raise InputError.of("weight", tuple(tensor.shape), "rank >= 2 and windows of odd length", "deeper")
    units = tensor.shape[0]
    new = torch.zeros(units, units, *window, device="cpu", dtype=torch.float32)
    new[(range(units), range(units), *(length // 2 for length in window))] = 1.0
    return back(new), back(torch.zeros(units, device="cpu", dtype=torch.float32))
