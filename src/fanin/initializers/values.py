"""Values: numbers that a procedure found, such as the weights of a pre-training or the means of a batch."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.errors import InputError
from fanin.fans import linear
from fanin.initializers._base import Example, Initializer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fanin.fans import Fans
    from fanin.keys import Key

__all__ = ["Values"]

_ACCEPTED = "an array of finite numbers, or the text that to_json() wrote"


class Values(Initializer):
    """W = values: the numbers themselves, where no formula gives them; any key writes the same.

    They are held and saved in float32 (compressed, as text), so that a recipe that holds them is still plain JSON.

    Args:
        values: array of the tensor's shape, finite in float32; or the text that ``to_json`` wrote.

    Raises:
        InputError: if a value is not finite, or a text is not one that ``to_json`` wrote.

    Example:
        >>> from fanin.fans import linear
        >>> found = Values([[1.0, 2.0], [3.0, 6.0]])
        >>> found.mean(linear((2, 2))), Initializer.from_json(found.to_json()) == found
        (3.0, True)

    Source: Hinton, Osindero & Teh, 2006 (weights from pre-training), for one.
    """

    source = "Hinton, Osindero & Teh, 2006 (weights from pre-training), for one"
    formula = "the given numbers"

    def __init__(self, values: Any) -> None:
        super().__init__(values=values if isinstance(values, str) else _packed(values))
        object.__setattr__(self, "array", _unpacked(self.config["values"]))

    array: np.ndarray
    """The numbers, float32, not writeable."""

    @classmethod
    def examples(cls) -> Iterator[Example]:
        yield cls(np.arange(12.0).reshape(3, 4) / 7), (3, 4), linear((3, 4))
        yield cls(np.full((5, 2), -1.5)), (5, 2), linear((5, 2))

    def validate(self, shape: Sequence[int], fans: Fans) -> None:
        super().validate(shape, fans)
        if tuple(shape) != self.array.shape:
            raise InputError.of("shape", tuple(shape), f"{self.array.shape}, the shape of the values", "Values")

    def draw(self, key: Key, shape: Sequence[int], fans: Fans) -> np.ndarray:
        self.validate(shape, fans)
        return self.array.copy()

    def mean(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        return float(self.array.mean(dtype=np.float64)) if self.array.size else 0.0

    def std(self, fans: Fans, shape: Sequence[int] | None = None) -> float:
        return float(self.array.std(dtype=np.float64)) if self.array.size else 0.0

    def support(self, fans: Fans, shape: Sequence[int] | None = None) -> tuple[float, float]:
        return (float(self.array.min()), float(self.array.max())) if self.array.size else (0.0, 0.0)

    def __repr__(self) -> str:
        digest = hashlib.sha256(self.config["values"].encode()).hexdigest()[:8]
        return f"Values(shape={self.array.shape}, sha256={digest}…)"


def _packed(values: Any) -> str:
    """ "3x4:" and the little-endian float32 numbers, compressed, in base64."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError.of("values", type(values).__name__, _ACCEPTED, "Values") from None
    with np.errstate(over="ignore"):
        array = array.astype("<f4")
    if not np.isfinite(array).all():
        raise InputError.of("values", f"{int((~np.isfinite(array)).sum())} values that are not finite", _ACCEPTED)
    body = base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 1)).decode()
    return "x".join(map(str, array.shape)) + ":" + body


def _unpacked(text: str) -> np.ndarray:
    try:
        head, body = text.split(":")
        shape = tuple(int(size) for size in head.split("x") if head)
        flat = np.frombuffer(zlib.decompress(base64.b64decode(body, validate=True)), dtype="<f4")
        if flat.size != math.prod(shape) or not np.isfinite(flat).all():
            raise ValueError
    except (ValueError, binascii.Error, zlib.error):
        raise InputError.of("values", f"{text[:32]!r}…", _ACCEPTED, "Values") from None
    array = flat.astype(np.float32).reshape(shape)
    array.flags.writeable = False
    return array
