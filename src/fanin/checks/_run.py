"""Run the rules on one body of evidence."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fanin.checks._base import Evidence, Rule, Skip, rules
from fanin.checks._finding import Finding, Outcome
from fanin.errors import FaninError, InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["chosen", "limits", "run"]

_ORDER = {"error": 0, "warning": 1, "info": 2}


def run(
    evidence: Evidence,
    *,
    select: str | Iterable[str] | None = None,
    ignore: str | Iterable[str] | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> tuple[list[Finding], list[Outcome]]:
    """Apply the rules and say for each whether it passed, failed or had to be skipped.

    Args:
        evidence: what the rules may read.
        select: codes or prefixes of codes ("F", "F1", "F101") to run; None for all.
        ignore: codes or prefixes to leave out; stronger than ``select``.
        thresholds: ``"CODE.name"`` → value in the unit that the rule's page names.

    Returns:
        The findings, worst first and then by code, with the places of equal faults joined (the first one in
        ``where``, the others in ``also``); and one outcome for each chosen rule, by code.

    Raises:
        UnknownNameError: if a code or a threshold fits no rule.
        InputError: if a threshold is not a finite number.
        FaninError: if a rule itself failed. All other rules are run first and their findings are in the text; the
            rule that failed can be left out with ``ignore``.

    Example:
        >>> from torch import nn
        >>> model = nn.Linear(2, 2)
        >>> found, outcomes = run(Evidence(model, {n: p.detach() for n, p in model.named_parameters()}), select="W303")
        >>> found, outcomes[0].status
        ([], 'passed')
    """
    selected = chosen(select, ignore)
    overrides = limits(thresholds or {})
    findings: list[Finding] = []
    outcomes: list[Outcome] = []
    crashes: list[tuple[type[Rule], Exception]] = []
    for rule in selected:
        reasons = [reason for need in rule.requires if (reason := evidence.missing(need)) is not None]
        if reasons:
            outcomes.append(Outcome(rule.code, "skipped", "; ".join(dict.fromkeys(reasons))))
            continue
        in_force = {**rule.thresholds, **overrides.get(rule.code, {})}
        try:
            found = joined(rule().check(evidence, in_force))
        except Skip as reason:
            outcomes.append(Outcome(rule.code, "skipped", str(reason)))
            continue
        except Exception as error:  # reported below: one broken rule must not hide what the others found
            crashes.append((rule, error))
            continue
        findings.extend(found)
        outcomes.append(Outcome(rule.code, "failed" if found else "passed"))
    findings.sort(key=lambda finding: (_ORDER[finding.severity], finding.code))
    if crashes:
        _raise(crashes, findings)
    return findings, outcomes


def chosen(select: str | Iterable[str] | None, ignore: str | Iterable[str] | None) -> tuple[type[Rule], ...]:
    """The rules that ``select`` keeps and ``ignore`` does not drop, by code."""
    keep = None if select is None else _prefixes(select)
    drop = () if ignore is None else _prefixes(ignore)
    return tuple(
        rule
        for rule in rules()
        if (keep is None or rule.code.startswith(keep)) and not (drop and rule.code.startswith(drop))
    )


def limits(thresholds: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Validated overrides: code → threshold name → value."""
    known = {f"{rule.code}.{name}" for rule in rules() for name in rule.thresholds}
    table: dict[str, dict[str, float]] = {}
    for key, value in thresholds.items():
        if key not in known:
            raise UnknownNameError("threshold", key, known)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise InputError.of(f"thresholds[{key!r}]", value, "a finite number")
        code, _, name = key.partition(".")
        table.setdefault(code, {})[name] = float(value)
    return table


def joined(found: Iterable[Finding]) -> list[Finding]:
    """One finding for each category, severity and fix: the first keeps its text, the places of the others join it."""
    table: dict[tuple[Any, ...], Finding] = {}
    for finding in found:
        key = (finding.code, finding.category, finding.severity, finding.fix.replace(finding.where, "*"))
        first = table.get(key)
        if first is None:
            table[key] = finding
        else:
            places = dict.fromkeys((*first.also, finding.where, *finding.also))
            places.pop(first.where, None)
            table[key] = replace(first, also=tuple(places))
    return list(table.values())


def _prefixes(codes: str | Iterable[str]) -> tuple[str, ...]:
    prefixes = (codes,) if isinstance(codes, str) else tuple(codes)
    known = [rule.code for rule in rules()]
    for prefix in prefixes:
        if not isinstance(prefix, str) or not prefix or not any(code.startswith(prefix) for code in known):
            raise UnknownNameError("rule", prefix, known)
    return prefixes


def _raise(crashes: list[tuple[type[Rule], Exception]], findings: list[Finding]) -> None:
    failed = "; ".join(f"rule {rule.code} ({rule.name}) failed: {error!r}" for rule, error in crashes)
    codes = ", ".join(repr(rule.code) for rule, _ in crashes)
    others = "; ".join(f"{f.code} {f.severity} at {f.where or 'model'}: {f.message}" for f in findings) or "nothing"
    raise FaninError(f"{failed}. Leave it out with ignore=[{codes}]. The other rules found: {others}.") from crashes[0][
        1
    ]
