"""Graph: which op was called where, on whose output, with which parameters; a plain record of one run."""

from fanin.graph._graph import Graph as Graph
from fanin.graph._graph import Node as Node
from fanin.graph._graph import ParamUse as ParamUse
from fanin.graph._ops import OpKind as OpKind
from fanin.graph._ops import Saturation as Saturation
from fanin.graph._ops import classify as classify
from fanin.graph._ops import saturation_bounds as saturation_bounds
from fanin.graph._patterns import name_patterns as name_patterns
from fanin.graph._walk import Following as Following
from fanin.graph._walk import ResidualAdd as ResidualAdd
from fanin.graph._walk import activation_after as activation_after
from fanin.graph._walk import following as following
from fanin.graph._walk import heads as heads
from fanin.graph._walk import is_normalized as is_normalized
from fanin.graph._walk import residual_adds as residual_adds
from fanin.graph._walk import residual_ends as residual_ends

__all__ = [
    "Following",
    "Graph",
    "Node",
    "OpKind",
    "ParamUse",
    "ResidualAdd",
    "Saturation",
    "activation_after",
    "classify",
    "following",
    "heads",
    "is_normalized",
    "name_patterns",
    "residual_adds",
    "residual_ends",
    "saturation_bounds",
]
