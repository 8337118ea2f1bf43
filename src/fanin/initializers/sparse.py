"""Sparse, TorchSparse, LasagneSparse: few non-zero weights per unit, under the three meanings in use."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from fanin.fans import linear
from fanin.initializers._base import Example, number, spread, whole
from fanin.initializers._matrix import MatrixLaw, Stack
from fanin.keys import Key, Law, sample

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LasagneSparse", "Sparse", "TorchSparse"]


class _Sparse(MatrixLaw):
    """Gaussian entries, of which each line along one axis of the matrix keeps exactly so many."""

    axis = 2  # 2: along the inputs, fixing what each output receives; 1: along the outputs

    @abstractmethod
    def kept(self, length: int) -> int:
        """Non-zero entries in a line of this length."""

    def matrices(self, key: Key, place: Stack) -> np.ndarray:
        shape = (place.count, place.rows, place.cols)
        values = sample(Law("normal", 0.0, self.config["stddev"]), key, math.prod(shape)).reshape(shape)
        order = sample(Law("uniform", 0.0, 1.0), key.child("places"), math.prod(shape)).reshape(shape)
        kept, length = self.kept(shape[self.axis]), shape[self.axis]
        if kept == 0:
            return np.zeros(shape, np.float32)
        places = np.argpartition(order, min(kept, length - 1), axis=self.axis)
        mask = np.zeros(shape, bool)
        np.put_along_axis(mask, np.take(places, range(kept), axis=self.axis), True, axis=self.axis)
        return np.where(mask, values, np.float32(0))

    def moments(self, place: Stack) -> tuple[float, float, float, float]:
        length = (place.count, place.rows, place.cols)[self.axis]
        std = self.config["stddev"] * math.sqrt(self.kept(length) / length)
        return 0.0, std, -math.inf if std else 0.0, math.inf if std else 0.0


class Sparse(_Sparse):
    """Each output receives exactly ``nonzeros`` non-zero incoming weights N(0, stddev²), at random inputs.

    The total input of a unit then does not depend on the fan-in, so units neither saturate nor look alike. Where there
    are fewer inputs, all are used.

    Args:
        nonzeros: incoming weights per output that are not zero.
        stddev: their standard deviation; >= 0.
        std: another name for ``stddev``.

    Raises:
        InputError: if an argument is not acceptable; on use, if the tensor has rank < 2.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.keys import Key
        >>> W = Sparse(3).draw(Key(0), (4, 50), linear((4, 50)))
        >>> (W != 0).sum(axis=1).tolist()
        [3, 3, 3, 3]

    Source: Martens, ICML 2010; Sutskever et al., ICML 2013 (15 weights of standard deviation 1).
    """

    source = "Martens, ICML 2010; Sutskever et al., ICML 2013"
    formula = "nonzeros entries of each row ~ N(0, stddev²), the others 0"

    def __init__(self, nonzeros: int = 15, stddev: float | None = None, *, std: float | None = None) -> None:
        super().__init__(nonzeros=whole("Sparse", "nonzeros", nonzeros), stddev=spread("Sparse", stddev, std, 1.0))

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (200, 90), linear((200, 90))
        yield cls(20, 0.5), (90, 200), linear((90, 200), out_axis=1, in_axis=0)

    def kept(self, length: int) -> int:
        return min(int(self.config["nonzeros"]), length)


class TorchSparse(_Sparse):
    """torch's ``sparse_``: the fraction ``sparsity`` of each *input's* outgoing weights is exactly zero.

    On a Linear weight (out, in) torch counts along the columns, so what an output receives varies; see Sparse for
    Martens' fixed number of incoming weights.

    Args:
        sparsity: fraction of zeros in each column, rounded up to whole entries; in [0, 1].
        stddev: standard deviation of the others; >= 0. Default 0.01, as in torch.
        std: another name for ``stddev``.

    Raises:
        InputError: if an argument is not acceptable; on use, if the tensor is not a matrix.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.keys import Key
        >>> W = TorchSparse(0.9).draw(Key(0), (20, 4), linear((20, 4)))
        >>> (W != 0).sum(axis=0).tolist()
        [2, 2, 2, 2]

    Source: torch.nn.init.sparse_, after Martens, ICML 2010.
    """

    source = "torch.nn.init.sparse_, after Martens, ICML 2010"
    formula = "⌈sparsity · rows⌉ entries of each column 0, the others ~ N(0, stddev²)"
    axis = 1
    max_rank = 2

    def __init__(self, sparsity: float = 0.9, stddev: float | None = None, *, std: float | None = None) -> None:
        super().__init__(
            sparsity=number("TorchSparse", "sparsity", sparsity, low=0, high=1),
            stddev=spread("TorchSparse", stddev, std, 0.01),
        )

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(0.8), (90, 200), linear((90, 200))

    def kept(self, length: int) -> int:
        return length - math.ceil(float(self.config["sparsity"]) * length)


class LasagneSparse(_Sparse):
    """Lasagne's ``Sparse``: the fraction ``sparsity`` of each output's incoming weights is *non-zero*.

    The opposite of torch's meaning, and along the other axis.

    Args:
        sparsity: fraction of non-zeros among the inputs of an output, rounded down to whole entries; in [0, 1].
        stddev: their standard deviation; >= 0. Default 0.01, as in Lasagne.
        std: another name for ``stddev``.

    Raises:
        InputError: if an argument is not acceptable; on use, if the tensor is not a matrix.

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.keys import Key
        >>> W = LasagneSparse(0.1).draw(Key(0), (4, 20), linear((4, 20)))
        >>> (W != 0).sum(axis=1).tolist()
        [2, 2, 2, 2]

    Source: lasagne.init.Sparse, after Martens, ICML 2010.
    """

    source = "lasagne.init.Sparse, after Martens, ICML 2010"
    formula = "⌊sparsity · cols⌋ entries of each row ~ N(0, stddev²), the others 0"
    max_rank = 2

    def __init__(self, sparsity: float = 0.1, stddev: float | None = None, *, std: float | None = None) -> None:
        super().__init__(
            sparsity=number("LasagneSparse", "sparsity", sparsity, low=0, high=1),
            stddev=spread("LasagneSparse", stddev, std, 0.01),
        )

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(0.3), (200, 90), linear((200, 90))

    def kept(self, length: int) -> int:
        return int(self.config["sparsity"] * length)
