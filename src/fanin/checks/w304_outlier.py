"""W304: a few weights far outside their own distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanin.checks._finding import Finding


class Outlier(Rule):
    """A few entries of a weight lie far outside the spread of the others.

    What it sees:
        For each weight or embedding of at least 100 entries the largest z = |w − median| / (IQR / 1.349); IQR / 1.349
        is the std of a normal sample. Reported where z is huge and only a small share of the entries lies out there:
        a tensor that packs blocks of different scale is not meant.

    Why it matters:
        A few entries of 100 std carry more energy than all others together: they decide what a unit sees, they
        break low-precision formats whose scale follows the largest entry, and no usual law draws them: a normal
        sample of 1e9 entries reaches 6.1.

    Example:
        nn.init.trunc_normal_(w_bf16, std=0.02, a=-2, b=2)          # an inverse CDF in bf16 lands on the bounds
        w.clamp_(-2, 2)                                             # a bound at 100 std hides an overflow

    What to do:
        Draw in float32 and cast: ``fanin.init_(model, x)`` always does.

    Thresholds:
        z: 50 (robust standard deviations): heavy-tailed Student-t(4) weights reach 20 and freshly built public models
            6; faults of truncation give 100.
        share: 0.05 (share of entries beyond z): more than one in twenty is a second population, not outliers.

    Source:
        Rousseeuw & Croux (1993), JASA 88, on robust scale; PyTorch issue 145498 (2025) on truncation in bf16.
    """

    code = "W304"
    name = "weights-far-outside"
    category = "outlier"
    severity = "warning"
    requires = ("parameters",)
    thresholds: ClassVar[Mapping[str, float]] = {"z": 50, "share": 0.05}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        import torch

        from fanin.checks._tensors import readable, slot_of

        for name, tensor in readable(evidence):
            slot = slot_of(evidence, name)
            if tensor.dim() < 2 or tensor.numel() < 100 or (slot and slot.role not in ("weight", "embedding")):
                continue
            flat = tensor.reshape(-1)
            sample = flat[:: max(1, flat.numel() // _SAMPLE)].float()
            low, median, high = torch.quantile(sample, sample.new_tensor([0.25, 0.5, 0.75])).tolist()
            spread = (high - low) / 1.349
            if not spread > 0:  # sparse, constant or NaN: no spread to measure by
                continue
            low, high = (float(bound) for bound in torch.aminmax(flat))
            z = max(high - median, median - low) / spread
            if z <= limits["z"]:
                continue
            beyond = int(((flat - median).abs() > limits["z"] * spread).sum())
            if beyond <= limits["share"] * flat.numel():
                yield self.finding(
                    name,
                    f"{beyond} of {flat.numel()} entries lie more than {limits['z']:g} std from the median; the "
                    f"farthest {z:.0f} std away (std of the bulk {spread:.3g}).",
                    f"draw in float32, then cast: fanin.init_(model, x, only=[{name!r}])",
                    evidence={"z": z, "beyond": beyond, "count": flat.numel(), "bulk_std": spread},
                )

    @staticmethod
    def fires() -> dict[str, Any]:
        arguments = Outlier.quiet()
        arguments["model"][0].weight.data[3, :4] = 100.0
        return arguments

    @staticmethod
    def quiet() -> dict[str, Any]:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4))
            return {"model": model, "inputs": torch.randn(32, 16), "target": torch.randn(32, 4)}


_SAMPLE = 1 << 16
"""Entries behind the quartiles: their standard error is then 0.5 % of the std."""
