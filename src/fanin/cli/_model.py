"""From ``pkg.mod:factory`` to a model."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fanin.errors import InputError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build_model"]


def build_model(text: str, seed: int) -> nn.Module:
    """Import and call the user's factory with torch seeded.

    Args:
        text: as :func:`fanin.data.locate` takes it; the current folder is importable, and so is a file's own folder.
        seed: for ``torch.manual_seed``, so that the same command shows the same numbers.

    Raises:
        InputError: if it cannot be imported, needs arguments, raises, or makes something else than a module.
    """
    import torch
    from torch import nn

    from fanin.data import locate

    for folder in (_folder(text), str(Path.cwd())):
        if folder and folder not in sys.path:
            sys.path.insert(0, folder)
    torch.manual_seed(seed)
    found = locate(text)
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise InputError.of(text, type(found).__name__, "a torch.nn.Module, or a class or function that makes one")
    needed = _required(found)
    if needed:
        raise InputError(
            f"{text} needs arguments: {', '.join(needed)}. Write a function without arguments that makes the model, "
            "and name that."
        )
    try:
        model = found()
    except (Exception, SystemExit) as error:
        raise InputError(f"{text}: it raised {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise InputError.of(f"what {text} returned", type(model).__name__, "a torch.nn.Module")
    return model


def _folder(text: str) -> str:
    place = text.rpartition(":")[0]
    return str(Path(place).absolute().parent) if place.endswith(".py") else ""


def _required(factory: Any) -> list[str]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # builtins without a signature: calling them will tell
        return []
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in kinds]
