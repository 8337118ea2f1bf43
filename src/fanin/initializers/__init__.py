"""Initializers: frozen values that say what one tensor may start as. One file each; one line here each."""

from fanin.initializers._base import REGISTRY as REGISTRY
from fanin.initializers._base import Initializer as Initializer
from fanin.initializers.attention import mimetic as mimetic
from fanin.initializers.blocks import Block as Block
from fanin.initializers.blocks import Blocks as Blocks
from fanin.initializers.blocks import PerGate as PerGate
from fanin.initializers.constant import Constant as Constant
from fanin.initializers.constant import Ones as Ones
from fanin.initializers.constant import Zeros as Zeros
from fanin.initializers.delta_orthogonal import DeltaOrthogonal as DeltaOrthogonal
from fanin.initializers.glorot import GlorotLogistic as GlorotLogistic
from fanin.initializers.glorot import GlorotNormal as GlorotNormal
from fanin.initializers.glorot import GlorotUniform as GlorotUniform
from fanin.initializers.he import HeNormal as HeNormal
from fanin.initializers.he import HeUniform as HeUniform
from fanin.initializers.icnr import ICNR as ICNR
from fanin.initializers.identity import IRNN as IRNN
from fanin.initializers.identity import Dirac as Dirac
from fanin.initializers.identity import Identity as Identity
from fanin.initializers.idinit import IDInit as IDInit
from fanin.initializers.lecun import LecunNormal as LecunNormal
from fanin.initializers.lecun import LecunUniform as LecunUniform
from fanin.initializers.lora import LoRAA as LoRAA
from fanin.initializers.lora import LoRAB as LoRAB
from fanin.initializers.low_rank import olora as olora
from fanin.initializers.low_rank import pissa as pissa
from fanin.initializers.mamba import Mamba2ALog as Mamba2ALog
from fanin.initializers.mamba import MambaALog as MambaALog
from fanin.initializers.mamba import MambaStepBias as MambaStepBias
from fanin.initializers.mamba import MambaStepWeight as MambaStepWeight
from fanin.initializers.mimetic_projection import MimeticProjection as MimeticProjection
from fanin.initializers.mirrored import Mirrored as Mirrored
from fanin.initializers.mup import MuP as MuP
from fanin.initializers.net2net import deeper as deeper
from fanin.initializers.net2net import wider as wider
from fanin.initializers.nguyen_widrow import NguyenWidrow as NguyenWidrow
from fanin.initializers.nguyen_widrow import NguyenWidrowBias as NguyenWidrowBias
from fanin.initializers.normal import Normal as Normal
from fanin.initializers.orthogonal import Orthogonal as Orthogonal
from fanin.initializers.positions import SinusoidalPositions as SinusoidalPositions
from fanin.initializers.prior import ClassPrior as ClassPrior
from fanin.initializers.prior import PriorBias as PriorBias
from fanin.initializers.prior import RBMVisibleBias as RBMVisibleBias
from fanin.initializers.random_walk import RandomWalk as RandomWalk
from fanin.initializers.rbm import RBMNormal as RBMNormal
from fanin.initializers.recurrent import ChronoBias as ChronoBias
from fanin.initializers.recurrent import ForgetBias as ForgetBias
from fanin.initializers.rescaled import Rescaled as Rescaled
from fanin.initializers.rescaled_channels import RescaledChannels as RescaledChannels
from fanin.initializers.siren import FourierFeatures as FourierFeatures
from fanin.initializers.siren import SirenFirst as SirenFirst
from fanin.initializers.siren import SirenHidden as SirenHidden
from fanin.initializers.sparse import LasagneSparse as LasagneSparse
from fanin.initializers.sparse import Sparse as Sparse
from fanin.initializers.sparse import TorchSparse as TorchSparse
from fanin.initializers.state_space import HiPPO as HiPPO
from fanin.initializers.state_space import HiPPOInput as HiPPOInput
from fanin.initializers.state_space import LogStep as LogStep
from fanin.initializers.state_space import S4DImag as S4DImag
from fanin.initializers.suo import SUO as SUO
from fanin.initializers.truncated_interval import TruncatedInterval as TruncatedInterval
from fanin.initializers.truncated_normal import TruncatedNormal as TruncatedNormal
from fanin.initializers.uniform import Uniform as Uniform
from fanin.initializers.values import Values as Values
from fanin.initializers.variance_scaling import VarianceScaling as VarianceScaling
from fanin.initializers.vocabulary import mean_resize as mean_resize
from fanin.initializers.zero import ZerO as ZerO

for _initializer in (
    Constant,
    Ones,
    Zeros,
    Normal,
    Uniform,
    TruncatedNormal,
    TruncatedInterval,
    VarianceScaling,
    GlorotLogistic,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    RandomWalk,
    MuP,
    Orthogonal,
    SUO,
    DeltaOrthogonal,
    Dirac,
    IRNN,
    Identity,
    ZerO,
    IDInit,
    LasagneSparse,
    Sparse,
    TorchSparse,
    RBMNormal,
    ClassPrior,
    PriorBias,
    RBMVisibleBias,
    NguyenWidrow,
    NguyenWidrowBias,
    FourierFeatures,
    SirenFirst,
    SirenHidden,
    ChronoBias,
    ForgetBias,
    HiPPO,
    HiPPOInput,
    LogStep,
    S4DImag,
    Mamba2ALog,
    MambaALog,
    MambaStepBias,
    MambaStepWeight,
    LoRAA,
    LoRAB,
    SinusoidalPositions,
    MimeticProjection,
    ICNR,
    Blocks,
    PerGate,
    Rescaled,
    Mirrored,
    RescaledChannels,
    Values,
):
    REGISTRY.add(_initializer.__name__, _initializer)

__all__ = [
    "ICNR",
    "IRNN",
    "REGISTRY",
    "SUO",
    "Block",
    "Blocks",
    "ChronoBias",
    "ClassPrior",
    "Constant",
    "DeltaOrthogonal",
    "Dirac",
    "ForgetBias",
    "FourierFeatures",
    "GlorotLogistic",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "HiPPO",
    "HiPPOInput",
    "IDInit",
    "Identity",
    "Initializer",
    "LasagneSparse",
    "LecunNormal",
    "LecunUniform",
    "LoRAA",
    "LoRAB",
    "LogStep",
    "Mamba2ALog",
    "MambaALog",
    "MambaStepBias",
    "MambaStepWeight",
    "MimeticProjection",
    "Mirrored",
    "MuP",
    "NguyenWidrow",
    "NguyenWidrowBias",
    "Normal",
    "Ones",
    "Orthogonal",
    "PerGate",
    "PriorBias",
    "RBMNormal",
    "RBMVisibleBias",
    "RandomWalk",
    "Rescaled",
    "RescaledChannels",
    "S4DImag",
    "SinusoidalPositions",
    "SirenFirst",
    "SirenHidden",
    "Sparse",
    "TorchSparse",
    "TruncatedInterval",
    "TruncatedNormal",
    "Uniform",
    "Values",
    "VarianceScaling",
    "ZerO",
    "Zeros",
    "deeper",
    "mean_resize",
    "mimetic",
    "olora",
    "pissa",
    "wider",
]
