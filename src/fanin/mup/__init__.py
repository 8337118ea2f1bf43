"""mup: the maximal-update parametrization; the start and the learning rates that let widths share them."""

from fanin.mup._groups import param_groups as param_groups
from fanin.mup._roles import Scaling as Scaling
from fanin.mup._roles import scalings as scalings

__all__ = ["Scaling", "param_groups", "scalings"]
