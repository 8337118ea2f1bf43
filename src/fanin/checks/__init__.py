"""Checks: rules with codes that read the evidence and return findings. One file each; one line here each.

Nothing here imports torch when it is imported, so that explaining a rule is instant.
"""

from fanin.checks._base import REGISTRY as REGISTRY
from fanin.checks._base import Evidence as Evidence
from fanin.checks._base import Rule as Rule
from fanin.checks._base import Skip as Skip
from fanin.checks._base import rules as rules
from fanin.checks._finding import Finding as Finding
from fanin.checks._finding import Outcome as Outcome
from fanin.checks._run import run as run
from fanin.checks.b201_gradient_vanishing import GradientVanishing
from fanin.checks.b202_gradient_exploding import GradientExploding
from fanin.checks.b203_zero_gradient import ZeroGradient
from fanin.checks.f101_vanishing import Vanishing
from fanin.checks.f102_exploding import Exploding
from fanin.checks.f103_saturated import Saturated
from fanin.checks.f104_dead import Dead
from fanin.checks.f105_swamped import Swamped
from fanin.checks.f110_prediction import Disagreement
from fanin.checks.i501_input_scale import InputScale
from fanin.checks.l401_overconfident import Overconfident
from fanin.checks.l402_head_prior import HeadPrior
from fanin.checks.r601_shared import SharedInstance
from fanin.checks.r602_stale import Stale
from fanin.checks.r603_untied import Untied
from fanin.checks.w301_symmetric import Symmetric
from fanin.checks.w302_cloned import Cloned
from fanin.checks.w303_unwritten import Unwritten
from fanin.checks.w304_outlier import Outlier
from fanin.checks.w305_norm_gain import NormGain
from fanin.checks.w306_padding_row import PaddingRow
from fanin.checks.w307_gate_bias import GateBias
from fanin.checks.w308_gain_off import GainOff
from fanin.checks.w309_one_sign import OneSign

__all__ = ["REGISTRY", "Evidence", "Finding", "Outcome", "Rule", "Skip", "rules", "run"]

for _rule in (
    Vanishing,
    Exploding,
    Saturated,
    Dead,
    Swamped,
    Disagreement,
    GradientVanishing,
    GradientExploding,
    ZeroGradient,
    Symmetric,
    Cloned,
    Unwritten,
    Outlier,
    NormGain,
    PaddingRow,
    GateBias,
    GainOff,
    OneSign,
    Overconfident,
    HeadPrior,
    InputScale,
    SharedInstance,
    Stale,
    Untied,
):
    REGISTRY.add(_rule.code, _rule, aliases=(_rule.name,))
