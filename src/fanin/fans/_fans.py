"""The Fans record and the arithmetic for each kind of linear map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fanin.errors import InputError

__all__ = ["Fans", "conv", "conv_transpose", "elementwise", "embedding", "experts", "linear"]


@dataclass(frozen=True)
class Fans:
    """How a weight tensor acts: y_j = Σ_i W_ji x_i has ``fan_in`` terms i and each x_i feeds ``fan_out`` outputs.

    Args:
        fan_in: terms summed in one output; a float, since a strided transposed convolution has a fractional mean.
        fan_out: outputs that one input feeds.
        out_axes: axes of the tensor that index outputs.
        in_axes: axes that index inputs (of one group).
        window_axes: axes of the convolution window; counted in fan_in.
        batch_axes: axes along which independent maps are stacked (experts).
        groups: groups of a convolution: the out axis (or, transposed, the in axis) holds that many blocks.
    """

    fan_in: float
    fan_out: float
    out_axes: tuple[int, ...] = (0,)
    in_axes: tuple[int, ...] = (1,)
    window_axes: tuple[int, ...] = ()
    batch_axes: tuple[int, ...] = ()
    groups: int = 1

    def __post_init__(self) -> None:
        for name in ("fan_in", "fan_out"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError.of(name, value, "a finite number >= 0", "Fans")
        if self.groups < 1:
            raise InputError.of("groups", self.groups, "an integer >= 1", "Fans")
        used = [*self.out_axes, *self.in_axes, *self.window_axes, *self.batch_axes]
        if len(used) != len(set(used)):
            raise InputError.of("axes", used, "each axis named at most once", "Fans")

    @property
    def average(self) -> float:
        """Arithmetic mean of the fans (Glorot & Bengio, 2010)."""
        return (self.fan_in + self.fan_out) / 2

    @property
    def geometric(self) -> float:
        """Geometric mean of the fans (``fan_geo_avg`` of jax.nn.initializers)."""
        return math.sqrt(self.fan_in * self.fan_out)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "fan_in": self.fan_in,
            "fan_out": self.fan_out,
            "out_axes": list(self.out_axes),
            "in_axes": list(self.in_axes),
            "window_axes": list(self.window_axes),
            "batch_axes": list(self.batch_axes),
            "groups": self.groups,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Fans:
        """Inverse of :meth:`to_json`."""
        axes = {key: tuple(data[key]) for key in ("out_axes", "in_axes", "window_axes", "batch_axes")}
        return cls(fan_in=data["fan_in"], fan_out=data["fan_out"], groups=data["groups"], **axes)


def _axis(axis: int, rank: int) -> int:
    return axis % rank


def linear(shape: Sequence[int], *, out_axis: int = 0, in_axis: int = 1) -> Fans:
    """Fans of a matrix: ``nn.Linear`` keeps (out, in); pass ``out_axis=1, in_axis=0`` for the W of ``x @ W``."""
    out_axis, in_axis = _axis(out_axis, len(shape)), _axis(in_axis, len(shape))
    return Fans(shape[in_axis], shape[out_axis], out_axes=(out_axis,), in_axes=(in_axis,))


def conv(shape: Sequence[int], *, groups: int = 1) -> Fans:
    """Fans of a convolution weight (out, in/groups, *window): fan_out counts one group's outputs only."""
    window = math.prod(shape[2:])
    return Fans(
        shape[1] * window,
        shape[0] / groups * window,
        window_axes=tuple(range(2, len(shape))),
        groups=groups,
    )


def conv_transpose(shape: Sequence[int], *, groups: int = 1, stride: Sequence[int] = ()) -> Fans:
    """Fans of a transposed convolution weight (in, out/groups, *window).

    Each output position receives on average in/groups · ∏window / ∏stride terms; each input feeds
    out/groups · ∏window outputs.
    """
    window = math.prod(shape[2:])
    return Fans(
        shape[0] / groups * window / math.prod(stride),
        shape[1] * window,
        out_axes=(1,),
        in_axes=(0,),
        window_axes=tuple(range(2, len(shape))),
        groups=groups,
    )


def embedding(shape: Sequence[int]) -> Fans:
    """Fans of a lookup table (rows, width): an output is one entry, so fan_in is 1 whatever the shape."""
    return Fans(1, shape[-1], out_axes=(len(shape) - 1,), in_axes=(), batch_axes=tuple(range(len(shape) - 1)))


def elementwise(shape: Sequence[int]) -> Fans:
    """Fans of a gain, bias or any tensor that meets its input entry by entry."""
    return Fans(1, 1, out_axes=tuple(range(len(shape))), in_axes=())


def experts(shape: Sequence[int], *, out_axis: int, in_axis: int) -> Fans:
    """Fans of stacked matrices, such as (experts, in, out): all other axes are independent copies."""
    rank = len(shape)
    out_axis, in_axis = _axis(out_axis, rank), _axis(in_axis, rank)
    rest = tuple(axis for axis in range(rank) if axis not in (out_axis, in_axis))
    return Fans(shape[in_axis], shape[out_axis], out_axes=(out_axis,), in_axes=(in_axis,), batch_axes=rest)
