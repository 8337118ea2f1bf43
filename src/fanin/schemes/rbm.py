"""rbm: a greedy stack of restricted Boltzmann machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanin.errors import InputError
from fanin.initializers import Initializer, RBMNormal
from fanin.initializers._base import choice, number, whole
from fanin.schemes._cd import GAIN, ContrastiveDivergence, Options
from fanin.schemes._greedy import Greedy

if TYPE_CHECKING:
    import os

    import torch

    from fanin.schemes._base import Example, Scheme
    from fanin.schemes._greedy_chain import Layer
    from fanin.schemes._greedy_learner import Problem

__all__ = ["RBM"]

_PATCHES = 10
"""Places of a convolution that a mini-batch looks at in each sample."""


class RBM(Greedy):
    """ΔW = lr · (⟨v hᵀ⟩ of the data − ⟨v hᵀ⟩ after k steps of Gibbs sampling), layer by layer.

    Sigmoid layers are Bernoulli units; so are tanh layers, by tanh(z) = 2σ(2z) − 1, an exact change of variables that
    is undone in the weights; ReLU layers are noisy rectified units. The model's own inputs are Bernoulli units where
    they lie in [0, 1], or pile up on their lowest value (standardised images of ink on paper), mapped to [0, 1]; else
    Gaussian units, standardised; both exactly undone in the weights. A convolution is one machine with shared weights,
    trained on the patches that its window sees. For other nonlinearities there is the scheme "autoencoder".

    Args:
        data: as in :class:`Greedy`, and so are epochs, batch_size, base, resume and progress.
        epochs: passes over the data for each layer.
        k: steps of Gibbs sampling (CD-k).
        lr: learning rate; None takes 0.1, a tenth of it with Gaussian inputs, and again with rectified units.
        batch_size: samples per update; 10 to 100 is usual.
        momentum: from the sixth epoch on.
        first_momentum: before.
        weight_decay: of the weights, not the biases.
        visible: of a layer that reads the data: "auto", "bernoulli" or "gaussian".
        persistent: the Gibbs chain goes on from where it was instead of from the data (Tieleman, 2008).
        sample_visible: draw the visible units of the chain instead of taking their means.
        std: standard deviation that weights start with.
        patches: places that a mini-batch looks at in each sample, for convolutions.
        base: scheme of all other parameters.
        resume: file from which an interrupted run goes on.
        progress: show a bar.

    Raises:
        PlanError: if no layer can be trained so, or weights do not stay finite.
        InputError: if an option, the data or the file to resume from cannot be used.

    Example:
        >>> import fanin, torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Sigmoid(), torch.nn.Linear(4, 2))
        >>> x = torch.linspace(0, 1, 60).reshape(10, 6)
        >>> recipe = fanin.plan(model, x, scheme="rbm", epochs=2)
        >>> recipe["0.weight"].array.shape, recipe.notes[0].split(" error")[0]
        ((4, 6), '0.weight: reconstruction')

    Source: Hinton, Osindero & Teh, 2006; Bengio et al., 2007; Hinton, A Practical Guide to Training RBMs, 2010 (all
    default values); Nair & Hinton, 2010 (rectified units).
    """

    name = "rbm"
    title = "greedy pre-training as a stack of restricted Boltzmann machines (CD-k), without labels"
    source = "Hinton, Osindero & Teh, 2006; Bengio et al., 2007; Hinton, Practical Guide, 2010; Nair & Hinton, 2010"
    feature = "hidden biases"

    def __init__(
        self,
        data: Any = None,
        epochs: int = 10,
        k: int = 1,
        lr: float | None = None,
        batch_size: int = 100,
        momentum: float = 0.9,
        first_momentum: float = 0.5,
        weight_decay: float = 2e-4,
        visible: str = "auto",
        persistent: bool = False,
        sample_visible: bool = False,
        std: float = 0.01,
        patches: int = _PATCHES,
        base: str | Scheme = "auto",
        resume: str | os.PathLike[str] | None = None,
        progress: bool | None = None,
    ) -> None:
        super().__init__(data, epochs, batch_size, base, resume, progress)
        owner = "scheme 'rbm'"
        self.k, self.patches = whole(owner, "k", k, low=1), whole(owner, "patches", patches, low=1)
        self.lr = None if lr is None else number(owner, "lr", lr, low=0, strict=True)
        self.momentum = number(owner, "momentum", momentum, low=0, high=1)
        self.first_momentum = number(owner, "first_momentum", first_momentum, low=0, high=1)
        self.weight_decay = number(owner, "weight_decay", weight_decay, low=0)
        self.visible = choice(owner, "visible", visible, ("auto", "bernoulli", "gaussian"))
        self.std = number(owner, "std", std, low=0)
        for option, value in (("persistent", persistent), ("sample_visible", sample_visible)):
            if not isinstance(value, bool):
                raise InputError.of(option, value, "True or False", owner)
        self.persistent, self.sample_visible = persistent, sample_visible

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._greedy_examples import logistic

        return logistic()

    def start(self, layer: Layer) -> Initializer:
        """See :class:`Greedy`."""
        return RBMNormal(self.std)

    def refusal(self, layer: Layer) -> str:
        """See :class:`Greedy`."""
        if layer.activation not in GAIN:
            after = "no nonlinearity" if layer.activation == "linear" else layer.activation
            fits = "sigmoid, tanh and ReLU have units of a machine; scheme='autoencoder' takes any nonlinearity, and"
            return f"{after} follows; {fits} keep=[{layer.name!r}] leaves the layer as it is"
        return ""

    def _rate(self, problem: Problem) -> float:
        # Practical Guide, §13.2: one or two orders of magnitude less for units without a bound; one here for each side.
        if self.lr is not None:
            return self.lr
        unbounded = (problem.units.kind == "gaussian") + (problem.layer.activation == "relu")
        return (0.1, 0.01, 0.001)[unbounded]

    def learner(self, problem: Problem, slope: torch.Tensor | None) -> ContrastiveDivergence:
        """See :class:`Greedy`."""
        options = Options(
            self.k,
            self._rate(problem),
            self.momentum,
            self.first_momentum,
            self.weight_decay,
            self.persistent,
            self.sample_visible,
            self.patches,
        )
        return ContrastiveDivergence(problem, options)

    def words(self, problem: Problem) -> str:
        """See :class:`Greedy`."""
        hidden = {"sigmoid": "Bernoulli", "tanh": "Bernoulli (2h − 1 = tanh)", "relu": "rectified"}
        places = f", {self.patches} patches of each sample" if problem.window else ""
        kind = f"{problem.units.kind.capitalize()}–{hidden[problem.layer.activation]} machine"
        rule = f"{'persistent ' if self.persistent else ''}CD-{self.k}"
        return f"{kind}, {rule}, lr {self._rate(problem):g}{places}"

    def settings(self) -> dict[str, Any]:
        """See :class:`Greedy`."""
        names = ("k", "lr", "momentum", "first_momentum", "weight_decay", "visible", "persistent", "sample_visible")
        return {name: getattr(self, name) for name in (*names, "std", "patches")}
