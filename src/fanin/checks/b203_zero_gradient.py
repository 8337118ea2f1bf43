"""B203: parameters that no gradient step can move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule, Skip

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from fanin.checks._finding import Finding
    from fanin.graph import Graph


class ZeroGradient(Rule):
    """The gradient of a parameter is exactly zero and stays so.

    What it sees:
        Trainable parameters that the run used and whose gradient is exactly 0. Where there are any, a deep copy of the
        model takes a few gradient steps on the same batch; those whose gradient is 0 in every one of them are reported.
        Experts that got no token and the recurrent weights of a single step from a zero state are left out. Trainable
        parameters that were used but that no gradient leads back to are reported as well.

    Why it matters:
        The gradient of a product is zero when the other factor is: two zero factors in a row (both LoRA matrices, all
        weights of a deep net) hold each other at zero for ever. One zero factor is a method (zero-initialised heads,
        gates, last layers of branches): it moves first, and within two or three steps everything behind it.

    Example:
        nn.init.zeros_(lora_a.weight); nn.init.zeros_(lora_b.weight)

    What to do:
        Draw one of the two factors: ``fanin.init_(model, x)``.

    Thresholds:
        steps: 5 (gradient steps on the copy): Fixup, zero heads over adaLN-zero and the like need up to 3.

    Source:
        Hu et al. (2021), LoRA, section 4.1; Zhang, Dauphin & Ma (2019), Fixup, for what a zero may be.
    """

    code = "B203"
    name = "gradient-stays-zero"
    category = "zero_grad"
    severity = "error"
    requires = ("parameters", "forward")
    thresholds: ClassVar[Mapping[str, float]] = {"steps": 5}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        yield from self._cut_off(evidence)
        suspects = _suspects(evidence)
        if not suspects:
            return
        stuck = _stuck(evidence, suspects, int(limits["steps"]))
        total = sum(p.requires_grad for p in evidence.model.parameters())
        if not stuck:
            return
        zeros = _zero_factors(evidence, stuck)
        where = (zeros or _zero_weights(evidence, stuck) or stuck)[0]
        cause = (
            f"{len(zeros)} of them are factors that are all zero and hold each other there"
            if zeros
            else "what stands between them and the loss passes nothing on"
        )
        yield self.finding(
            where,
            f"the gradient of {len(stuck)} of {total} trainable tensors is exactly 0 and stayed so in "
            f"{int(limits['steps'])} gradient steps on a copy: {cause}.",
            f"draw one of two zero factors: fanin.init_(model, x, only=[{where!r}])",
            severity="error" if zeros else "info" if all(_is_shift(evidence, name) for name in stuck) else "warning",
            evidence={"stuck": len(stuck), "trainable": total, "zero_weights": len(zeros)},
            also=[name for name in stuck if name != where],
        )

    def _cut_off(self, evidence: Evidence) -> Iterator[Finding]:
        trace = evidence.trace
        assert trace is not None
        if not trace.gradients:
            return
        total = sum(p.requires_grad for p in evidence.model.parameters())
        live = _towards(trace.graph)
        names = [
            name
            for name, parameter in evidence.model.named_parameters()
            if parameter.requires_grad
            and name not in trace.gradients
            and any(node.id in live for node, _ in trace.graph.uses(name))
        ]
        if names:
            yield self.finding(
                names[0],
                f"{len(names)} of {total} trainable tensors were used but no gradient leads back to them: something "
                f"between them and the loss is detached, runs under no_grad, or has no derivative (argmax, indices).",
                "let the gradient through, or freeze them: requires_grad_(False)",
                severity="warning",
                evidence={"cut_off": len(names), "trainable": total},
                also=names[1:],
            )

    @staticmethod
    def fires() -> dict[str, Any]:
        arguments = ZeroGradient.quiet()
        arguments["model"][0].weight.data.zero_()
        arguments["model"][0].bias.data.zero_()
        return arguments

    @staticmethod
    def quiet() -> dict[str, Any]:
        import torch
        from torch import nn

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
            nn.init.zeros_(model[2].get_parameter("weight"))  # a zero head: moves first, then everything behind it
            return {"model": model, "inputs": torch.randn(32, 8), "target": torch.randint(0, 4, (32,))}


_STEP = 1e-3
"""Step of each entry along the sign of its gradient: Adam's default learning rate, in its first step."""


def _towards(graph: Graph) -> set[int]:
    """The nodes that an output was computed from."""
    found: set[int] = set()
    stack = list(graph.outputs)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(graph.nodes[node].inputs)
    return found


def _zero_factors(evidence: Evidence, stuck: list[str]) -> list[str]:
    """Weights first: the stuck tensors that multiply, and are all zero; none where there is only one, or no weight."""
    from fanin.checks._tensors import slot_of

    zeros = [name for name in stuck if not bool(evidence.parameters[name].any())]
    roles = {name: slot.role if (slot := slot_of(evidence, name)) else None for name in zeros}
    factors = [n for n in zeros if roles[n] in _FACTORS or (roles[n] is None and evidence.parameters[n].dim() > 1)]
    factors.sort(key=lambda name: evidence.parameters[name].dim() < 2)
    return factors if len(factors) > 1 and evidence.parameters[factors[0]].dim() > 1 else []


_FACTORS = ("weight", "embedding", "gain")


def _zero_weights(evidence: Evidence, stuck: list[str]) -> list[str]:
    """The stuck matrices that are all zero: a single one, in front of a ReLU, holds itself there."""
    return [n for n in stuck if evidence.parameters[n].dim() > 1 and not bool(evidence.parameters[n].any())]


def _is_shift(evidence: Evidence, name: str) -> bool:
    """A bias: that the loss does not feel it (a difference of outputs) costs nothing."""
    from fanin.checks._tensors import slot_of

    slot = slot_of(evidence, name)
    return slot is not None and slot.role == "bias"


def _suspects(evidence: Evidence) -> list[str]:
    trace = evidence.trace
    assert trace is not None
    names = []
    for name, parameter in evidence.model.named_parameters():
        gradient = trace.gradients.get(name)
        if gradient is None or not parameter.requires_grad or gradient.numel() == 0 or bool(gradient.any()):
            continue
        uses = [node for node, _ in trace.graph.uses(name)]
        if uses and all(0 in node.shape for node in uses):  # an expert that got no token
            continue
        if uses and all(node.kind == "recurrent" for node in uses):  # one step from a zero state
            continue
        names.append(name)
    return names


def _stuck(evidence: Evidence, suspects: list[str], steps: int) -> list[str]:
    """The suspects whose gradient is exactly zero after each of ``steps`` sign steps on a copy."""
    import copy

    import torch

    from fanin.trace import trace as run

    measured = evidence.trace
    assert measured is not None
    if measured.loss_kind == "custom" and evidence.loss is None and measured.target is not None:
        raise Skip("the loss of the run is not known to the rules (Evidence.loss)")
    try:
        model = copy.deepcopy(evidence.model)
    except Exception as error:
        raise Skip(f"the model cannot be copied: {error}") from None
    left = list(suspects)
    gradients: Mapping[str, torch.Tensor] = measured.gradients
    for _ in range(steps):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                gradient = gradients.get(name)
                if gradient is not None and parameter.requires_grad:
                    parameter.sub_(torch.nan_to_num(gradient.to_dense()).sign().to(parameter.dtype), alpha=_STEP)
        gradients = run(model, measured.inputs, measured.target, evidence.loss, statistics=False).gradients
        left = [name for name in left if (g := gradients.get(name)) is None or not bool(g.any())]
        if not left:
            break
    return left
