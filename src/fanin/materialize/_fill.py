"""fill_: one tensor, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from fanin import fans as _fans
from fanin.errors import InputError
from fanin.initializers import Initializer
from fanin.keys import Key
from fanin.materialize._tensor import check_writable, put

if TYPE_CHECKING:
    from fanin.fans import Fans

__all__ = ["fill_"]


def fill_(
    tensor: Tensor, initializer: Initializer, *, seed: int = 0, name: str = "", fans: Fans | None = None
) -> Tensor:
    """Fill one tensor in place; the same seed, name and shape give the same values on any device.

    Args:
        tensor: a dense floating-point tensor with memory of its own; leaves that require gradients are fine.
        initializer: what it shall start as.
        seed: integer in [0, 2**64).
        name: name of its random stream; give two tensors of the same seed different names, or they start equal.
        fans: fans of the place. None reads them off the shape, as for nn.Linear (rank 2: (out, in)) and an ungrouped
            convolution (rank >= 3: (out, in, *window)); a tensor of rank < 2 counts as elementwise. For anything else
            pass them: ``fanin.fans.linear(shape, out_axis=1, in_axis=0)``, ``embedding``, ``conv_transpose``,
            ``conv(shape, groups=…)``, ``experts``.

    Returns:
        ``tensor``.

    Raises:
        InputError: if the tensor cannot be written or the initializer does not suit its shape; it is then untouched.

    Example:
        >>> import torch
        >>> from fanin.initializers import HeNormal
        >>> weight = fill_(torch.empty(256, 128), HeNormal(), seed=1, name="fc.weight")
        >>> bool(torch.equal(weight, fill_(torch.empty(256, 128), HeNormal(), seed=1, name="fc.weight")))
        True
    """
    if not isinstance(tensor, Tensor):
        raise InputError.of("tensor", type(tensor).__name__, "a torch.Tensor")
    if not isinstance(initializer, Initializer):
        raise InputError.of("initializer", initializer, "an Initializer such as fanin.initializers.HeNormal()")
    key, shape = Key(seed, name), tuple(tensor.shape)
    check_writable(name or "tensor", tensor)
    if fans is None:
        fans = _fans.elementwise(shape) if len(shape) < 2 else _fans.conv(shape)
    initializer.validate(shape, fans)
    put(tensor, initializer, key, fans)
    return tensor
