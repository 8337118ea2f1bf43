"""What one kind of module says about its parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from fanin._registry import Registry
from fanin.fans import Fans, elementwise
from fanin.slots._slot import Part, Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

__all__ = ["KINDS", "Kind", "Place", "bias", "packed"]


@dataclass(frozen=True)
class Place:
    """What is known about one parameter: the part of a Slot that its module kind (or the op that used it) tells.

    Args:
        role: what it does to the signal.
        fans: effective fans and axes; None only where role is "unknown".
        why: one line: what told.
        parts: independent blocks packed in the tensor.
        padding_index: row that must stay zero, or None.
        settings: plain values of the module that a scheme may need ("init" of PReLU, "nonlinearity" of an RNN).
    """

    role: Role
    fans: Fans | None
    why: str
    parts: tuple[Part, ...] = ()
    padding_index: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class Kind(ABC):
    """One kind of module: which classes, and what each of their parameters is.

    Class attributes:
        name: the word that ``Slot.kind`` shows.
        modules: classes it recognises by ``isinstance``.
        layout_survives: True where a subclass that writes its own ``forward`` still stores its parameters in the same
            layout and meaning (a linear map does; a norm whose forward adds 1 to its weight does not). Where it is
            False such a subclass is left to the trace.
    """

    name: ClassVar[str]
    modules: ClassVar[tuple[type[nn.Module], ...]] = ()
    layout_survives: ClassVar[bool] = True

    def claims(self, module: nn.Module) -> bool:
        """Whether the parameters of this module are of this kind."""
        if not isinstance(module, self.modules):
            return False
        return self.layout_survives or not overrides_forward(module, self.modules)

    @abstractmethod
    def place(self, module: nn.Module, name: str, shape: Sequence[int]) -> Place | None:
        """What the parameter ``name`` of ``module`` is; None for a name that this kind does not know."""

    def example(self) -> list[nn.Module]:
        """Small modules of this kind, whose every parameter it must know; read by the tests."""
        return []


def overrides_forward(module: nn.Module, classes: Sequence[type[nn.Module]]) -> bool:
    """Whether the class of ``module`` is a user's subclass whose forward is not torch's own."""
    owner = next(cls for cls in type(module).__mro__ if "forward" in vars(cls))
    return not (owner in classes or owner.__module__.startswith("torch.nn."))


def bias(shape: Sequence[int], parts: tuple[Part, ...] = ()) -> Place:
    """The bias of a linear map."""
    return Place("bias", elementwise(shape), "bias of the module", parts)


def packed(
    names: Sequence[str],
    fans: Fans | Sequence[Fans],
    *,
    axis: int,
    sizes: Sequence[int],
    nonlinearities: Sequence[str | None] = (),
) -> tuple[Part, ...]:
    """Parts of the given sizes stacked along ``axis``, in order."""
    each = [fans] * len(names) if isinstance(fans, Fans) else list(fans)
    follow = list(nonlinearities) or [None] * len(names)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(
        Part(name, axis, start, start + size, part_fans, nonlinearity)
        for name, start, size, part_fans, nonlinearity in zip(names, starts, sizes, each, follow, strict=True)
    )


KINDS: Registry[Kind] = Registry("slot kind")
