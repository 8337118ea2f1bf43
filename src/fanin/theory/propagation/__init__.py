"""How each kind of op passes signals on and gradients back: one file per family, one line here each."""

from fanin.theory.propagation._base import REGISTRY as REGISTRY
from fanin.theory.propagation._base import Call as Call
from fanin.theory.propagation._base import Propagator as Propagator
from fanin.theory.propagation._base import WeightMoments as WeightMoments
from fanin.theory.propagation._flow import Flow as Flow
from fanin.theory.propagation._flow import Grad as Grad
from fanin.theory.propagation.activation import Elementwise as Elementwise
from fanin.theory.propagation.arrange import Cast as Cast
from fanin.theory.propagation.arrange import Dropout as Dropout
from fanin.theory.propagation.arrange import Scale as Scale
from fanin.theory.propagation.arrange import Shape as Shape
from fanin.theory.propagation.attention import Attention as Attention
from fanin.theory.propagation.attention import Matmul as Matmul
from fanin.theory.propagation.attention import Softmax as Softmax
from fanin.theory.propagation.embedding import Embedding as Embedding
from fanin.theory.propagation.linear import Linear as Linear
from fanin.theory.propagation.merge import Add as Add
from fanin.theory.propagation.merge import Concat as Concat
from fanin.theory.propagation.merge import Mul as Mul
from fanin.theory.propagation.norm import Norm as Norm
from fanin.theory.propagation.pool import Pool as Pool
from fanin.theory.propagation.pool import Reduce as Reduce
from fanin.theory.propagation.recurrent import Recurrent as Recurrent
from fanin.theory.propagation.unknown import Unknown as Unknown

_PROPAGATORS: tuple[type[Propagator], ...] = (
    Linear,
    Embedding,
    Elementwise,
    Add,
    Mul,
    Concat,
    Norm,
    Softmax,
    Matmul,
    Attention,
    Pool,
    Reduce,
    Shape,
    Cast,
    Scale,
    Dropout,
    Recurrent,
    Unknown,
)
for _propagator in _PROPAGATORS:
    for _kind in _propagator.kinds:
        REGISTRY.add(_kind, _propagator())

__all__ = ["REGISTRY", "Call", "Flow", "Grad", "Propagator", "WeightMoments"]
