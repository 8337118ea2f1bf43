"""check and assert_healthy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from fanin import checks
from fanin.api._predict import predict_beside
from fanin.checks import Evidence
from fanin.errors import InputError, UnhealthyError
from fanin.recipe import Recipe
from fanin.report import Report, measure_weights
from fanin.slots import find
from fanin.trace import trace as run_trace

__all__ = ["assert_healthy", "check"]


def check(
    model: nn.Module,
    inputs: Any,
    target: Any = None,
    loss: Callable[[Any, Any], torch.Tensor] | None = None,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    select: str | Sequence[str] | None = None,
    ignore: str | Sequence[str] | None = None,
    thresholds: Mapping[str, float] | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
) -> Report:
    """Run one batch forward and backward, measure every place, and report what is wrong with the start.

    The model is left exactly as it was: weights, gradients, buffers, modes, random states and hooks.

    Args:
        model: any eager ``nn.Module``; it is run in the mode (train or eval) it is in.
        inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        target: what the loss compares the output with; without one the backward pass starts from a random unit
            cotangent and rules about the loss are skipped.
        loss: ``loss(output, target)`` → scalar; default: cross-entropy for integer targets, mean squared error for
            floating ones.
        optimizer: the optimizer you mean to train with, for rules that need to know.
        select: codes or prefixes of rules to run ("F", "F101"); all by default.
        ignore: codes or prefixes of rules to leave out.
        thresholds: rule thresholds to override, such as ``{"F101.decades": 3}``; ``fanin explain F101`` lists them.
        recipe: what the weights were made by, as ``fanin.init_`` returned it; theory then predicts from its word, and
            parameters that are something else now are named.
        seed: seeds dropout and the cotangent of this run.

    Returns:
        A Report: ``findings``, ``ok``, ``signals`` (measured, and predicted by theory beside them), ``outcomes``;
        ``show()``, ``save(path)``, ``to_json()``.

    Raises:
        TraceError: if the model or the loss raises; the original exception is its cause.
        InputError: if an argument cannot be used.
        UnknownNameError: if a code or threshold does not exist.

    Example:
        >>> import torch, fanin
        >>> from torch import nn
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(*[m for _ in range(20) for m in (nn.Linear(64, 64), nn.ReLU())], nn.Linear(64, 10))
        >>> report = fanin.check(model, torch.randn(32, 64), target=torch.randint(0, 10, (32,)))
        >>> report.ok, [finding.code for finding in report.findings]
        (False, ['F101'])
        >>> _ = fanin.init_(model, torch.randn(32, 64), seed=0)
        >>> fanin.check(model, torch.randn(32, 64), target=torch.randint(0, 10, (32,))).ok
        True
    """
    if not isinstance(model, nn.Module):
        raise InputError.of("model", type(model).__name__, "a torch.nn.Module")
    if recipe is not None and not isinstance(recipe, Recipe):
        raise InputError.of("recipe", type(recipe).__name__, "a Recipe, such as fanin.init_ or fanin.plan returns")
    traced = run_trace(model, inputs, target, loss, seed=seed)
    slots = find(model, traced.graph)
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    predicted, why_not = predict_beside(traced, slots, parameters, recipe)
    evidence = Evidence(
        model=model,
        parameters=parameters,
        slots=slots,
        trace=traced,
        predicted=predicted,
        optimizer=optimizer,
        notes={"predicted": why_not} if why_not else {},
        loss=loss,
        recipe=recipe,
    )
    findings, outcomes = checks.run(evidence, select=select, ignore=ignore, thresholds=thresholds)
    return Report(
        findings=tuple(findings),
        outcomes=tuple(outcomes),
        signals=traced.signals.merged(predicted or ()),
        graph=traced.graph,
        slots=slots,
        recipe=recipe,
        loss=traced.loss,
        loss_kind=traced.loss_kind,
        notes=(*traced.notes, *([f"no prediction: {why_not}"] if why_not else [])),
        model=type(model).__name__,
        weights=measure_weights(evidence.parameters, traced.gradients),
    )


def assert_healthy(model: nn.Module, inputs: Any, target: Any = None, loss: Any = None, **options: Any) -> None:
    """Raise where ``check`` finds an error; for test suites.

    Args:
        model: as in :func:`check`, and so are all further arguments.
        inputs: as in :func:`check`.
        target: as in :func:`check`.
        loss: as in :func:`check`.
        options: keyword arguments of :func:`check`.

    Raises:
        UnhealthyError: an AssertionError that lists the findings of severity error.

    Example:
        >>> import torch, fanin
        >>> fanin.assert_healthy(torch.nn.Linear(8, 3), torch.randn(16, 8), target=torch.randint(0, 3, (16,)))
    """
    __tracebackhide__ = True
    report = check(model, inputs, target, loss, **options)
    errors = [finding for finding in report.findings if finding.severity == "error"]
    if errors:
        lines = "\n".join(f"  {f.code} {f.where or 'model'}: {f.message}\n    fix: {f.fix}" for f in errors)
        raise UnhealthyError(f"{type(model).__name__} does not start healthy:\n{lines}")
