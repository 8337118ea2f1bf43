"""A package that can be called: ``fanin.trace(...)`` runs the function that ``fanin/trace/`` is about.

Importing ``fanin.trace`` binds the package as an attribute of ``fanin``, which hides any function of that name; so the
package itself takes the call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["make_callable"]


def make_callable(module_name: str, function: Callable[..., Any]) -> None:
    """Let the imported module ``module_name`` be called as ``function``.

    Args:
        module_name: ``__name__`` of the package.
        function: what a call runs; its docstring and signature become the module's.
    """

    class CallableModule(ModuleType):
        __call__ = staticmethod(function)
        __wrapped__ = staticmethod(function)

    sys.modules[module_name].__class__ = CallableModule
