"""Restricted Boltzmann machines, trained by contrastive divergence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from fanin.schemes._greedy_learner import Learner, Problem
from fanin.schemes._greedy_units import bias_of

__all__ = ["ContrastiveDivergence", "Machine", "Options"]

_SLOW_EPOCHS = 5
"""Epochs with the first momentum (Hinton & Salakhutdinov, 2006, their code; Practical Guide, §9.1)."""

GAIN = {"sigmoid": 1.0, "tanh": 2.0, "relu": 1.0}
"""Nonlinearity of the network → g such that hidden unit = σ(g z) or rectified(g z): tanh(z) = 2σ(2z) − 1."""


@dataclass
class Machine:
    """E(v, h) = −hᵀW(v − c) − bᵀh − aᵀv (plus ½‖v‖² for Gaussian units).

    Args:
        weight: W, (hidden, visible).
        hidden_bias: b, (hidden,).
        visible_bias: a, (visible,).
        visible: "bernoulli" or "gaussian" (of variance 1).
        hidden: "bernoulli" or "rectified" (Nair & Hinton, 2010: infinitely many copies with biases −½, −3/2, …).
        centre: c, (visible,); None for 0.
        sample_visible: reconstructions are drawn; else their means are taken, as in the Practical Guide, §3.2.
    """

    weight: torch.Tensor
    hidden_bias: torch.Tensor
    visible_bias: torch.Tensor
    visible: str = "bernoulli"
    hidden: str = "bernoulli"
    centre: torch.Tensor | None = None
    sample_visible: bool = False

    def drive(self, v: torch.Tensor) -> torch.Tensor:
        """(n, hidden): what comes into the hidden units from (n, visible)."""
        return functional.linear(self._counted(v), self.weight, self.hidden_bias)

    def mean(self, drive: torch.Tensor) -> torch.Tensor:
        """E[h | v]; of rectified units the sum of all copies, Σ σ(x − i + ½) ≈ log(1 + eˣ)."""
        return torch.sigmoid(drive) if self.hidden == "bernoulli" else functional.softplus(drive)

    def draw(self, drive: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """h given v; rectified units as max(0, x + N(0, σ(x)))."""
        if self.hidden == "bernoulli":
            return _bernoulli(torch.sigmoid(drive), generator)
        noise = torch.randn(drive.shape, generator=generator, dtype=drive.dtype).to(drive.device)
        return (drive + noise * torch.sigmoid(drive).sqrt()).clamp(min=0)

    def visible_mean(self, h: torch.Tensor) -> torch.Tensor:
        """E[v | h]."""
        x = functional.linear(h, self.weight.T, self.visible_bias)
        return torch.sigmoid(x) if self.visible == "bernoulli" else x

    def reconstruct(self, h: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """What the hidden units make of the visible ones: drawn or their mean."""
        mean = self.visible_mean(h)
        if not self.sample_visible:
            return mean
        if self.visible == "bernoulli":
            return _bernoulli(mean, generator)
        return mean + torch.randn(mean.shape, generator=generator, dtype=mean.dtype).to(mean.device)

    def free_energy(self, v: torch.Tensor) -> torch.Tensor:
        """(n,): F(v) = −log Σ_h e^{−E(v, h)}, for Bernoulli hidden units."""
        assert self.hidden == "bernoulli"
        energy = -v @ self.visible_bias - functional.softplus(self.drive(v)).sum(1)
        return energy if self.visible == "bernoulli" else energy + 0.5 * v.square().sum(1)

    def gradient(
        self, v: torch.Tensor, k: int, generator: torch.Generator, particles: torch.Tensor | None = None
    ) -> tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
        """⟨∂(−E)⟩ of the data minus that after k steps of Gibbs sampling: CD-k's ascent direction of log p(v).

        Args:
            v: (n, visible) data.
            k: steps.
            generator: of the samples.
            particles: (m, visible) states of a persistent chain to start from instead of the data.

        Returns:
            (for weight, hidden bias, visible bias; means over samples), and the last states of the chain.
        """
        drive = self.drive(v)
        up, down, last = self.mean(drive), drive if particles is None else self.drive(particles), v
        for _ in range(k):
            last = self.reconstruct(self.draw(down, generator), generator)
            down = self.drive(last)
        dream = self.mean(down)
        n, m = len(v), len(last)
        weight = up.T @ self._counted(v) / n - dream.T @ self._counted(last) / m
        return (weight, up.mean(0) - dream.mean(0), v.mean(0) - last.mean(0)), last

    def _counted(self, v: torch.Tensor) -> torch.Tensor:
        return v if self.centre is None else v - self.centre


def _bernoulli(p: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    drawn = torch.rand(p.shape, generator=generator, dtype=p.dtype).to(p.device)
    return (drawn < p).to(p.dtype)


@dataclass(frozen=True)
class Options:
    """How a machine is trained; see the scheme."""

    k: int
    lr: float
    momentum: float
    first_momentum: float
    weight_decay: float
    persistent: bool
    sample_visible: bool
    patches: int


class ContrastiveDivergence(Learner):
    """A machine on the rows of a matrix, or one machine on the patches of all places of a convolution."""

    def __init__(self, problem: Problem, options: Options) -> None:
        super().__init__(problem)
        self.options, units = options, problem.units
        self.gain = GAIN[problem.layer.activation]
        entries = problem.weight[0, 0].numel()
        spread = [value.repeat_interleave(entries) for value in (units.shift, units.mean, units.scale)]
        self.shift, self.scale = spread[0], spread[2]
        weight = problem.weight.flatten(1).clone()
        bias = torch.zeros_like(weight[:, 0]) if problem.bias is None else problem.bias * self.gain
        self.machine = Machine(
            weight,
            bias,
            bias_of(units.kind, spread[1], problem.inputs.count),
            units.kind,
            "rectified" if problem.layer.activation == "relu" else "bernoulli",
            None if problem.centre is None else spread[0],
            options.sample_visible,
        )
        self.speed = [torch.zeros_like(part) for part in self._parts()]
        self.particles: torch.Tensor | None = None

    def _parts(self) -> tuple[torch.Tensor, ...]:
        return self.machine.weight, self.machine.hidden_bias, self.machine.visible_bias

    def rows(self, index: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(n, visible): the visible units of some samples."""
        x, window = self.problem.inputs[index], self.problem.window
        if window is None:
            rows = x.reshape(-1, x.shape[-1])
        else:
            rows = window.patches(window.pad(x), self.options.patches, generator)
        return rows * self.scale + self.shift

    def epoch(self, number: int, tick: Callable[[], None]) -> None:
        """See :class:`Learner`."""
        options = self.options
        generator = self.problem.generator(f"epoch {number}")
        momentum = options.first_momentum if number < _SLOW_EPOCHS else options.momentum
        for index in self.problem.batches(generator):
            v = self.rows(index, generator)
            if options.persistent and self.particles is None:
                self.particles = v
            steps, last = self.machine.gradient(v, options.k, generator, self.particles)
            if options.persistent:
                self.particles = last
            decays = (options.weight_decay, 0.0, 0.0)
            for part, speed, step, decay in zip(self._parts(), self.speed, steps, decays, strict=True):
                speed.mul_(momentum).add_(step - decay * part, alpha=options.lr)
                if part is not self.machine.hidden_bias or self.problem.bias is None:
                    part.add_(speed)
            tick()

    def _judged(self) -> torch.Tensor:
        return self.rows(self.problem.judged(), self.problem.generator("judged"))

    def error(self) -> float:
        """See :class:`Learner`."""
        v = self._judged()
        machine = self.machine
        return float((machine.visible_mean(machine.mean(machine.drive(v))) - v).double().square().mean())

    def remark(self) -> str:
        """Free energy of the data beside that of the same values, each unit shuffled on its own."""
        if self.machine.hidden != "bernoulli":
            return ""
        v = self._judged()
        generator = self.problem.generator("shuffled")
        order = torch.rand(v.shape, generator=generator).argsort(0).to(v.device)
        apart = self.machine.free_energy(v.gather(0, order)).mean() - self.machine.free_energy(v).mean()
        return f"free energy {float(apart):.3g} below that of the same inputs with each unit shuffled"

    def found(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """See :class:`Learner`."""
        weight = self.machine.weight.view(self.problem.weight.shape)
        return self.folded(weight, self.machine.hidden_bias, self.gain)

    def state(self) -> dict[str, Any]:
        """See :class:`Learner`."""
        return {"parts": list(self._parts()), "speed": self.speed, "particles": self.particles}

    def load(self, state: dict[str, Any]) -> None:
        """See :class:`Learner`."""
        for mine, value in zip((*self._parts(), *self.speed), (*state["parts"], *state["speed"]), strict=True):
            mine.copy_(value)
        self.particles = state["particles"]
