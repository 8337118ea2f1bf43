"""W302: layers that start as copies of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from fanin.checks._finding import Finding
    from fanin.slots import Slot


class Cloned(Rule):
    """Separately stored weights that hold the same draw.

    What it sees:
        Trainable tensors with at least two axes that are stored apart and bitwise equal, and blocks of units inside one
        weight (stacked experts, shards joined along the fan-out axis) that are bitwise equal. More than half of the
        values must differ from each other: equal biases, identity and dirac patterns are no copies. Tied weights are
        one tensor and are not meant (a tie that was lost is R603's); equal units with equal gradients are W301's;
        groups of r² equal filters in front of a pixel shuffle (ICNR) are meant so.

    Why it matters:
        Layers are meant to start independent: the theory behind every variance-scaling rule multiplies independent
        matrices. n copies of one matrix give the n-th power of it: its largest singular direction wins, and an
        ensemble, a set of experts or twin critics start with one opinion.

    Example:
        layer = nn.TransformerEncoderLayer(512, 8)
        nn.TransformerEncoder(layer, 6)                             # deep copies: six equal layers
        critics = [critic, copy.deepcopy(critic)]                   # twin critics that agree
        torch.manual_seed(0)                                        # the same on every rank that makes a shard

    What to do:
        Initialise after copying: ``fanin.init_(model, x)`` draws every tensor from its own stream, keyed by its name.
        A frozen copy (target network, teacher) should say ``requires_grad_(False)``.

    Thresholds:
        rows: 0.1 (share of one weight's units that repeat another unit of the same weight): chance gives none; two
            equal experts or shards of E give 2/E, so 0.1 sees two among twenty.

    Source:
        Behaviour of torch.nn.TransformerEncoder (PyTorch issues 72253 and 86274, 2022). Aitken et al. (2017),
        Checkerboard artifact free sub-pixel convolution, for ICNR.
    """

    code = "W302"
    name = "copies-of-one-draw"
    category = "cloned"
    severity = "warning"
    requires = ("parameters",)
    thresholds: ClassVar[Mapping[str, float]] = {"rows": 0.1}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        from fanin.checks._tensors import readable, slot_of, trainable

        free = trainable(evidence)
        drawn = [(n, t) for n, t in readable(evidence) if n in free and _is_draw(t, slot_of(evidence, n))]
        for names in _equal_tensors(drawn):
            roles = [slot.role for n in names if (slot := slot_of(evidence, n)) is not None]
            if sorted(roles) == ["embedding", "weight"]:  # a lookup table and its head: a lost tie, which R603 says
                continue
            yield self.finding(
                names[0],
                f"{len(names)} separately stored weights are bitwise equal: copies of one draw.",
                "initialise after copying: fanin.init_(model, x) draws each tensor from its own stream",
                evidence={"copies": len(names), "shape": list(evidence.parameters[names[0]].shape)},
                also=names[1:],
            )
        for name, tensor in drawn:
            found = self._blocks(evidence, name, tensor, slot_of(evidence, name), limits["rows"])
            if found is not None:
                yield found

    def _blocks(
        self, evidence: Evidence, name: str, tensor: torch.Tensor, slot: Slot | None, share: float
    ) -> Finding | None:
        from fanin.checks._tensors import equal_rows, mostly_distinct, rows

        if slot is not None and slot.role != "weight":
            return None
        matrix = rows(tensor, slot).flatten(0, 1)
        if matrix.shape[1] < _ROW or not mostly_distinct(matrix[0]):
            return None
        groups = equal_rows(matrix)
        repeated = sum(map(len, groups))
        gradient = None if evidence.trace is None else evidence.trace.gradients.get(name)
        if groups and gradient is not None and gradient.shape == tensor.shape:
            first = rows(gradient, slot).flatten(0, 1)[groups[0][:2]]
            if bool(first.any()) and equal_rows(first):  # equal gradients too: they stay equal, which W301 says
                return None
        if repeated < share * matrix.shape[0] or not groups or _icnr(evidence, name, groups, matrix.shape[0]):
            return None
        return self.finding(
            name,
            f"{repeated} of {matrix.shape[0]} units repeat the weights of another unit bitwise (first: unit "
            f"{groups[0][1]} repeats unit {groups[0][0]}): experts or shards drawn from the same seed.",
            "give each expert or shard its own stream: fanin.init_(model, x)",
            evidence={"repeated": repeated, "units": matrix.shape[0]},
        )

    @staticmethod
    def fires() -> dict[str, Any]:
        arguments = Cloned.quiet()
        model = arguments["model"]
        model[2].load_state_dict(model[0].state_dict())
        return arguments

    @staticmethod
    def quiet() -> dict[str, Any]:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Tanh(), torch.nn.Linear(16, 16))
            return {"model": model, "inputs": torch.randn(32, 16), "target": torch.randn(32, 16)}


_SMALLEST = 16
"""Fewest entries of a tensor that is compared: 16 random floats agree by chance with probability 2^-368."""

_ROW = 8
"""Fewest incoming weights of a unit whose repetition is no chance: depthwise 3 x 3 filters have 9."""


def _is_draw(tensor: torch.Tensor, slot: Slot | None) -> bool:
    """Matrices that a law draws: no vectors in disguise (1, 1, d), no tables that a formula fills."""
    matrix = sum(size > 1 for size in tensor.shape) >= 2 and tensor.numel() >= _SMALLEST
    return matrix and (slot is None or slot.role in ("weight", "embedding", "token"))


def _equal_tensors(drawn: list[tuple[str, torch.Tensor]]) -> Iterator[list[str]]:
    from fanin.checks._tensors import mostly_distinct, same

    table: dict[object, list[list[tuple[str, torch.Tensor]]]] = {}
    for name, tensor in drawn:
        flat = tensor.reshape(-1)
        probe = tuple(flat[:: max(1, flat.numel() // 8)][:8].tolist())
        groups = table.setdefault((tuple(tensor.shape), tensor.dtype, probe), [])
        home = next((group for group in groups if same(group[0][1], tensor)), None)
        if home is None:
            groups.append([(name, tensor)])
        else:
            home.append((name, tensor))
    for group in (group for groups in table.values() for group in groups):
        if len(group) > 1 and mostly_distinct(group[0][1]):
            yield [name for name, _ in group]


def _icnr(evidence: Evidence, name: str, groups: list[list[int]], units: int) -> bool:
    """Runs of r² neighbours that cover all units, in front of a pixel shuffle where the run is known."""
    size = len(groups[0])
    runs = all(len(g) == size and g[-1] - g[0] == size - 1 for g in groups) and size * len(groups) == units
    if not runs or round(size**0.5) ** 2 != size:
        return False
    if evidence.trace is None:
        return any("PixelShuffle" in type(module).__name__ for module in evidence.model.modules())
    return any("pixel_shuffle" in node.op for node in evidence.trace.graph.nodes)
