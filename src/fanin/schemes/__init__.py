"""Schemes: slots → recipe. One file each; one line here each."""

from fanin.schemes._base import REGISTRY as REGISTRY
from fanin.schemes._base import Choice as Choice
from fanin.schemes._base import Context as Context
from fanin.schemes._base import Keep as Keep
from fanin.schemes._base import Scheme as Scheme
from fanin.schemes._observe import observe as observe
from fanin.schemes._plan import names as names
from fanin.schemes._plan import plan as plan
from fanin.schemes.admin import Admin
from fanin.schemes.auto import Auto
from fanin.schemes.autoencoder import Autoencoder
from fanin.schemes.autoinit import AutoInit
from fanin.schemes.bert import Bert
from fanin.schemes.constant import Constant
from fanin.schemes.deepnorm import DeepNorm
from fanin.schemes.delta_orthogonal import DeltaOrthogonal
from fanin.schemes.dit import DiT
from fanin.schemes.dks import DKS
from fanin.schemes.fixup import Fixup
from fanin.schemes.full_megatron import FullMegatron
from fanin.schemes.glorot import Glorot
from fanin.schemes.glorot4 import Glorot4
from fanin.schemes.gpt2 import GPT2
from fanin.schemes.gradinit import GradInit
from fanin.schemes.he import He
from fanin.schemes.he_out import HeOut
from fanin.schemes.irnn import IRNN
from fanin.schemes.krahenbuhl import Krahenbuhl
from fanin.schemes.layerscale import LayerScale
from fanin.schemes.lecun import Lecun
from fanin.schemes.lstm import LSTM
from fanin.schemes.lsuv import LSUV
from fanin.schemes.mamba import Mamba
from fanin.schemes.metainit import MetaInit
from fanin.schemes.mimetic import Mimetic
from fanin.schemes.mitchell import Mitchell
from fanin.schemes.mup import MuP
from fanin.schemes.nfnet import NFNet
from fanin.schemes.normal import Normal
from fanin.schemes.orthogonal import Orthogonal
from fanin.schemes.prior_bias import Prior
from fanin.schemes.rbm import RBM
from fanin.schemes.rezero import ReZero
from fanin.schemes.rl import RL
from fanin.schemes.siren import Siren
from fanin.schemes.skipinit import SkipInit
from fanin.schemes.small_init import SmallInit
from fanin.schemes.sparse import Sparse
from fanin.schemes.sub_ln import SubLN
from fanin.schemes.t5 import T5
from fanin.schemes.t_fixup import TFixup
from fanin.schemes.tat import TAT
from fanin.schemes.torch_default import TorchDefault
from fanin.schemes.torchtitan import TorchTitan
from fanin.schemes.unit_scaling import UnitScaling
from fanin.schemes.vit import ViT
from fanin.schemes.weight_norm import WeightNorm
from fanin.schemes.zero_gamma import ZeroGamma
from fanin.schemes.zero_head import ZeroHead

for _scheme in (
    Auto,
    TorchDefault,
    Glorot,
    Glorot4,
    He,
    HeOut,
    Lecun,
    Orthogonal,
    Normal,
    Sparse,
    Constant,
    ZeroGamma,
    Fixup,
    SkipInit,
    ReZero,
    NFNet,
    LayerScale,
    DeltaOrthogonal,
    GPT2,
    Bert,
    SmallInit,
    Mitchell,
    FullMegatron,
    TorchTitan,
    T5,
    TFixup,
    DeepNorm,
    Admin,
    SubLN,
    MuP,
    LSUV,
    RBM,
    Autoencoder,
    MetaInit,
    GradInit,
    WeightNorm,
    Krahenbuhl,
    AutoInit,
    ViT,
    DiT,
    LSTM,
    IRNN,
    Mamba,
    Siren,
    RL,
    ZeroHead,
    Prior,
    DKS,
    TAT,
    Mimetic,
    UnitScaling,
):
    REGISTRY.add(_scheme.name, _scheme)

__all__ = ["REGISTRY", "Choice", "Context", "Keep", "Scheme", "names", "observe", "plan"]
