"""dks: networks without norms or skips that train like residual ones, by activations shaped for their depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanin import theory
from fanin.errors import InputError
from fanin.initializers._base import number
from fanin.schemes._shaping import ShapingScheme

if TYPE_CHECKING:
    from fanin.schemes._base import Context
    from fanin.schemes._kernel_network import KernelNetwork
    from fanin.theory import Shaping

__all__ = ["DKS"]


class DKS(ShapingScheme):
    """Activations γ·(f(αx + β) + δ) with Q(1) = Q′(1) = 1, C(0) = 0, and slope ζ of the network's C map; SUO weights.

    Inputs of every layer then keep second moment 1 and their correlations nearly so, at any depth.

    Args:
        zeta: ζ > 1, the largest slope at 1 of the C map of a subnetwork.

    Source: Martens et al., 2021 (Deep Kernel Shaping).
    """

    name = "dks"
    title = "networks of any depth without norm: activations shaped to keep kernels, scaled orthogonal weights"
    source = "Martens et al., 2021 (Deep Kernel Shaping)"

    def __init__(self, zeta: float = 1.5) -> None:
        self.zeta = number("scheme 'dks'", "zeta", zeta, low=1, strict=True)

    def homogeneous(self, context: Context) -> bool:
        """See :class:`ShapingScheme`."""
        return False

    def shape(self, fn: Any, network: KernelNetwork) -> Shaping:
        """See :class:`ShapingScheme`."""
        try:
            return theory.dks(fn, network.maximum, zeta=self.zeta)
        except InputError as error:
            raise InputError(
                f"{error} The network has {network.depth} activations on its longest path; a smaller zeta asks less."
            ) from error
