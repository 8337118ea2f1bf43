"""Experiments: the classic results of the field, run again, each with a verdict. One file each; one line here each.

An experiment states its known result as claims, each a bound on one measured number; the verdict follows from the
numbers alone. ``REGISTRY["he30"].run(Settings("quick"))`` runs one, ``save(outcome, folder)`` writes it.
"""

from fanin.experiments import (
    activations,
    chain,
    critical,
    glorot_variance,
    he30,
    mitigations,
    mnist_curves,
    mnist_tanh,
    orthogonal,
    pretraining,
    residual,
    residual_depth,
    rnn_memory,
    sigmoid_4x,
    siren,
    symmetry,
    thousand_layers,
    transformer_depth,
    weight_decay,
    xavier_or_he,
)
from fanin.experiments._base import REGISTRY as REGISTRY
from fanin.experiments._base import Checked as Checked
from fanin.experiments._base import Claim as Claim
from fanin.experiments._base import Experiment as Experiment
from fanin.experiments._base import Measured as Measured
from fanin.experiments._base import Outcome as Outcome
from fanin.experiments._base import Settings as Settings
from fanin.experiments._base import judge as judge
from fanin.experiments._save import save as save

for _module in (
    xavier_or_he,
    activations,
    mnist_tanh,
    mnist_curves,
    symmetry,
    chain,
    glorot_variance,
    sigmoid_4x,
    he30,
    critical,
    orthogonal,
    residual,
    residual_depth,
    siren,
    mitigations,
    weight_decay,
    pretraining,
    thousand_layers,
    transformer_depth,
    rnn_memory,
):
    REGISTRY.add(_module.EXPERIMENT.name, _module.EXPERIMENT)

__all__ = [
    "REGISTRY",
    "Checked",
    "Claim",
    "Experiment",
    "Measured",
    "Outcome",
    "Settings",
    "judge",
    "save",
]
