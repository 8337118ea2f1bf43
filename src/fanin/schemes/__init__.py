"""Schemes: slots → recipe. One file each; one line here each."""

from fanin.schemes._base import REGISTRY as REGISTRY
from fanin.schemes._base import Choice as Choice
from fanin.schemes._base import Context as Context
from fanin.schemes._base import Keep as Keep
from fanin.schemes._base import Scheme as Scheme
from fanin.schemes._plan import names as names
from fanin.schemes._plan import plan as plan
from fanin.schemes.auto import Auto
from fanin.schemes.constant import Constant
from fanin.schemes.glorot import Glorot
from fanin.schemes.glorot4 import Glorot4
from fanin.schemes.he import He
from fanin.schemes.he_out import HeOut
from fanin.schemes.lecun import Lecun
from fanin.schemes.normal import Normal
from fanin.schemes.orthogonal import Orthogonal
from fanin.schemes.sparse import Sparse
from fanin.schemes.torch_default import TorchDefault

for _scheme in (Auto, TorchDefault, Glorot, Glorot4, He, HeOut, Lecun, Orthogonal, Normal, Sparse, Constant):
    REGISTRY.add(_scheme.name, _scheme)

__all__ = ["REGISTRY", "Choice", "Context", "Keep", "Scheme", "names", "plan"]
