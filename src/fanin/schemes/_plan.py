"""plan: run a scheme over all slots, with the user's overrides, and refuse where a parameter stays uncovered."""

from __future__ import annotations

import difflib
import inspect
import math
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from fanin.errors import InputError, PlanError
from fanin.fans import Fans, elementwise, experts
from fanin.initializers import Blocks, Constant, Initializer, LecunNormal, PerGate, Zeros
from fanin.recipe import Kept, Line, Recipe
from fanin.schemes._base import REGISTRY, Choice, Context, Keep, Scheme

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import nn

    from fanin.graph import Graph
    from fanin.slots import Slot, Slots

__all__ = ["names", "plan"]

Override = Initializer | tuple[Initializer, Fans]


def names() -> list[str]:
    """Names that ``scheme=`` accepts.

    Example:
        >>> names()[:3]
        ['auto', 'torch', 'glorot']
    """
    return REGISTRY.names()


def plan(
    name: str | Scheme,
    slots: Slots,
    graph: Graph | None = None,
    *,
    target: Any = None,
    model: nn.Module | None = None,
    inputs: Any = None,
    seed: int = 0,
    overrides: Mapping[str, Override] | None = None,
    keep: Sequence[str] = (),
    only: Sequence[str] | str | None = None,
    **options: Any,
) -> Recipe:
    """Decide for every slot what it starts as, and why.

    Args:
        name: a registered scheme, or a Scheme of your own.
        slots: the places, from ``fanin.slots.find``.
        graph: the traced run, or None; schemes that look at the surroundings do without it what they can.
        target: targets of the batch, for schemes that use them.
        model: the model, for schemes that run it (such as "lsuv").
        inputs: the batch, for the same.
        seed: seed that the recipe will be written with; only schemes that measure drawn weights depend on it.
        overrides: parameter name or pattern ("blocks.*.proj.weight") → Initializer, or (Initializer, Fans) for a
            parameter whose use is not known.
        keep: names or patterns of parameters to leave as they are.
        only: names or patterns of the parameters to plan; all others are left as they are. A frozen parameter is
            planned where its own name is given, as in the ``missing_keys`` of a checkpoint.
        options: arguments of the scheme.

    Returns:
        The Recipe.

    Raises:
        UnknownNameError: if the scheme is not registered.
        InputError: if an option is unknown or a name or pattern matches no parameter.
        PlanError: if a parameter is covered by no rule (the text names it and three ways to go on), or the scheme does
            not fit the model (the text says what it looked for).

    Example:
        >>> from torch import nn
        >>> from fanin.slots import find
        >>> recipe = plan("he", find(nn.Sequential(nn.Linear(8, 16), nn.ReLU())))
        >>> recipe.line("0.weight").reason
        'He: fan_in 8, gain √2'
    """
    scheme = _scheme(name, options)
    asked = _Asked(slots, overrides or {}, keep, only)
    fixed = frozenset(slot.name for slot in slots.values() if asked.standing(slot) is not None)
    context = Context(slots, graph, target, model, inputs, seed, fixed)
    scheme.fit(context)
    lines, kept, uncovered = _decide(scheme, asked, context)
    asked.finish()
    if uncovered:
        raise PlanError(_uncovered(scheme.name, uncovered, graph is not None))
    order = [slot.name for slot in slots.values()]
    recipe = Recipe(
        [lines[n] for n in order if n in lines],
        kept=[kept[n] for n in order if n in kept],
        scheme=scheme.name,
        notes=scheme.notes(context),
    )
    return scheme.finish(recipe, context)


def _decide(scheme: Scheme, asked: _Asked, context: Context) -> tuple[dict[str, Line], dict[str, Kept], list[Slot]]:
    """Lines, kept parameters, and the slots that no rule covers."""
    lines: dict[str, Line] = {}
    kept: dict[str, Kept] = {}
    uncovered: list[Slot] = []
    lengths: list[Slot] = []
    for slot in context.slots.values():
        decision = asked.standing(slot)
        if decision is None and "norm_of" in slot.settings:
            lengths.append(slot)
            continue
        decision = decision or scheme.choose(slot, context)
        if decision is None:
            uncovered.append(slot)
        elif isinstance(decision, Keep):
            kept[slot.name] = Kept(slot.name, decision.reason)
        else:
            line = _line(slot, decision, asked.fans(slot))
            if slot.settings.get("form") == "rescaled" and _is_zero(line):
                reason = f"{slot.why}: 0 would divide by 0, so any direction"
                line = replace(line, initializer=_DIRECTION, reason=reason)
            lines[slot.name] = line
    for slot in lengths:
        decision = _length(slot, lines)
        if isinstance(decision, Keep):
            kept[slot.name] = Kept(slot.name, decision.reason)
        else:
            lines[slot.name] = _line(slot, decision, None)
    return lines, kept, uncovered


def _scheme(name: str | Scheme, options: Mapping[str, Any]) -> Scheme:
    if isinstance(name, Scheme):
        if options:
            raise InputError.of("options", sorted(options), "none beside a Scheme that is already made")
        return name
    cls = REGISTRY[name]
    accepted = [p for p in inspect.signature(cls.__init__).parameters if p not in ("self", "args", "kwargs")]
    unknown = sorted(set(options) - set(accepted))
    if unknown:
        known = ", ".join([*accepted, "overrides", "keep", "only"])
        raise InputError.of("options", unknown, f"options of the scheme: {known}", f"scheme {name!r}")
    return cls(**options)


_FROZEN = Keep("frozen: requires_grad is False")


def _standing(slot: Slot) -> Keep | None:
    """Reasons to leave a parameter alone that hold under every scheme."""
    if not slot.trainable:
        return _FROZEN
    if "hold" in slot.settings:
        return Keep(str(slot.settings["hold"]))
    if not math.prod(slot.shape):
        return Keep("it has no elements")
    return None


@dataclass
class _Asked:
    """What the caller asked for by name; remembers which names met a parameter."""

    slots: Slots
    overrides: Mapping[str, Override]
    keep: Sequence[str]
    only: Sequence[str] | str | None

    def __post_init__(self) -> None:
        self.keep = [self.keep] if isinstance(self.keep, str) else list(self.keep)
        if self.only is not None:
            self.only = [self.only] if isinstance(self.only, str) else list(self.only)
        for name, value in self.overrides.items():
            initializer, *rest = value if isinstance(value, tuple) else (value,)
            if not isinstance(initializer, Initializer) or not all(isinstance(r, Fans) for r in rest) or len(rest) > 1:
                raise InputError.of(f"overrides[{name!r}]", value, "an Initializer, or (Initializer, Fans)")
        self._met: set[str] = set()

    def _first(self, slot: Slot, patterns: Iterable[str]) -> str | None:
        """The first pattern that a name of the slot matches; an exact name goes before any pattern."""
        patterns = list(patterns)
        for name in (slot.name, *slot.ties):
            if name in patterns:
                self._met.add(name)
                return name
        found = [p for p in patterns if any(fnmatchcase(name, p) for name in (slot.name, *slot.ties))]
        self._met.update(found)
        return found[0] if found else None

    def decide(self, slot: Slot) -> Choice | Keep | None:
        override = self._first(slot, self.overrides)
        kept = self._first(slot, self.keep)
        wanted = self._first(slot, self.only) if self.only is not None else "*"
        if wanted is None:
            return Keep("not among the parameters asked for (only=…)")
        if kept is not None:
            return Keep(f"kept as asked ({kept!r})")
        if override is None:
            return None
        value = self.overrides[override]
        return Choice(value[0] if isinstance(value, tuple) else value, f"as given in overrides ({override!r})")

    def standing(self, slot: Slot) -> Choice | Keep | None:
        """What is decided before any scheme is asked; a frozen parameter that ``only`` names is not."""
        decided = self.decide(slot) or _standing(slot)
        named = self.only is not None and any(name in self.only for name in (slot.name, *slot.ties))
        thawed = isinstance(decided, Keep) and decided is _FROZEN and named
        return None if thawed else decided

    def fans(self, slot: Slot) -> Fans | None:
        override = self._first(slot, self.overrides)
        value = self.overrides[override] if override is not None else None
        return value[1] if isinstance(value, tuple) else None

    def finish(self) -> None:
        """Raise for a name or pattern that met no parameter: a typing error would else go unseen."""
        for argument in ("overrides", "keep", "only"):
            for pattern in getattr(self, argument) or ():
                if pattern not in self._met:
                    known = [name for slot in self.slots.values() for name in (slot.name, *slot.ties)]
                    near = difflib.get_close_matches(pattern, known, n=3)
                    hint = f"; near: {', '.join(near)}" if near else ""
                    raise InputError.of(argument, pattern, f"a parameter name or a pattern that matches one{hint}")


def _line(slot: Slot, choice: Choice, given: Fans | None) -> Line:
    initializer = choice.initializer
    fans = given or slot.fans or _fans_of_unknown(slot, initializer)
    if given is None and slot.parts and isinstance(initializer, (Blocks, PerGate)) and fans.in_axes:
        # Packed initializers cut the fans of the whole stack themselves; a slot's fans are those of one block.
        axis = slot.parts[0].axis
        side = "fan_out" if axis in fans.out_axes else "fan_in"
        fans = replace(fans, **{side: sum(getattr(part.fans, side) for part in slot.parts)})
    initializer.validate(slot.shape, fans)
    zero_rows = () if slot.padding_index is None else (slot.padding_index,)
    reason = choice.reason + (f"; row {slot.padding_index} (padding) stays 0" if zero_rows else "")
    return Line(slot.name, initializer, reason, slot.shape, fans, zero_rows)


def _fans_of_unknown(slot: Slot, initializer: Initializer) -> Fans:
    """Fans for an initializer that reads none; the caller gave it for a parameter whose use is not known."""
    probe = [elementwise(slot.shape)]
    if len(slot.shape) > 1:
        probe += [experts(slot.shape, out_axis=0, in_axis=1), replace(probe[0], fan_in=7.0, fan_out=3.0)]
    try:
        laws = [initializer.law(fans) for fans in probe]
    except InputError:
        laws = [None]
    if None in laws or len(set(laws)) > 1:
        raise PlanError(
            f"{slot.name}: {type(initializer).__name__} depends on the fans, but how {slot.shape} is used is not known "
            f"({slot.why}). Pass overrides={{{slot.name!r}: (initializer, fanin.fans.linear(shape, out_axis=…, "
            "in_axis=…))}} or another function of fanin.fans, or pass inputs so that the op can be traced."
        )
    return probe[0]


def _length(slot: Slot, lines: dict[str, Line]) -> Choice | Keep:
    """Weight norm: g starts as the length that the drawn direction v has, so that W = g v/‖v‖ is as v was planned."""
    partner = str(slot.settings["norm_of"])
    if partner not in lines:
        return Keep(f"length of {partner}, which is kept")
    direction = lines[partner]
    if _is_zero(direction):
        lines[partner] = replace(direction, initializer=_DIRECTION, reason="weight norm: any direction, of length 0")
        return Choice(Zeros(), f"weight norm: g = 0; {direction.reason}")
    entries = math.prod(direction.shape) / math.prod(slot.shape)
    reason = f"weight norm: g = std of {partner} · √{entries:g}, so that the effective weight is as planned there"
    mean = direction.initializer.mean(direction.fans, direction.shape)
    return Choice(Constant(math.hypot(direction.std, mean) * math.sqrt(entries)), reason)


_DIRECTION = LecunNormal()


def _is_zero(line: Line) -> bool:
    return line.initializer.support(line.fans, line.shape) == (0.0, 0.0)


def _uncovered(scheme: str, slots: list[Slot], traced: bool) -> str:
    lines = "\n".join(f"  {slot.name} {slot.shape} in {slot.owner_type}: {slot.why}" for slot in slots)
    first = slots[0].name
    if slots[0].settings.get("nonfinite"):
        inputs = "give it the value that the model means it to have"
    elif traced:
        inputs = "pass inputs that reach it (the traced ones did not, or use it in a way that is not known)"
    else:
        inputs = "pass inputs, so that the op that uses it can be traced"
    return (
        f"scheme {scheme!r} has no rule for {len(slots)} parameter{'s' * (len(slots) > 1)}:\n{lines}\n"
        f"Three ways to go on: {inputs}; name an initializer with overrides={{{first!r}: fanin.initializers.Normal("
        f"std=0.02)}}; or keep it as it is with keep=[{first!r}]."
    )
