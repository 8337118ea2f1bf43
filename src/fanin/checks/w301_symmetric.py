"""W301: units that are copies of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from fanin.checks._finding import Finding
    from fanin.graph import Graph, Node
    from fanin.slots import Slot


class Symmetric(Rule):
    """Units that start equal and get equal gradients stay equal for ever.

    What it sees:
        In each trainable weight with at least two axes, the units (rows along the fan-out axes) whose incoming weights
        are bitwise equal to another unit's, and whose gradient in the measured step is equal as well. Where no
        gradient was measured, or it is still zero behind a zero-initialised layer, and in lookup tables, only a tensor
        whose entries are all one and the same non-zero number is reported; and weights that are all zero in front of
        weights that are all zero, with a constant bias between. One zero weight alone is a method, frozen weights are
        left out.

    Why it matters:
        Gradient descent is a function of weights and gradients: two units with the same of both take the same step.
        The layer of n units then never has more than as many different features as it has different rows.

    Example:
        nn.init.constant_(layer.weight, 0.1)                        # one feature, n times
        wide.weight[64:] = wide.weight[:64]                         # widened by copying, without noise

    What to do:
        Draw the weights: ``fanin.init_(model, x)``. After widening a layer by copies, add noise of a few per cent of
        the weights' std to the copies (as Net2WiderNet asks).

    Thresholds:
        share: 0.02 (share of a weight's units that have a twin): two equal units among 128 cost one feature, which is
            less than one finds dead in any ReLU layer; a constant or copied weight has half of them or all.

    Source:
        Rumelhart, Hinton & Williams (1986), Nature 323, "symmetry breaking"; Chen, Goodfellow & Shlens (2016),
        Net2Net, section 3.1, on noise for the copies.
    """

    code = "W301"
    name = "units-that-stay-equal"
    category = "symmetric"
    severity = "error"
    requires = ("parameters",)
    thresholds: ClassVar[Mapping[str, float]] = {"share": 0.02}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._tensors import readable, slot_of, trainable

        gradients = {} if evidence.trace is None else evidence.trace.gradients
        free = trainable(evidence)
        for name, tensor in readable(evidence):
            slot = slot_of(evidence, name)
            if name not in free or tensor.dim() < 2 or not (slot is None or slot.role in _ROLES):
                continue
            gradient = gradients.get(name)
            is_table = slot is not None and slot.role == "embedding"  # rows that no token of the batch picked are equal
            if not bool(tensor.any()):
                found = self._mirrored(evidence, name)
            elif not is_table and gradient is not None and gradient.shape == tensor.shape and bool(gradient.any()):
                found = self._twins(name, tensor, gradient, slot, limits["share"])
            else:
                found = self._constant(name, tensor)
            if found is not None:
                yield found

    def _twins(
        self, name: str, tensor: torch.Tensor, gradient: torch.Tensor, slot: Slot | None, share: float
    ) -> Finding | None:
        import torch

        from fanin.checks._tensors import equal_rows, rows

        twins, units, different = 0, 0, 0
        for weight, grad in zip(rows(tensor, slot), rows(gradient, slot)):
            for group in equal_rows(weight):
                alike = _alike(grad[torch.tensor(group, device=grad.device)])
                twins += alike
                different += alike > 0
            units += weight.shape[0]
        if twins == 0 or twins < share * units:
            return None
        return self.finding(
            name,
            f"{twins} of {units} units have a twin with bitwise equal incoming weights and an equal gradient: they "
            f"take equal steps for ever, so these {twins} units are worth {different}.",
            f"draw the weights (fanin.init_(model, x, only=[{name!r}])), or add noise to copied units",
            evidence={"twins": twins, "units": units, "distinct": different},
        )

    def _mirrored(self, evidence: Evidence, name: str) -> Finding | None:
        """A zero weight in front of zero weights: what comes in and what goes out is equal for all its units."""
        from fanin.checks._path import is_added
        from fanin.checks._tensors import slot_of

        slot = slot_of(evidence, name)
        if (
            slot is None
            or slot.role != "weight"
            or evidence.trace is None
            or slot.fans is None
            or slot.fans.fan_out < 2
        ):
            return None
        graph = evidence.trace.graph
        readers = [weight for node, _ in graph.uses(name) for weight in _next_weights(graph, node)]
        biases = [use.name for node, _ in graph.uses(name) for use in node.params if is_added(node, use.argument)]
        equal = all(len(set(evidence.parameters[b].reshape(-1).tolist())) == 1 for b in biases)
        if not readers or not equal or any(bool(evidence.parameters[weight].any()) for weight in readers):
            return None
        return self.finding(
            name,
            f"all {evidence.parameters[name].numel()} weights are 0, and so are those of {readers[0]} behind it: all "
            f"units of the layer are and stay the same.",
            f"draw the weights (fanin.init_(model, x, only=[{name!r}]))",
            evidence={"count": evidence.parameters[name].numel(), "behind": readers[0]},
        )

    def _constant(self, name: str, tensor: torch.Tensor) -> Finding | None:
        first = tensor.reshape(-1)[0]
        if min(tensor.shape[0], tensor.numel() // tensor.shape[0]) < 2 or not bool(first) or first.isnan():
            return None
        if not bool((tensor == first).all()):
            return None
        value = float(first)
        return self.finding(
            name,
            f"all {tensor.numel()} weights are {value:g}: every unit of the layer computes the same number.",
            f"draw the weights (fanin.init_(model, x, only=[{name!r}]))",
            severity="warning",  # without a gradient nothing tells whether the layers around break the tie
            evidence={"value": value, "count": tensor.numel()},
        )

    @staticmethod
    def fires() -> dict[str, Any]:
        arguments = Symmetric.quiet()
        weight = arguments["model"][0].weight
        weight.data[8:], arguments["model"][0].bias.data[8:] = weight.data[:8], arguments["model"][0].bias.data[:8]
        last = arguments["model"][2].weight
        last.data[:, 8:] = last.data[:, :8]
        return arguments

    @staticmethod
    def quiet() -> dict[str, Any]:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4))
            return {"model": model, "inputs": torch.randn(32, 8), "target": torch.randint(0, 4, (32,))}


_ROLES = ("weight", "unknown", "embedding")


def _next_weights(graph: Graph, node: Node) -> list[str]:
    """The weights that multiply a node's values next, past what acts unit by unit; empty where a way ends elsewhere."""
    from fanin.checks._path import weight_of

    found, stack, seen = [], [node.id], {node.id}
    while stack:
        for reader in graph.consumers[stack.pop()]:
            after = graph.nodes[reader]
            weight = weight_of(after)
            if after.kind in ("linear", "recurrent", "attention") and weight is not None:
                found.append(weight)
            elif after.kind not in _UNITWISE or len(set(after.inputs)) > 1:
                return []
            elif reader not in seen:
                seen.add(reader)
                stack.append(reader)
    return found


_UNITWISE = ("activation", "scale", "cast", "dropout", "pool", "shape")


def _alike(gradients: torch.Tensor) -> int:
    """How many of these rows have a gradient equal to the first's, up to the rounding of a different summation order.

    float32 sums of n terms in another order differ by about 1e-7 * sqrt(n) of their size; 1e-5 leaves room for 1e4
    terms. Rows whose gradient is exactly zero say nothing yet.
    """
    first = gradients[0]
    scale = float(first.abs().max())
    if scale == 0.0:
        return 0
    count = int(((gradients - first).abs().amax(1) <= 1e-5 * scale).sum())
    return count if count > 1 else 0
