"""Fans: how many terms each output sums, and which axes of a tensor those are.

A Fans record is all that an initializer learns of the place it fills; who made it (a layer kind, the op that used
the parameter, a user by hand) does not matter.
"""

from fanin.fans._fans import Fans as Fans
from fanin.fans._fans import conv as conv
from fanin.fans._fans import conv_transpose as conv_transpose
from fanin.fans._fans import elementwise as elementwise
from fanin.fans._fans import embedding as embedding
from fanin.fans._fans import experts as experts
from fanin.fans._fans import linear as linear

__all__ = ["Fans", "conv", "conv_transpose", "elementwise", "embedding", "experts", "linear"]
