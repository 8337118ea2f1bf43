"""F110: the signal is not what these weights, or their recipe, should give."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from fanin.checks._finding import Finding
    from fanin.graph import Node


class Disagreement(Rule):
    """The signal after a weight is not what theory expects of independent entries with that mean and variance.

    What it sees:
        For every linear map and convolution the measured second moment of its output against the predicted one,
        fan-in · E W² · E x² + E b², with the input's measured second moment: so the first map at which they part is
        the one where something happens. The prediction holds whatever the input, as long as the entries of the weight
        are independent of each other and of the input, and nothing else touches the product. Maps of few outputs
        stray by chance, and are given room for that. Weights whose mean carries the signal are left out (unless their
        rows repeat), and so are further uses of a weight, whose input depends on it. With
        ``fanin.check(recipe=...)`` each parameter is first compared with the recipe's own mean and variance.

    Why it matters:
        Every rule for choosing a variance (Glorot, He, muP) assumes independent entries. Where they are copies of a
        few rows, of low rank, shifted or multiplied somewhere in the code, the variance no longer says how large the
        signal is, and one layer's factor becomes a power in the next.

    Example:
        layer.weight.data = torch.outer(u, v)          # rank one: one random number decides for the whole layer
        y = Scaled.apply(layer(x))                     # a factor that the weight's variance knows nothing of
        model.apply(my_init); model.post_init()        # the second call overwrites the first

    What to do:
        Look at the named weight: ``torch.linalg.svdvals(weight)`` tells repeated or low-rank entries. A trained or
        hand-made weight is not a draw; leave such parameters out with ``fanin.check(ignore="F110")``.

    Thresholds:
        bits: 1 (powers of two in the second moment, beyond chance): 95 % of predictions from measured inputs lie
            within 0.6 on models of all kinds, and the worst seen on healthy ones is 1.
        sigmas: 4.5 (standard errors given to chance): the mean square of n outputs strays by sqrt(2 / n), and large
            models have a thousand maps.
        severe: 4 (powers of two from which it is a warning without a cause in the weight): a factor of 4 in rms.

    Source:
        He, Zhang, Ren & Sun (2015), equations 6-7; Hanin & Rolnick (2018) on what finite width leaves to chance.
    """

    code = "F110"
    name = "prediction-fails"
    category = "disagreement"
    severity = "warning"
    requires = ("forward", "slots", "parameters", "predicted")
    thresholds: ClassVar[Mapping[str, float]] = {"bits": 1, "sigmas": 4.5, "severe": 4}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        changed = _changed(evidence)
        for name, text, numbers in changed:
            yield self.finding(
                name,
                f"{text}: some code wrote it after, or instead of, the recipe.",
                "write the recipe last, fanin.init_(model, x) after all other code that touches the weights, or leave "
                "the parameter out of it with keep=[...]",
                category="overwritten",
                evidence=numbers,
            )
        explained = {name for name, _, _ in changed}
        parted = [place for place in _parted(evidence, limits) if place.weight not in explained]
        if not parted:
            return
        cause = next((c for place in parted if (c := _cause(evidence, place.weight)) is not None), None)
        first = next((p for p in parted if cause is not None and p.weight == cause[0]), parted[0])
        size = "larger" if first.bits > 0 else "smaller"
        why = f"because {cause[1]}" if cause is not None else _UNKNOWN
        yield self.finding(
            first.weight,
            f"the output of {first.node.place} has rms {first.measured**0.5:.3g}, {2 ** abs(first.bits / 2):.2g} times "
            f"{size} than the {first.expected**0.5:.3g} that independent entries of this variance give with this "
            f"input, {why}.",
            "make the entries independent of each other and of the data (fanin.init_(model, x)), or let the variance "
            "account for what the code does to the product",
            severity="warning" if cause is not None or abs(first.bits) >= limits["severe"] else "info",
            evidence={"measured": first.measured, "predicted": first.expected, "log2": first.bits},
            also=[place.weight for place in parted if place is not first],
        )

    @staticmethod
    def fires() -> dict[str, Any]:
        return _chain(rank_one=True)

    @staticmethod
    def quiet() -> dict[str, Any]:
        return _chain(rank_one=False)


_UNKNOWN = (
    "though its entries look independent: a factor that the code multiplies by unseen, or a weight that was fitted to "
    "its input (trained, or made from data)"
)


@dataclass(frozen=True)
class _Place:
    node: Node
    weight: str
    measured: float
    expected: float

    @property
    def bits(self) -> float:
        return math.log2(self.measured / self.expected)


def _parted(evidence: Evidence, limits: Mapping[str, float]) -> list[_Place]:
    """Maps, in execution order, whose output is not what their measured input and their weight's variance give."""
    from fanin.checks._path import weight_of

    trace, predicted = evidence.trace, evidence.predicted
    assert trace is not None
    assert predicted is not None
    found: dict[str, _Place] = {}
    for node in trace.graph.weight_ops():
        theory, seen = predicted.at(node.place, "forward", "predicted"), trace.signals.at(node.place)
        name = weight_of(node)
        if node.kind != "linear" or theory is None or seen is None or name is None or seen.nonfinite_fraction > 0:
            continue
        expected, measured = theory.from_inputs, seen.second_moment
        if trace.graph.uses(name)[0][0].id != node.id:
            continue  # used before: its input may already depend on it
        if expected is None or not (_SMALLEST < expected < math.inf and _SMALLEST < measured < math.inf):
            continue
        place = _Place(node, name, measured, expected)
        low, high = _chance(_outputs(node), limits["sigmas"])
        if low - limits["bits"] <= place.bits <= high + limits["bits"]:
            continue
        if not _mean_matters(evidence, name) or _cause(evidence, name) is not None:
            found.setdefault(name, place)
    return list(found.values())


_SMALLEST = 1e-30
"""Second moments below it are zeros for float32 arithmetic (its smallest normal number is 1e-38)."""


def _outputs(node: Node) -> int:
    """Units whose weights are independent draws."""
    rank = len(node.shape)
    return node.shape[1] if node.op.startswith("conv") and rank > 1 else node.shape[-1] if rank else 1


def _chance(n: int, sigmas: float) -> tuple[float, float]:
    """log2 of the range that the mean square of n independent Gaussians keeps to (Wilson & Hilferty, 1931)."""
    width = sigmas * math.sqrt(2 / (9 * n))
    low, high = 1 - 2 / (9 * n) - width, 1 - 2 / (9 * n) + width
    return (3 * math.log2(low) if low > 0 else -math.inf), 3 * math.log2(high)


def _mean_matters(evidence: Evidence, name: str) -> bool:
    """Whether the mean of the entries, added up over the fan, can carry the signal; its part depends on the input."""
    from fanin.checks._tensors import slot_of
    from fanin.theory import array_moments

    slot, tensor = slot_of(evidence, name), evidence.parameters.get(name)
    if slot is None or slot.fans is None or tensor is None or not tensor.is_floating_point():
        return True
    if evidence.recipe is not None and name in evidence.recipe:
        line = evidence.recipe.line(name)
        mean = line.initializer.mean(line.fans, line.shape)
        second = line.std**2 + mean**2
    else:
        known = array_moments({name: tensor}, {})  # type: ignore[arg-type]
        mean, second = known.get(name, (math.inf, 1.0))
    return slot.fans.fan_in * mean**2 > _MEAN_SHARE * second


_MEAN_SHARE = 0.25
"""fan-in · (E W)²/E W²: at 1 inputs of one sign get half of their signal from the mean; a sample has 1/fan-out."""


def _cause(evidence: Evidence, name: str) -> tuple[str, str] | None:
    """What about a weight makes its entries dependent: (name, in words), or None where they look independent."""
    from fanin.checks._tensors import equal_rows, readable, rows, slot_of

    tensor = dict(readable(evidence)).get(name)
    if tensor is None or tensor.dim() < 2:
        return None
    matrix = rows(tensor, slot_of(evidence, name))[0].float()
    m, k = matrix.shape
    if m < 2 or k < 2:
        return None
    groups = equal_rows(matrix)
    repeated = sum(len(group) - 1 for group in groups)
    if repeated > m // 4:
        return name, f"{repeated} of its {m} rows repeat another"
    few = max(1, matrix.numel() // 200)
    share = float(matrix.square().flatten().topk(few).values.sum() / matrix.square().sum().clamp_min(1e-38))
    if share > 0.5:
        return name, f"{few} of its {matrix.numel()} entries carry {share:.0%} of its second moment"
    stable, usual = _stable_rank(matrix), m * k / (math.sqrt(m) + math.sqrt(k)) ** 2
    if stable < usual / 4:
        return name, f"its stable rank is {stable:.2g} where independent entries give {usual:.2g}: they are correlated"
    return None


def _stable_rank(matrix: torch.Tensor) -> float:
    """‖W‖_F²/‖W‖₂²: how many directions carry the weight; the norm by power iteration."""
    import torch

    generator = torch.Generator(device="cpu").manual_seed(0)
    v = torch.randn(matrix.shape[1], generator=generator).to(matrix.device)
    for _ in range(16):  # a dominant direction, which is what is looked for, needs few
        v = matrix.T @ (matrix @ (v / v.norm()))
    top = float(v.norm())
    return float(matrix.square().sum()) / top if top > 0 else math.inf


def _changed(evidence: Evidence) -> list[tuple[str, str, dict[str, Any]]]:
    """Parameters whose values cannot have come from their line of the recipe: (name, in words, the numbers)."""
    from fanin.checks._tensors import readable

    if evidence.recipe is None:
        return []
    tensors, found = dict(readable(evidence)), []
    for line in evidence.recipe.lines:
        tensor = tensors.get(line.name)
        if tensor is None or tuple(tensor.shape) != tuple(line.shape):
            continue
        flat = tensor.double().reshape(-1)
        mean, std = float(flat.mean()), float(flat.std(correction=0))
        wanted = (line.initializer.mean(line.fans, line.shape), line.std)
        if _fits(mean, std, *wanted, flat.numel()) or _drawn_alike(line, mean, std):
            continue
        text = f"it has mean {mean:.3g} and std {std:.3g} where the recipe says {wanted[0]:.3g} and {wanted[1]:.3g}"
        numbers = {"mean": mean, "std": std, "recipe_mean": wanted[0], "recipe_std": wanted[1]}
        found.append((line.name, f"{text} ({line.initializer})", numbers))
    return found


def _fits(mean: float, std: float, wanted_mean: float, wanted_std: float, n: int) -> bool:
    """Whether n independent draws of that mean and std can have these; five standard errors, and rounding."""
    rounding = 0.01 * max(abs(wanted_mean), wanted_std)  # bfloat16 keeps 8 bits
    error = 5 * wanted_std / math.sqrt(n)
    return abs(mean - wanted_mean) <= error + rounding and abs(std - wanted_std) <= error + rounding


def _drawn_alike(line: Any, mean: float, std: float) -> bool:
    """Whether draws of this very line stray as far: laws with few independent numbers do."""
    from fanin.keys import Key

    if math.prod(line.shape) > _LARGEST_DRAW:
        return False
    draws = [line.initializer.draw(Key(seed).child(line.name), line.shape, line.fans) for seed in range(_DRAWS)]
    for values in draws:
        values[list(line.zero_rows)] = 0.0
    for seen, known in ((mean, [float(d.mean()) for d in draws]), (std, [float(d.std()) for d in draws])):
        low, high = min(known), max(known)
        room = 2 * (high - low) + 1e-6 * max(abs(low), abs(high))
        if not low - room <= seen <= high + room:
            return False
    return True


_DRAWS = 4
"""Draws whose range, widened by twice itself on both sides, holds another one 99.9 % of the time."""

_LARGEST_DRAW = 1 << 22
"""Entries up to which the draws take less than a second; larger tensors fit their moments."""


def _chain(rank_one: bool) -> dict[str, Any]:
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential()
        for _ in range(4):
            layer = nn.Linear(128, 128, bias=False)
            u, v, full = torch.randn(128), torch.randn(128), torch.randn(128, 128)
            layer.weight.data = (torch.outer(u, v) if rank_one else full) * (2 / 128) ** 0.5
            model.append(layer).append(nn.ReLU())
        model.append(nn.Linear(128, 4))
        return {"model": model, "inputs": torch.randn(32, 128), "target": torch.randint(0, 4, (32,))}
