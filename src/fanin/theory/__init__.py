"""Theory: what the Gaussian and mean-field calculations say of an activation, a depth, a whole network.

Nothing here runs a model or holds a tensor; torch is touched only to evaluate a callable that wants tensors.
"""

from fanin.theory._moments import GainKind as GainKind
from fanin.theory._moments import Moments as Moments
from fanin.theory._moments import gain as gain
from fanin.theory._moments import moments as moments
from fanin.theory.activations import REGISTRY as ACTIVATIONS

__all__ = ["ACTIVATIONS", "GainKind", "Moments", "gain", "moments"]
