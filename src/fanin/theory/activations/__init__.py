"""Activations: one file each, and one line here each."""

from fanin.theory.activations._base import REGISTRY as REGISTRY
from fanin.theory.activations._base import Activation as Activation
from fanin.theory.activations._base import Gated as Gated
from fanin.theory.activations._lookup import find as find
from fanin.theory.activations._lookup import of_module as of_module
from fanin.theory.activations._lookup import of_op as of_op
from fanin.theory.activations.celu import CELU as CELU
from fanin.theory.activations.elu import ELU as ELU
from fanin.theory.activations.erf import Erf as Erf
from fanin.theory.activations.geglu import GEGLU as GEGLU
from fanin.theory.activations.gelu import GELU as GELU
from fanin.theory.activations.gelu_tanh import GELUTanh as GELUTanh
from fanin.theory.activations.glu import GLU as GLU
from fanin.theory.activations.hardshrink import Hardshrink as Hardshrink
from fanin.theory.activations.hardsigmoid import Hardsigmoid as Hardsigmoid
from fanin.theory.activations.hardswish import Hardswish as Hardswish
from fanin.theory.activations.hardtanh import Hardtanh as Hardtanh
from fanin.theory.activations.leaky_relu import LeakyReLU as LeakyReLU
from fanin.theory.activations.linear import Linear as Linear
from fanin.theory.activations.log_sigmoid import LogSigmoid as LogSigmoid
from fanin.theory.activations.mish import Mish as Mish
from fanin.theory.activations.prelu import PReLU as PReLU
from fanin.theory.activations.reglu import ReGLU as ReGLU
from fanin.theory.activations.relu import ReLU as ReLU
from fanin.theory.activations.relu6 import ReLU6 as ReLU6
from fanin.theory.activations.relu_squared import ReLUSquared as ReLUSquared
from fanin.theory.activations.rrelu import RReLU as RReLU
from fanin.theory.activations.scaled_tanh import ScaledTanh as ScaledTanh
from fanin.theory.activations.selu import SELU as SELU
from fanin.theory.activations.shaped import Shaped as Shaped
from fanin.theory.activations.sigmoid import Sigmoid as Sigmoid
from fanin.theory.activations.silu import SiLU as SiLU
from fanin.theory.activations.sin import Sin as Sin
from fanin.theory.activations.sine import Sine as Sine
from fanin.theory.activations.softplus import Softplus as Softplus
from fanin.theory.activations.softshrink import Softshrink as Softshrink
from fanin.theory.activations.softsign import Softsign as Softsign
from fanin.theory.activations.swiglu import SwiGLU as SwiGLU
from fanin.theory.activations.tanh import Tanh as Tanh
from fanin.theory.activations.tanhshrink import Tanhshrink as Tanhshrink
from fanin.theory.activations.threshold import Threshold as Threshold

_ACTIVATIONS: tuple[type[Activation] | type[Gated], ...] = (
    CELU,
    ELU,
    Erf,
    GEGLU,
    GELU,
    GELUTanh,
    GLU,
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    Linear,
    LogSigmoid,
    Mish,
    PReLU,
    ReGLU,
    ReLU,
    ReLU6,
    ReLUSquared,
    RReLU,
    ScaledTanh,
    SELU,
    Shaped,
    Sigmoid,
    SiLU,
    Sin,
    Sine,
    Softplus,
    Softshrink,
    Softsign,
    SwiGLU,
    Tanh,
    Tanhshrink,
    Threshold,
)
for _activation in _ACTIVATIONS:
    REGISTRY.add(_activation.name, _activation, aliases=_activation.aliases)

__all__ = ["REGISTRY", "Activation", "Gated", "find", "of_module", "of_op"]
