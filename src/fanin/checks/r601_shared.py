"""R601: one module registered several times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanin.checks._finding import Finding


class SharedInstance(Rule):
    """One module stands at several places of a container.

    What it sees:
        A container (``nn.ModuleList``, ``nn.Sequential``, ``nn.ParameterList`` or any module) that holds the very same
        child module, one with trainable parameters, or the very same parameter under two or more names. And one batch
        norm that is called again behind itself, after another layer.

    Why it matters:
        ``[Block()] * 6`` makes one block and lists it six times: the network has a sixth of its parameters, and its
        layers are tied for ever. Nothing fails, the loss is only worse. Sharing on purpose (ALBERT, Universal
        Transformer, siamese encoders) looks the same, so this is a warning.

    Example:
        self.layers = nn.ModuleList([Block(d)] * 6)

    What to do:
        ``nn.ModuleList([Block(d) for _ in range(6)])``; where sharing is meant, ``ignore=["R601"]``.

    Thresholds:
        None.

    Source:
        Lan et al. (2020), ALBERT, and Dehghani et al. (2019), Universal Transformers, for sharing on purpose.
    """

    code = "R601"
    name = "one-module-many-places"
    category = "shared"
    severity = "warning"
    requires = ("parameters",)

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        yield from self._norms(evidence)
        for path, container in evidence.model.named_modules():
            prefix = f"{path}." if path else ""
            modules = {n: m for n, m in container._modules.items() if m is not None and _learns(m)}
            parameters = {n: p for n, p in container._parameters.items() if p is not None and p.requires_grad}
            for kind, names in (*_repeated(modules), *_repeated(parameters)):
                held = modules[names[0]].parameters() if names[0] in modules else [parameters[names[0]]]
                count = sum(parameter.numel() for parameter in held)
                places = [prefix + name for name in names]
                yield self.finding(
                    places[0],
                    f"one {kind} of {count} numbers stands at {len(names)} places: its weights are tied across all of "
                    f"them.",
                    f"make one for each place: [{kind}(...) for _ in range({len(names)})]; where the sharing is meant: "
                    f"ignore=['R601']",
                    evidence={"places": len(names), "parameters": count},
                    also=places[1:],
                )

    def _norms(self, evidence: Evidence) -> Iterator[Finding]:
        """A batch norm behind itself, with other weights between: one mean and variance for different layers."""
        from fanin.checks._path import weight_of
        from fanin.checks._steps import descends

        if evidence.trace is None:
            return
        graph = evidence.trace.graph
        calls: dict[str, list[int]] = {}
        for node in graph.nodes:
            if node.op == "batch_norm" and node.module:
                calls.setdefault(node.module, []).append(node.id)
        for path, ids in calls.items():
            first, last = ids[0], ids[-1]
            between = [weight_of(n) for n in graph.nodes[first:last] if n.kind == "linear"]
            single = [name for name in between if name is not None and between.count(name) == 1]
            if len(ids) > 1 and single and descends(graph, last, first):
                yield self.finding(
                    path,
                    f"one batch norm follows {len(ids)} layers one after the other: its mean and variance mix what "
                    f"comes from different weights.",
                    "make one for each layer",
                    evidence={"places": len(ids)},
                )

    @staticmethod
    def fires() -> dict[str, Any]:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            one = torch.nn.Linear(8, 8)
            return {"model": torch.nn.Sequential(one, torch.nn.Tanh(), one), "inputs": torch.randn(16, 8)}

    @staticmethod
    def quiet() -> dict[str, Any]:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            tanh = torch.nn.Tanh()  # a module without weights may be listed as often as one likes
            layers = [torch.nn.Linear(8, 8), tanh, torch.nn.Linear(8, 8), tanh]
            return {"model": torch.nn.Sequential(*layers), "inputs": torch.randn(16, 8)}


def _learns(module: Any) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _repeated(entries: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """(class name, names) of every entry that stands under several names."""
    table: dict[int, list[str]] = {}
    for name, entry in entries.items():
        table.setdefault(id(entry), []).append(name)
    return [(type(entries[names[0]]).__name__, names) for names in table.values() if len(names) > 1]
