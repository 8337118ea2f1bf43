"""R602: a weight that is recomputed from others, and was written itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fanin.checks._base import Evidence, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fanin.checks._finding import Finding


class Stale(Rule):
    """An initialization went into a tensor that the next forward pass overwrites.

    What it sees:
        Modules under ``nn.utils.weight_norm`` or ``nn.utils.spectral_norm`` (the forms that recompute ``weight``
        before each forward pass) whose ``weight`` is not what their stored parameters give: for weight norm
        g · v / ‖v‖, for spectral norm a multiple of the original weight.

    Why it matters:
        The values written last are never used: the layer runs with whatever its parameters held before, usually the
        default initialization, and nothing says so.

    Example:
        layer = nn.utils.weight_norm(nn.Conv1d(64, 64, 3))
        layer.weight.data.normal_(0, 0.01)                          # replaced at the first forward

    What to do:
        Initialise before applying the reparametrization, or write its parameters (``weight_g``, ``weight_v``;
        ``weight_orig``).

    Thresholds:
        difference: 0.01 (relative difference of the two tensors): rounding gives 1e-7 in float32, 4e-3 in bfloat16.

    Source:
        Salimans & Kingma (2016), Weight normalization; Miyato et al. (2018), Spectral normalization; PyTorch
        documentation of both.
    """

    code = "R602"
    name = "written-weight-is-recomputed"
    category = "stale_reparam"
    severity = "warning"
    requires = ("parameters",)
    thresholds: ClassVar[Mapping[str, float]] = {"difference": 0.01}

    def check(self, evidence: Evidence, limits: Mapping[str, float]) -> Iterator[Finding]:
        for path, module in evidence.model.named_modules():
            for hook in module._forward_pre_hooks.values():
                name = getattr(hook, "name", None)
                kind = type(hook).__name__
                if kind not in ("WeightNorm", "SpectralNorm") or not isinstance(name, str):
                    continue
                difference = _difference(module, hook, name, kind)
                if difference is None or difference <= limits["difference"]:
                    continue
                full = f"{path}.{name}" if path else name
                stored = f"{full}_g and {full}_v" if kind == "WeightNorm" else f"{full}_orig"
                yield self.finding(
                    full,
                    f"the tensor differs by {difference:.2g} of its size from what {stored} give: the next forward "
                    f"pass recomputes it, and what was written is lost.",
                    "initialise before applying the reparametrization, or write the stored parameters",
                    evidence={"difference": difference},
                )

    @staticmethod
    def fires() -> dict[str, Any]:
        arguments = Stale.quiet()
        arguments["model"][0].weight.data.mul_(0.1)
        return arguments

    @staticmethod
    def quiet() -> dict[str, Any]:
        import warnings

        import torch
        from torch import nn

        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the older of two forms says that it is deprecated
            torch.manual_seed(0)
            model = nn.Sequential(nn.utils.weight_norm(nn.Linear(8, 16)), nn.Tanh(), nn.Linear(16, 4))
            return {"model": model, "inputs": torch.randn(32, 8), "target": torch.randn(32, 4)}


def _difference(module: Any, hook: Any, name: str, kind: str) -> float | None:
    """Relative difference of the written tensor from the recomputed one; None where it cannot be told."""
    import torch

    written = module.__dict__.get(name)
    if not isinstance(written, torch.Tensor) or written.is_meta:
        return None
    with torch.no_grad():
        if kind == "WeightNorm":
            given = hook.compute_weight(module)
        else:  # the original up to a positive factor: its size depends on how often the hook has run
            given = getattr(module, name + "_orig")
            scale = given.double().norm()
            given = given * (written.double().norm() / scale).to(given.dtype) if scale > 0 else given
        size = float(given.double().norm())
        return float((written.double() - given.double()).norm()) / size if size > 0 else None
