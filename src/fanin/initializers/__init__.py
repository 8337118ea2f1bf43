"""Initializers: frozen values that say what one tensor may start as. One file each; one line here each."""

from fanin.initializers._base import REGISTRY as REGISTRY
from fanin.initializers._base import Initializer as Initializer
from fanin.initializers.blocks import Block as Block
from fanin.initializers.blocks import Blocks as Blocks
from fanin.initializers.blocks import PerGate as PerGate
from fanin.initializers.constant import Constant as Constant
from fanin.initializers.constant import Ones as Ones
from fanin.initializers.constant import Zeros as Zeros
from fanin.initializers.glorot import GlorotLogistic as GlorotLogistic
from fanin.initializers.glorot import GlorotNormal as GlorotNormal
from fanin.initializers.glorot import GlorotUniform as GlorotUniform
from fanin.initializers.he import HeNormal as HeNormal
from fanin.initializers.he import HeUniform as HeUniform
from fanin.initializers.lecun import LecunNormal as LecunNormal
from fanin.initializers.lecun import LecunUniform as LecunUniform
from fanin.initializers.normal import Normal as Normal
from fanin.initializers.orthogonal import Orthogonal as Orthogonal
from fanin.initializers.truncated_normal import TruncatedNormal as TruncatedNormal
from fanin.initializers.uniform import Uniform as Uniform
from fanin.initializers.variance_scaling import VarianceScaling as VarianceScaling

for _initializer in (
    Zeros,
    Ones,
    Constant,
    Normal,
    Uniform,
    TruncatedNormal,
    VarianceScaling,
    GlorotNormal,
    GlorotUniform,
    GlorotLogistic,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    Blocks,
    PerGate,
):
    REGISTRY.add(_initializer.__name__, _initializer)
