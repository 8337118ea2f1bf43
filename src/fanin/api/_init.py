"""init_: plan, write, and look again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fanin.api._check import check
from fanin.api._plan import plan
from fanin.errors import InputError
from fanin.materialize import write
from fanin.recipe import Kept, Recipe

if TYPE_CHECKING:
    from fanin.report import Report

__all__ = ["Started", "init_", "start"]


def init_(
    model: nn.Module,
    inputs: Any = None,
    target: Any = None,
    *,
    scheme: str = "auto",
    seed: int = 0,
    only: Any = None,
    force: bool = False,
    verify: bool = True,
    **options: Any,
) -> Recipe:
    """Plan and write: give every parameter its start, in place.

    The whole plan is validated before the first value is written, so an error leaves the model untouched. Scheme
    "auto" with inputs runs :func:`fanin.check` before and after: a model that passes is left as it is, and a start
    with more errors than the model's own is taken back; ``recipe.notes`` tell what was found.

    Args:
        model: any ``nn.Module`` with real (not meta) parameters.
        inputs: as in :func:`plan`.
        target: as in :func:`plan`.
        scheme: as in :func:`plan`.
        seed: integer; the same seed and parameter name give the same bits on any machine.
        only: names or patterns of the parameters to touch, such as the ``missing_keys`` of ``load_state_dict``; they
            are written whatever the check says.
        force: write also where the model already passes, and keep what is written.
        verify: False writes without checking before and after.
        options: as in :func:`plan`; a scheme that is given options is asked for, and written whatever the check says.

    Returns:
        The Recipe that was written; without lines, every parameter kept, where nothing was.

    Raises:
        PlanError: as in :func:`plan`.
        InputError: if a tensor cannot be written (integer, expanded, on meta).

    Example:
        >>> import torch, fanin
        >>> from torch import nn
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(*[m for _ in range(20) for m in (nn.Linear(64, 64), nn.ReLU())], nn.Linear(64, 10))
        >>> recipe = fanin.init_(model, torch.randn(32, 64), torch.randint(0, 10, (32,)))
        >>> recipe.notes[-1]
        'check before: F101 (1 error); after: passes.'
        >>> again = fanin.init_(model, torch.randn(32, 64), torch.randint(0, 10, (32,)), seed=1)
        >>> len(again), again.kept[0].reason
        (0, 'the model already passes fanin.check; force=True plans it anew')
    """
    return start(
        model, inputs, target, scheme=scheme, seed=seed, only=only, force=force, verify=verify, **options
    ).recipe


@dataclass(frozen=True)
class Started:
    """What :func:`start` did.

    Args:
        recipe: what was written; without lines where nothing was.
        before: the check of the model as it came, or None where none was asked for.
        after: the check of what it has now, or None.
    """

    recipe: Recipe
    before: Report | None = None
    after: Report | None = None


def start(
    model: nn.Module,
    inputs: Any = None,
    target: Any = None,
    *,
    scheme: str = "auto",
    seed: int = 0,
    only: Any = None,
    force: bool = False,
    verify: bool = True,
    **options: Any,
) -> Started:
    """As :func:`init_`, which returns the recipe alone."""
    for name, value in (("force", force), ("verify", verify)):
        if not isinstance(value, bool):
            raise InputError.of(name, value, "True or False")
    if not isinstance(model, nn.Module):
        raise InputError.of("model", type(model).__name__, "a torch.nn.Module")
    looks = verify and scheme == "auto" and inputs is not None and _is_real(model)
    recipe = plan(model, inputs, target, scheme=scheme, only=only, seed=seed, **options)
    before = check(model, inputs, target, seed=seed) if looks else None
    asked = force or only is not None or bool(options)
    if before is not None and not asked and _passes(before):
        reason = "the model already passes fanin.check; force=True plans it anew"
        return Started(_untouched(model, reason), before, before)
    if before is None:
        write(model, recipe, seed=seed)
        return Started(recipe)
    with _kept(model, recipe) as take_back:
        write(model, recipe, seed=seed)
        after = check(model, inputs, target, seed=seed)
        worse = not asked and _errors(after) > _errors(before)
        if worse:
            take_back()
    note = f"check before: {_said(before)}; after: {_said(after)}."
    if worse:
        reason = f"the planned start has more errors than the model's own ({note[:-1]}); force=True writes it"
        return Started(_untouched(model, reason), before, before)
    noted = Recipe(recipe.lines, kept=recipe.kept, scheme=recipe.scheme, notes=(*recipe.notes, note))
    return Started(noted, before, after)


def _is_real(model: nn.Module) -> bool:
    tensors = [*model.parameters(), *model.buffers()]
    return bool(tensors) and not any(tensor.is_meta for tensor in tensors)


def _errors(report: Report) -> int:
    return sum(finding.severity == "error" for finding in report.findings)


def _passes(report: Report) -> bool:
    return all(finding.severity == "info" for finding in report.findings)


def _said(report: Report) -> str:
    """ "F101, W302 (1 error)" or "passes"."""
    codes = sorted({finding.code for finding in report.findings if finding.severity != "info"})
    if not codes:
        return "passes"
    errors = _errors(report)
    return f"{', '.join(codes)} ({errors or 'no'} error{'s' * (errors != 1)})"


def _untouched(model: nn.Module, reason: str) -> Recipe:
    kept = [Kept(name, reason) for name, _ in model.named_parameters()]
    return Recipe([], kept=kept, scheme="auto", notes=[f"Nothing was written: {reason}."])


@contextmanager
def _kept(model: nn.Module, recipe: Recipe) -> Iterator[Any]:
    """Remember what a recipe is about to overwrite; put it back on demand, and where the body raises."""
    tensors = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}
    saved = [(tensors[line.name], tensors[line.name].detach().clone()) for line in recipe.lines]

    def take_back() -> None:
        with torch.no_grad():
            for tensor, values in saved:
                tensor.copy_(values)

    try:
        yield take_back
    except BaseException:
        take_back()
        raise
