"""The matrices inside a tensor, and random orthogonal ones."""

from __future__ import annotations

import math
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fanin.errors import InputError
from fanin.initializers._base import Initializer
from fanin.keys import Key, Law, fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from fanin.fans import Fans

__all__ = ["MatrixLaw", "Stack", "haar", "of_pattern", "stack"]

BLOCK = 128
"""Reflectors applied per matrix product: wide enough for GEMM, small beside the matrices worth the trouble."""

COLUMNS = 4 * BLOCK
"""Columns of Q that one thread computes at a time; whole panels, and fixed, as the bits depend on it."""


@dataclass(frozen=True)
class Stack:
    """How a tensor holds ``count`` independent matrices of ``rows`` outputs × ``cols`` inputs.

    Args:
        shape: shape of the tensor.
        split: the same with the axis that holds groups split in (groups, rest).
        order: permutation of ``split`` to (batch…, out…, in…, window…).
        count: matrices: ∏ batch axes · groups.
        rows: ∏ out axes, of one group.
        inputs: ∏ in axes, of one group.
        window: ∏ window axes.
        centre: index in the flattened window of its centre tap (k//2 along each axis, as torch's ``dirac_``).
    """

    shape: tuple[int, ...]
    split: tuple[int, ...]
    order: tuple[int, ...]
    count: int
    rows: int
    inputs: int
    window: int
    centre: int

    @property
    def cols(self) -> int:
        """Columns of one matrix: inputs × window."""
        return self.inputs * self.window

    def fold(self, matrices: np.ndarray) -> np.ndarray:
        """(count, rows, cols) → the tensor, contiguous float32."""
        permuted = matrices.reshape([self.split[axis] for axis in self.order])
        inverse = np.argsort(self.order)
        return np.ascontiguousarray(permuted.transpose(inverse).reshape(self.shape), dtype=np.float32)

    def unfold(self, tensor: np.ndarray) -> np.ndarray:
        """The tensor → (count, rows, cols)."""
        return tensor.reshape(self.split).transpose(self.order).reshape(self.count, self.rows, self.cols)


def stack(owner: str, shape: Sequence[int], fans: Fans) -> Stack:
    """Read the matrices off the axes of ``fans``: window axes join the inputs; batch axes and groups count them.

    Raises:
        InputError: if the axes of ``fans`` are not those of ``shape``, or the groups do not divide their axis.
    """
    shape = tuple(shape)
    out, into, window, batch = fans.out_axes, fans.in_axes, fans.window_axes, fans.batch_axes
    if sorted((*out, *into, *window, *batch)) != list(range(len(shape))):
        accepted = f"fans whose out, in, window and batch axes are those of a tensor of shape {shape}"
        raise InputError.of("fans", {"out": out, "in": into, "window": window, "batch": batch}, accepted, owner)
    split, shift = shape, 0
    if fans.groups > 1:
        # Both layouts of torch, (out, in/groups, …) and (in, out/groups, …) of a transposed one, group axis 0.
        if shape[0] % fans.groups or 0 in (*window, *batch):
            raise InputError.of("shape", shape, f"an axis 0 that holds {fans.groups} groups", owner)
        split, shift = (fans.groups, shape[0] // fans.groups, *shape[1:]), 1
    sizes = [[split[axis + shift] for axis in axes] for axes in (batch, out, into, window)]
    order = [axis + shift for axes in (batch, out, into, window) for axis in axes]
    groups = [0] if shift else []
    kernel = tuple(sizes[3])
    centre = 0 if 0 in kernel or not kernel else int(np.ravel_multi_index([size // 2 for size in kernel], kernel))
    return Stack(
        shape,
        split,
        (*groups, *order),
        math.prod(sizes[0]) * (fans.groups if shift else 1),
        math.prod(sizes[1]),
        math.prod(sizes[2]),
        math.prod(kernel),
        centre,
    )


class MatrixLaw(Initializer):
    """An initializer that fills each matrix of the tensor as one object: a subclass writes ``matrices``.

    Batch axes (experts) and groups each get an independent matrix; window axes are flattened with the inputs.
    """

    min_rank = 2

    @abstractmethod
    def matrices(self, key: Key, place: Stack) -> np.ndarray:
        """The float32 matrices, (count, rows, cols); never asked for an empty tensor."""

    @abstractmethod
    def moments(self, place: Stack) -> tuple[float, float, float, float]:
        """Mean, std, smallest and largest value of an entry; never asked for an empty tensor."""

    def mean(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        return self._moments(fans, shape)[0]

    def std(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        return self._moments(fans, shape)[1]

    def support(self, fans: Fans, shape: Sequence[int] | None = None) -> tuple[float, float]:
        return self._moments(fans, shape)[2:]

    def _moments(self, fans: Fans, shape: Sequence[int] | None) -> tuple[float, float, float, float]:
        place = self.place(fans, shape)
        return self.moments(place) if place.count * place.rows * place.cols else (0.0, 0.0, 0.0, 0.0)

    def check(self, place: Stack) -> None:
        """Raise an InputError where the matrices have a form that this initializer cannot take."""

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        super().validate(shape, fans)
        self.check(stack(type(self).__name__, shape, fans))

    def draw(self, key: Key, shape: Sequence[int], fans: Fans) -> np.ndarray:
        self.validate(shape, fans)
        if math.prod(shape) == 0:
            return np.zeros(tuple(shape), np.float32)
        place = stack(type(self).__name__, shape, fans)
        return place.fold(self.matrices(key, place))

    def place(self, fans: Fans, shape: Sequence[int] | None) -> Stack:
        """The matrices, from the shape, or from the fans alone where those of a plain matrix tell all.

        Raises:
            InputError: if the shape is needed and was not given.
        """
        name = type(self).__name__
        if shape is not None:
            return stack(name, shape, fans)
        plain = len(fans.out_axes) == len(fans.in_axes) == 1 and fans.groups == 1 and not fans.window_axes
        if not plain:
            raise InputError(f"{name}: the moments of such a tensor depend on its shape; pass shape=.")
        rows, inputs = int(fans.fan_out), int(fans.fan_in)
        return Stack((rows, inputs), (rows, inputs), (0, 1), 1, rows, inputs, 1, 0)


def of_pattern(size: int, hits: int, value: float) -> tuple[float, float, float, float]:
    """Moments of ``size`` entries of which ``hits`` are ``value`` and the others 0."""
    share = hits / size
    low, high = sorted((0.0, value)) if hits < size else (value, value)
    return value * share, abs(value) * math.sqrt(share * (1 - share)), low, high


def haar(key: Key, count: int, rows: int, cols: int, start: int = 0) -> np.ndarray:
    """Random matrices with orthonormal columns (or rows, the shorter side), uniform over all such.

    Stewart's product of random Householder reflectors, H_1 … H_m with x_k ~ N(0, I_{n−k+1}), times
    diag(−sign x_k1): what the QR factorisation of a Gaussian matrix would give, without factorising one.

    Args:
        key: the stream to draw from.
        count: number of independent matrices.
        rows, cols: shape of each.
        start: first counter of the stream to use.

    Returns:
        A float32 array (count, rows, cols).

    Source: Stewart, 1980 (SIAM J. Numer. Anal. 17).
    """
    import torch

    n, m = max(rows, cols), min(rows, cols)
    # torch's memory is aligned as BLAS likes it, so that the last bits do not depend on the allocator.
    V = torch.empty(count, n, m, device="cpu", dtype=torch.float32)
    fill(Law("normal", 0.0, 1.0), key, V.data_ptr(), V.numel(), start=start)
    Q = reflect(V)
    result: np.ndarray = (Q if rows >= cols else Q.mT.contiguous()).numpy()
    return result


def reflect(V: torch.Tensor) -> torch.Tensor:
    """Q of the matrices whose lower trapezoids hold x_k in column k; V (count, n, m) is overwritten.

    The reflectors of a panel of columns act at once in compact WY form I − V T Vᵀ, so nearly all the work is matrix
    products. Columns of Q are independent of each other: fixed groups of them are shared out among threads, each
    product running on one, so that the bits do not depend on the number of threads.

    Source: compact WY: Schreiber & Van Loan, 1989.
    """
    import torch

    count, n, m = V.shape
    threads = torch.get_num_threads()
    Q = torch.zeros(count, n, m, device="cpu", dtype=torch.float32)
    # Small matrices go through batched products together; those copy strided operands, so large ones go one by one.
    batches = [slice(None)] if m <= BLOCK else [slice(i, i + 1) for i in range(count)]
    try:
        torch.set_num_threads(1)
        signs, panels = _panels(V)
        work = [(batch, low) for batch in batches for low in reversed(range(0, m, COLUMNS))]
        if threads == 1 or len(work) == 1:
            for batch, low in work:
                _apply(V, panels, Q, batch, low)
        else:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                list(pool.map(lambda item: _apply(V, panels, Q, *item), work))
    finally:
        torch.set_num_threads(threads)
    return Q.mul_(-signs[:, None, :])


def _panels(V: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Turn the x_k in V into reflectors v_k = x_k + sign(x_k1)·‖x_k‖·e_1; return the signs and T⁻¹ of each panel.

    T⁻¹ = triu(VᵀV, 1) + diag(VᵀV)/2. VᵀV follows from the products of the x_k, since v_k adds one term to each entry;
    that saves a pass for the norms.

    Source: this T⁻¹: Puglisi, 1992.
    """
    import torch

    count, _, m = V.shape
    signs, found = torch.empty(count, m, device="cpu", dtype=torch.float32), []
    for first in range(0, m, BLOCK):
        panel = V[:, first:, first : first + BLOCK]
        top = panel[:, : panel.shape[2]].tril_()
        heads = top.diagonal(dim1=1, dim2=2)
        # A head of exactly 0 has no sign; the last reflector of a square matrix would even be the zero vector.
        heads.masked_fill_(heads == 0, 1e-15)
        sign = signs[:, first : first + BLOCK] = torch.sign(heads)
        gram = panel.mT @ panel
        squares = gram.diagonal(dim1=1, dim2=2)
        norms = squares.sqrt()
        inverse = gram.triu(1) + (top.tril(-1) * (sign * norms)[:, :, None]).mT
        inverse.diagonal(dim1=1, dim2=2).copy_(squares + norms * heads.abs())
        heads += sign * norms
        found.append(inverse)
    return signs, found


def _apply(V: torch.Tensor, panels: list[torch.Tensor], Q: torch.Tensor, batch: slice, low: int) -> None:
    """Multiply the identity's columns low … low + COLUMNS by all reflectors, from the last panel to the first."""
    import torch

    V, Q = V[batch], Q[batch]
    single, high = len(V) == 1, min(low + COLUMNS, V.shape[2])
    mm, addmm = (torch.mm, torch.Tensor.addmm_) if single else (torch.bmm, torch.Tensor.baddbmm_)
    pick: slice | int = 0 if single else slice(None)
    for first in reversed(range(0, high, BLOCK)):
        last, left = min(first + BLOCK, V.shape[2]), max(first, low)
        weights = torch.empty(len(V), last - first, high - left, device="cpu", dtype=torch.float32)
        own = last - first if left == first else 0  # columns of this panel: still those of the identity
        if own:
            weights[:, :, :own] = V[:, first:last, first:last].mT
            Q[:, first:last, first:last].diagonal(dim1=1, dim2=2).fill_(1)
        if left + own < high:  # the other columns are still 0 in the rows of this panel
            mm(V[pick, last:, first:last].mT, Q[pick, last:, left + own : high], out=weights[pick, :, own:])
        weights = torch.linalg.solve_triangular(panels[first // BLOCK][batch], weights, upper=True)
        addmm(Q[pick, first:, left:high], V[pick, first:, first:last], weights[pick], alpha=-1)
