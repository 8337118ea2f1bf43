"""Change: one edit of a model's forward pass; apply many at once, or none, and take them back.

How to ask for edits: a scheme returns them from ``Scheme.changes(context)``; ``fanin.rewire_`` applies them.
New parameters are registered on an existing module and used by hooks that are plain picklable objects, so the names
of all parameters that were there before stay, and deepcopy, pickle, state dicts and wrappers keep working.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from fanin.errors import FaninError, PlanError
from fanin.schemes._hooks import Add, AddBefore, Divide, Multiply, MultiplyBefore, NormBefore

__all__ = ["Change", "apply", "submodule"]

Undo = Callable[[], object]


@dataclass(frozen=True)
class Change:
    """One edit of one module.

    Kinds and their arguments:

    - "multiply": what the module returns is multiplied by ``name`` = full(``shape``, ``value``), a parameter, or a
      buffer where ``learned`` is False. ``shape`` is () or (channels,); then ``axis`` is the axis of the channels.
      ``index``: which entry of a returned tuple; None where it returns a tensor.
    - "divide": the same, divided.
    - "add": a learned number ``name`` (``value``) is added to what the module returns (``index`` as above).
    - "add_before": it is added to the first tensor that the module is called with.
    - "multiply_before": that tensor is multiplied by a number ``name`` (``value``, ``learned`` as above).
    - "norm_before": ``build()`` makes a norm, which becomes the child ``name`` and normalizes what the module reads.
    - "replace": ``build(old)`` makes the module that takes the place of the old one, wherever that is held.
    - "none": nothing; ``what`` says what the published forward has that could not be put here.
    - "hook", "pre_hook": ``hook`` becomes a forward (pre-)hook; an instance of a class at module level, which pickle
      can find again.

    Args:
        where: path of the module.
        what: one line: what is changed, and why.
        kind: one of the above.
        arguments: see above.
    """

    where: str
    what: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def apply(model: nn.Module, changes: Sequence[Change]) -> Undo:
    """Make all changes, after all are validated; an error leaves the model as it was.

    Args:
        model: any module.
        changes: made in this order.

    Returns:
        A function that takes all of them back; a second call does nothing.

    Raises:
        PlanError: if a module is missing, a name is taken, or an argument does not fit.
    """
    taken: set[tuple[int, str]] = set()
    for change in changes:
        _validate(model, change, taken)
    done: list[Undo] = []

    def undo() -> None:
        while done:
            done.pop()()

    try:
        for change in changes:
            _KINDS[change.kind][1](model, submodule(model, change.where), change, done)
    except FaninError:
        undo()
        raise
    except Exception as error:
        undo()
        raise PlanError(f"{change.kind} at {change.where!r} failed; the model is as it was. {error}") from error
    return undo


def submodule(model: nn.Module, path: str) -> nn.Module:
    """The module at a path.

    Raises:
        PlanError: if there is none.
    """
    try:
        return model.get_submodule(path)
    except AttributeError:
        raise PlanError(f"no module {path!r} in {type(model).__name__}.") from None


def _validate(model: nn.Module, change: Change, taken: set[tuple[int, str]]) -> None:
    module = submodule(model, change.where)
    if change.kind not in _KINDS:
        raise PlanError(f"kind of a change: got {change.kind!r}; expected one of {', '.join(_KINDS)}.")
    needed, _ = _KINDS[change.kind]
    missing = [name for name in needed if name not in change.arguments]
    if missing:
        raise PlanError(f"{change.kind} at {change.where!r}: arguments {missing} are missing.")
    if "name" in needed:
        name = change.arguments["name"]
        if hasattr(module, name) or (id(module), name) in taken:
            raise PlanError(
                f"{change.where or 'the model'} already has an attribute {name!r}; was the model rewired before? "
                "Take the first change back with .undo()."
            )
        taken.add((id(module), name))
    if change.kind == "replace" and not change.where:
        raise PlanError("the model itself cannot be replaced, only a module inside it.")


def _like(model: nn.Module, module: nn.Module) -> dict[str, Any]:
    """dtype and device for a new tensor: those of the module, or of the model where it has none of its own."""
    for owner in (module, model):
        for parameter in owner.parameters():
            if parameter.is_floating_point() and parameter.element_size() > 1:
                return {"dtype": parameter.dtype, "device": parameter.device}
    return {}


def _register(model: nn.Module, module: nn.Module, change: Change, done: list[Undo]) -> None:
    """Register the new tensor under its name."""
    given = change.arguments
    name, learned = given["name"], given.get("learned", True)
    tensor = torch.full(tuple(given.get("shape", ())), float(given["value"]), **_like(model, module))
    if learned:
        module.register_parameter(name, nn.Parameter(tensor))
    else:
        module.register_buffer(name, tensor)
    held = module._parameters if learned else module._buffers
    done.append(lambda: held.pop(name, None))


def _hook_of(kind: type) -> Callable[[nn.Module, nn.Module, Change, list[Undo]], None]:
    """A change that registers a tensor and a hook that uses it."""

    def make(model: nn.Module, module: nn.Module, change: Change, done: list[Undo]) -> None:
        _register(model, module, change, done)
        given = {key: change.arguments[key] for key in ("name", "index", "axis") if key in change.arguments}
        _attach(module, kind(**given), done)

    return make


def _attach(module: nn.Module, hook: Any, done: list[Undo]) -> None:
    if getattr(hook, "before", False):
        handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    else:
        handle = module.register_forward_hook(hook)
    done.append(handle.remove)


def _norm_before(model: nn.Module, module: nn.Module, change: Change, done: list[Undo]) -> None:
    name = change.arguments["name"]
    norm = change.arguments["build"]().to(**_like(model, module)).train(module.training)
    module.add_module(name, norm)
    done.append(lambda: module._modules.pop(name, None))
    _attach(module, NormBefore(name), done)


def _replace(model: nn.Module, module: nn.Module, change: Change, done: list[Undo]) -> None:
    new = change.arguments["build"](module)
    if not isinstance(new, nn.Module):
        raise PlanError(f"replace at {change.where!r}: build returned {type(new).__name__}; expected an nn.Module.")
    known = set(module.modules())  # it may wrap the old one, whose parts keep their modes
    for part in new.modules():
        if part not in known:
            part.training = module.training
    holders = [(parent, name) for parent in model.modules() for name, child in parent._modules.items()]
    for parent, name in [(parent, name) for parent, name in holders if parent._modules[name] is module]:
        parent._modules[name] = new
        done.append(lambda parent=parent, name=name: parent._modules.update({name: module}))  # type: ignore[misc]


def _own_hook(model: nn.Module, module: nn.Module, change: Change, done: list[Undo]) -> None:
    hook = change.arguments["hook"]
    before = change.kind == "pre_hook"
    handle = module.register_forward_pre_hook(hook) if before else module.register_forward_hook(hook)
    done.append(handle.remove)


_Maker = Callable[[nn.Module, nn.Module, Change, "list[Undo]"], None]

_KINDS: dict[str, tuple[tuple[str, ...], _Maker]] = {
    "multiply": (("name", "value"), _hook_of(Multiply)),
    "divide": (("name", "value"), _hook_of(Divide)),
    "add": (("name", "value"), _hook_of(Add)),
    "add_before": (("name", "value"), _hook_of(AddBefore)),
    "multiply_before": (("name", "value"), _hook_of(MultiplyBefore)),
    "norm_before": (("name", "build"), _norm_before),
    "replace": (("build",), _replace),
    "none": ((), lambda model, module, change, done: None),
    "hook": (("hook",), _own_hook),
    "pre_hook": (("hook",), _own_hook),
}
"""Kind → (arguments that it needs, what makes it)."""
