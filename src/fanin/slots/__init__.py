"""Slots: the places that the parameters of a model occupy. The only package that asks what kind a module is.

To add a module kind: one file with a ``Kind``, one line in the tuple below.
"""

from fanin.slots._base import KINDS as KINDS
from fanin.slots._base import Kind as Kind
from fanin.slots._base import Place as Place
from fanin.slots._find import find as find
from fanin.slots._slot import Part as Part
from fanin.slots._slot import Slot as Slot
from fanin.slots._slot import Slots as Slots
from fanin.slots.attention import Attention
from fanin.slots.bilinear import Bilinear
from fanin.slots.conv import Conv
from fanin.slots.conv_transpose import ConvTranspose
from fanin.slots.embedding import Embedding
from fanin.slots.linear import Linear
from fanin.slots.norm import Norm
from fanin.slots.prelu import PReLU
from fanin.slots.recurrent import Recurrent
from fanin.slots.transformers_conv1d import TransformersConv1D

for _kind in (
    Linear,
    Conv,
    ConvTranspose,
    Embedding,
    Attention,
    Recurrent,
    Norm,
    Bilinear,
    PReLU,
    TransformersConv1D,
):
    KINDS.add(_kind.name, _kind())

__all__ = ["KINDS", "Kind", "Part", "Place", "Slot", "Slots", "find"]
