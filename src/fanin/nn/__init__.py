"""Drop-in names of ``torch.nn.init``: same names, same arguments, same distributions, drawn from a key.

Replace ``from torch.nn import init`` by ``from fanin import nn as init``. Without further arguments each function has
the distribution of its torch namesake; the key then comes from torch's default generator, so ``torch.manual_seed``
still decides. ``seed=`` (with ``name=``) or ``key=`` make the values independent of everything else.

Where torch reads the fans off the shape and gets them wrong, say what the tensor is: ``groups=``, ``transposed=``,
``stride=``, ``fans=`` or ``slot=``.
"""

from fanin.nn._deprecated import constant as constant
from fanin.nn._deprecated import dirac as dirac
from fanin.nn._deprecated import eye as eye
from fanin.nn._deprecated import kaiming_normal as kaiming_normal
from fanin.nn._deprecated import kaiming_uniform as kaiming_uniform
from fanin.nn._deprecated import normal as normal
from fanin.nn._deprecated import orthogonal as orthogonal
from fanin.nn._deprecated import sparse as sparse
from fanin.nn._deprecated import uniform as uniform
from fanin.nn._deprecated import xavier_normal as xavier_normal
from fanin.nn._deprecated import xavier_uniform as xavier_uniform
from fanin.nn._gain import calculate_gain as calculate_gain
from fanin.nn._matrix import dirac_ as dirac_
from fanin.nn._matrix import eye_ as eye_
from fanin.nn._matrix import orthogonal_ as orthogonal_
from fanin.nn._matrix import sparse_ as sparse_
from fanin.nn._scaled import kaiming_normal_ as kaiming_normal_
from fanin.nn._scaled import kaiming_uniform_ as kaiming_uniform_
from fanin.nn._scaled import xavier_normal_ as xavier_normal_
from fanin.nn._scaled import xavier_uniform_ as xavier_uniform_
from fanin.nn._simple import constant_ as constant_
from fanin.nn._simple import normal_ as normal_
from fanin.nn._simple import ones_ as ones_
from fanin.nn._simple import trunc_normal_ as trunc_normal_
from fanin.nn._simple import uniform_ as uniform_
from fanin.nn._simple import zeros_ as zeros_

__all__ = [
    "calculate_gain",
    "constant",
    "constant_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "uniform",
    "uniform_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]
