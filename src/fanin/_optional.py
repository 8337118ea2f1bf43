"""Deferred imports of optional dependencies, with the way to install them in the error."""

from __future__ import annotations

import importlib
from types import ModuleType

from fanin.errors import MissingExtraError

__all__ = ["require"]


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``module`` or raise an error that says which extra brings it.

    Args:
        module: the importable name, such as ``"safetensors.torch"``.
        extra: the extra of this package that installs it.
        purpose: what needs it, in a few words ("writing .safetensors").

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs {module.partition('.')[0]!r}: pip install 'fanin[{extra}]'."
        ) from error
