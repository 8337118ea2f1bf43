"""DeltaOrthogonal: a convolution that is an isometry, one orthogonal matrix in the centre of the window."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fanin.errors import InputError
from fanin.fans import Fans, conv
from fanin.initializers._base import Example, number
from fanin.initializers._matrix import MatrixLaw, Stack, haar, stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fanin.keys import Key

__all__ = ["DeltaOrthogonal"]


class DeltaOrthogonal(MatrixLaw):
    """Zero but for the centre tap, which is a random matrix with orthonormal columns: ‖conv(x)‖ = gain·‖x‖.

    With "same" padding and stride 1 the whole convolution is an isometry, unlike a flattened Orthogonal. The centre
    of a window of even length k is k//2, as torch's ``dirac_`` has it (jax' is (k − 1)//2). Each group gets a matrix
    of its own.

    Args:
        gain: the singular values of the convolution; >= 0.
        scaled: also multiply by max(√(out/in), 1), which keeps E y² instead of ‖y‖ (SUO-delta), and accept fewer
            outputs than inputs.

    Raises:
        InputError: if ``gain`` is negative; on use, if there is no window, or unless ``scaled`` fewer outputs than
            inputs in a group, which no isometry allows.

    Example:
        >>> from fanin.fans import conv
        >>> DeltaOrthogonal().std(conv((64, 32, 3, 3)), (64, 32, 3, 3)) == 1 / (64 * 9) ** 0.5
        True

    Source: Xiao et al., ICML 2018; scaled: Martens et al., 2021.
    """

    source = "Xiao et al., ICML 2018; scaled: Martens et al., 2021"
    formula = "W[…, centre] = gain · Q, QᵀQ = I in Haar's measure; other taps 0"
    min_rank = 3

    def __init__(self, gain: float = 1.0, scaled: bool = False) -> None:
        if not isinstance(scaled, bool):
            raise InputError.of("scaled", scaled, "True or False", "DeltaOrthogonal")
        super().__init__(gain=number("DeltaOrthogonal", "gain", gain, low=0), scaled=scaled)

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(), (24, 16, 3, 3), conv((24, 16, 3, 3))
        yield cls(2.0), (24, 6, 4), conv((24, 6, 4), groups=3)
        yield cls(scaled=True), (8, 16, 5), conv((8, 16, 5))

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        super().validate(shape, fans)
        if not fans.window_axes:
            raise InputError.of("fans", fans, "fans with window axes (a convolution)", "DeltaOrthogonal")
        place = stack("DeltaOrthogonal", shape, fans)
        if not self.config["scaled"] and place.inputs > place.rows:
            accepted = "at least as many outputs as inputs in a group, or scaled=True"
            raise InputError.of("shape", place.shape, accepted, "DeltaOrthogonal")

    def _scale(self, place: Stack) -> float:
        scale = max(math.sqrt(place.rows / place.inputs), 1.0) if self.config["scaled"] else 1.0
        return float(self.config["gain"]) * scale

    def matrices(self, key: Key, place: Stack) -> np.ndarray:
        full = np.zeros((place.count, place.rows, place.inputs, place.window), np.float32)
        full[..., place.centre] = haar(key, place.count, place.rows, place.inputs) * np.float32(self._scale(place))
        return full.reshape(place.count, place.rows, place.cols)

    def moments(self, place: Stack) -> tuple[float, float, float, float]:
        scale = self._scale(place)
        return 0.0, scale / math.sqrt(max(place.rows, place.inputs) * place.window), -scale, scale
