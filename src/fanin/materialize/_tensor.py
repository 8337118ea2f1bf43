"""One tensor: whether it can be written, and writing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fanin.errors import InputError
from fanin.keys import Key, Law, fill
from fanin.materialize import _shards

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fanin.fans import Fans
    from fanin.initializers import Initializer

__all__ = ["check_writable", "fill_law_", "put"]

# Types that the kernel writes itself; any other floating type receives the float32 value through copy_.
_NATIVE = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}


def check_writable(name: str, tensor: Tensor, *, meta_allowed: bool = False) -> None:
    """Raise where a tensor cannot take independent real values.

    Raises:
        InputError: for an integer, complex, sparse or expanded tensor, or one without memory; names it.
    """
    if not tensor.is_floating_point():
        raise InputError.of(name, f"dtype {tensor.dtype}", "a floating-point tensor")
    if tensor.layout is not torch.strided:
        raise InputError.of(name, f"layout {tensor.layout}", "a dense (strided) tensor")
    if _has_no_memory(tensor):
        if not meta_allowed:
            raise InputError.of(
                name, f"a tensor of shape {tuple(tensor.shape)} on meta", "real memory; fanin.materialize allocates it"
            )
        return
    if any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)):
        raise InputError.of(
            name,
            f"an expanded view of shape {tuple(tensor.shape)} and strides {tensor.stride()}",
            "a tensor whose elements do not share memory; call .clone() on it",
        )


def _has_no_memory(tensor: Tensor) -> bool:
    return tensor.is_meta or type(tensor).__name__ == "FakeTensor"


def put(tensor: Tensor, initializer: Initializer, key: Key, fans: Fans, zero_rows: Sequence[int] = ()) -> None:
    """Write the values that ``initializer`` draws from ``key`` into ``tensor``, in place and outside autograd.

    The values depend on the key and the full shape alone: not on device, memory layout or sharding; a 16-bit type
    holds the float32 value rounded to nearest even, float64 the float32 value widened.
    """
    with torch.no_grad():
        if _shards.is_sharded(tensor):
            _put_shard(tensor, initializer, key, fans, zero_rows)
            return
        law = initializer.law(fans)
        if law is None or tensor.dtype not in _NATIVE:
            tensor.copy_(torch.from_numpy(initializer.draw(key, tuple(tensor.shape), fans)))
        else:
            fill_law_(tensor, law, key)
        for row in zero_rows:
            tensor[row].zero_()


def fill_law_(tensor: Tensor, law: Law, key: Key, *, start: int = 0) -> Tensor:
    """Write elements start … start + numel of the stream of ``key`` into ``tensor``, in place and outside autograd.

    Args:
        tensor: a dense tensor of float16, bfloat16, float32 or float64, on any device and of any strides.
        law: distribution of an entry.
        key: the stream.
        start: index in the full tensor of the first element.

    Returns:
        ``tensor``.
    """
    with torch.no_grad():
        direct = tensor.device.type == "cpu" and tensor.is_contiguous()
        target = tensor if direct else torch.empty(tuple(tensor.shape), dtype=tensor.dtype)
        fill(law, key, target.data_ptr(), target.numel(), start=start, dtype=_NATIVE[tensor.dtype])
        if not direct:
            tensor.copy_(target)
        elif not tensor.is_inference():
            # The kernel writes past torch, so tell autograd that what it saved of this tensor is stale.
            torch.autograd.graph.increment_version(tensor)
    return tensor


def _put_shard(tensor: Tensor, initializer: Initializer, key: Key, fans: Fans, zero_rows: Sequence[int]) -> None:
    local, axes = _shards.local_part(tensor)
    if not local.numel():
        return
    shape = tuple(tensor.shape)
    law, start = initializer.law(fans), _shards.first_element(shape, axes)
    if law is not None and local.dtype in _NATIVE and start is not None:
        fill_law_(local, law, key, start=start)
    else:
        full = torch.empty(shape, dtype=local.dtype)
        put(full, initializer, key, fans)
        local.copy_(full[torch.meshgrid(*axes, indexing="ij")])
    for row in zero_rows:
        local[(axes[0] == row).to(local.device)] = 0
