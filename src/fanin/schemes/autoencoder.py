"""autoencoder: a greedy stack of denoising autoencoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanin.initializers import GlorotLogistic, GlorotUniform, Initializer
from fanin.initializers._base import choice, number
from fanin.schemes._denoising import Denoising, Options
from fanin.schemes._greedy import Greedy
from fanin.schemes._greedy_chain import FUNCTIONS

if TYPE_CHECKING:
    import os

    import torch

    from fanin.schemes._base import Example, Scheme
    from fanin.schemes._greedy_chain import Layer
    from fanin.schemes._greedy_learner import Problem

__all__ = ["Autoencoder"]


class Autoencoder(Greedy):
    """y = f(W ṽ + b), z = Wᵀ y + a: ṽ is a corrupted v, z is trained to be the clean one; layer by layer.

    f is the nonlinearity that follows in the network. Inputs in [0, 1] (and those of sigmoid and tanh layers, mapped
    there) are reconstructed through a logistic function by cross-entropy, others, standardised, by squared error; what
    was mapped is undone in the weights. A convolution is decoded by its own transpose.

    Args:
        data: as in :class:`Greedy`, and so are epochs, batch_size, base, resume and progress.
        epochs: passes over the data for each layer.
        corruption: probability that a unit is set to 0 ("mask"), or standard deviation of the noise ("gaussian").
        noise: "mask" or "gaussian".
        lr: learning rate; None takes 0.001 for Adam, else 0.1, with squared errors 0.01.
        optimizer: "adam", "sgd" or "momentum" (0.9).
        batch_size: samples per update.
        visible: of a layer that reads the data: "auto", "bernoulli" (mapped to [0, 1]) or "gaussian" (standardised).
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
        >>> recipe = fanin.plan(model, x, scheme="autoencoder", epochs=2)
        >>> recipe["0.weight"].array.shape, recipe.notes[0].split(" error")[0]
        ((4, 6), '0.weight: reconstruction')

    Source: Vincent et al., 2008 and 2010; Bengio et al., 2007.
    """

    name = "autoencoder"
    title = "greedy pre-training as a stack of denoising autoencoders with tied weights, without labels"
    source = "Vincent et al., 2008 and 2010; Bengio et al., 2007"
    feature = "biases of the code"

    def __init__(
        self,
        data: Any = None,
        epochs: int = 10,
        corruption: float = 0.25,
        noise: str = "mask",
        lr: float | None = None,
        optimizer: str = "adam",
        batch_size: int = 100,
        visible: str = "auto",
        base: str | Scheme = "auto",
        resume: str | os.PathLike[str] | None = None,
        progress: bool | None = None,
    ) -> None:
        super().__init__(data, epochs, batch_size, base, resume, progress)
        owner = "scheme 'autoencoder'"
        self.noise = choice(owner, "noise", noise, ("mask", "gaussian"))
        most = 1.0 if self.noise == "mask" else float("inf")
        self.corruption = number(owner, "corruption", corruption, low=0, high=most)
        self.lr = None if lr is None else number(owner, "lr", lr, low=0, strict=True)
        self.optimizer = choice(owner, "optimizer", optimizer, ("adam", "sgd", "momentum"))
        self.visible = choice(owner, "visible", visible, ("auto", "bernoulli", "gaussian"))

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._greedy_examples import pooled

        return pooled()

    def start(self, layer: Layer) -> Initializer:
        """See :class:`Greedy`."""
        return GlorotLogistic() if layer.activation == "sigmoid" else GlorotUniform()

    def refusal(self, layer: Layer) -> str:
        """See :class:`Greedy`."""
        if layer.activation in FUNCTIONS:
            return ""
        return f"{layer.activation} follows, which is none of {', '.join(FUNCTIONS)}; keep=[{layer.name!r}] leaves it"

    def _rate(self, problem: Problem) -> float:
        if self.lr is not None:
            return self.lr
        # Adam: Kingma & Ba, 2015. Else Vincent et al., 2010, §6.1, search 0.05 to 0.1 for cross-entropy.
        return 0.001 if self.optimizer == "adam" else 0.1 if problem.units.kind == "bernoulli" else 0.01

    def learner(self, problem: Problem, slope: torch.Tensor | None) -> Denoising:
        """See :class:`Greedy`."""
        return Denoising(problem, Options(self.corruption, self.noise, self._rate(problem), self.optimizer), slope)

    def words(self, problem: Problem) -> str:
        """See :class:`Greedy`."""
        loss = "cross-entropy" if problem.units.kind == "bernoulli" else "squared error"
        noise = f"{self.corruption:.0%} of the units masked" if self.noise == "mask" else f"noise {self.corruption:g}"
        kind = "convolutional autoencoder" if problem.window else "autoencoder"
        return (
            f"{kind} of {problem.layer.activation} units, {noise}, {loss}, {self.optimizer} lr {self._rate(problem):g}"
        )

    def settings(self) -> dict[str, Any]:
        """See :class:`Greedy`."""
        return {name: getattr(self, name) for name in ("corruption", "noise", "lr", "optimizer", "visible")}
