"""tat: networks without norms or skips, by leaky ReLUs or smooth functions tailored to their depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanin import theory
from fanin.errors import PlanError
from fanin.initializers._base import number
from fanin.schemes._kernel_network import kernel_network
from fanin.schemes._shaping import ShapingScheme

if TYPE_CHECKING:
    from fanin.schemes._base import Context
    from fanin.schemes._kernel_network import KernelNetwork
    from fanin.theory import Shaping

__all__ = ["TAT"]

_LEAKY = ("relu", "leaky_relu", "rrelu")


class TAT(ShapingScheme):
    """Leaky ReLUs that give the network C(0) = η, or smooth f with Q = Q′ = C′ = 1 and C″(1) = τ; SUO weights.

    Args:
        eta: η in (0, 1): correlation at the end of inputs that had none, for (leaky) ReLU.
        tau: τ > 0: curvature at 1 of the network's C map, for smooth functions.

    Source: Zhang, Botev & Martens, ICLR 2022.
    """

    name = "tat"
    title = "networks of any depth without norm: leaky ReLU slopes or smooth functions tailored to the depth"
    source = "Zhang, Botev & Martens, ICLR 2022"

    def __init__(self, eta: float = 0.9, tau: float = 0.3) -> None:
        self.eta = number("scheme 'tat'", "eta", eta, low=0, high=1, strict=True)
        self.tau = number("scheme 'tat'", "tau", tau, low=0, strict=True)

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        leaky, smooth = self._kinds(context)
        if leaky and smooth:
            raise PlanError(
                f"scheme 'tat' sets C(0) of networks of leaky ReLUs and C''(1) of smooth ones, and this one has both "
                f"({leaky[0]} and {smooth[0]}). Use one kind of activation, or scheme 'dks', which takes any."
            )

    def _kinds(self, context: Context) -> tuple[list[str], list[str]]:
        """Places of (leaky) ReLUs and of other activations; those that are shaped already by what they were."""
        assert context.graph is not None
        places = [(place.node.op, place.node.place) for place in kernel_network(context, homogeneous=False).places]
        done = [(str(node.attrs.get("base", "")), node.place) for node in context.graph.nodes if node.op == "shaped"]
        found = [(op.partition("(")[0], place) for op, place in (*places, *done)]
        return [p for op, p in found if op in _LEAKY], [p for op, p in found if op not in _LEAKY]

    def homogeneous(self, context: Context) -> bool:
        """See :class:`ShapingScheme`."""
        return bool(self._kinds(context)[0])

    def shape(self, fn: Any, network: KernelNetwork) -> Shaping:
        """See :class:`ShapingScheme`."""
        return theory.tat(fn, network.maximum, eta=self.eta, tau=self.tau)
