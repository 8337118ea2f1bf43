"""What all drop-ins share: where the key comes from, which fans hold, and the write."""

from __future__ import annotations

import math
from typing import TypedDict

import torch
from torch import Tensor

from fanin import fans as fan_arithmetic
from fanin.errors import InputError
from fanin.fans import Fans
from fanin.initializers import Initializer
from fanin.keys import Key
from fanin.materialize import check_writable, put
from fanin.slots import Slot

__all__ = ["Place", "Source", "fans_of", "write"]


class Source(TypedDict, total=False):
    """Where the randomness comes from; at most one of generator, seed and key.

    generator: a torch generator, from which 63 bits are drawn as the seed.
    seed: an integer; with ``name`` it makes the key.
    name: the tensor's name within the seed; "" by default.
    key: a :class:`fanin.Key`.
    """

    seed: int | None
    name: str
    key: Key | None


class Place(Source, total=False):
    """A source, and what the tensor is, where the shape alone does not tell.

    fans: the fans themselves.
    slot: a slot whose fans are taken.
    groups: groups of a convolution.
    transposed: True for the weight (in, out/groups, *window) of a transposed convolution.
    stride: its stride, one number or one for each window axis.
    """

    fans: Fans | None
    slot: Slot | None
    groups: int
    transposed: bool
    stride: int | tuple[int, ...]


def write(
    tensor: Tensor, initializer: Initializer, fans: Fans, generator: torch.Generator | None, source: Source
) -> Tensor:
    """Validate everything, then fill ``tensor`` in place and return it.

    Raises:
        InputError: if the tensor cannot be written, the initializer does not suit its shape, or more than one source
            of randomness is given; the tensor is then untouched.
    """
    if not isinstance(tensor, Tensor):
        raise InputError.of("tensor", type(tensor).__name__, "a torch.Tensor")
    check_writable("tensor", tensor)
    initializer.validate(tuple(tensor.shape), fans)
    put(tensor, initializer, _key(generator, source), fans)
    return tensor


def _key(generator: torch.Generator | None, source: Source) -> Key:
    unknown = set(source) - set(Place.__annotations__)
    if unknown:
        raise InputError.of("arguments", sorted(unknown), f"generator, {', '.join(sorted(Place.__annotations__))}")
    seed, key, name = source.get("seed"), source.get("key"), source.get("name", "")
    if sum(given is not None for given in (generator, seed, key)) > 1:
        raise InputError("generator, seed and key: pass at most one of them.")
    if key is not None:
        return key
    if seed is None:
        device = generator.device if generator is not None else "cpu"
        seed = int(torch.randint(0, 2**63 - 1, (), generator=generator, device=device).item())
    return Key(seed, name)


def fans_of(tensor: Tensor, place: Place) -> Fans:
    """The fans that the caller declared; without a word the ones torch reads off the shape.

    torch takes axis 1 for inputs and axis 0 for outputs, whatever the layer (``_calculate_fan_in_and_fan_out``).

    Raises:
        InputError: if declarations contradict one another or the rank is below 2.
    """
    fans, slot = place.get("fans"), place.get("slot")
    groups, transposed = place.get("groups", 1), place.get("transposed", False)
    if sum((fans is not None, slot is not None, groups != 1 or transposed)) > 1:
        raise InputError("fans, slot and groups/transposed: declare the place in one way only.")
    if slot is not None:
        if slot.fans is None:
            raise InputError.of("slot", slot.name, "a slot whose fans are known")
        return slot.fans
    if fans is not None:
        return fans
    shape = tuple(tensor.shape)
    if len(shape) < 2:
        raise InputError.of("tensor", f"shape {shape}", "rank >= 2, or the fans declared by fans= or slot=")
    if not isinstance(groups, int) or groups < 1 or shape[0] % groups:
        raise InputError.of("groups", groups, f"a divisor of {shape[0]}, the first axis of shape {shape}")
    if transposed:
        stride = place.get("stride", 1)
        strides = (stride,) * (len(shape) - 2) if isinstance(stride, int) else tuple(stride)
        if len(strides) != len(shape) - 2 or math.prod(strides) < 1:
            raise InputError.of("stride", stride, f"{len(shape) - 2} positive integers for shape {shape}")
        return fan_arithmetic.conv_transpose(shape, groups=groups, stride=strides)
    return fan_arithmetic.conv(shape, groups=groups)
