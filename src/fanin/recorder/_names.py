"""Names: which modules a block of code built, and the names of their tensors."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules import module as torch_module

from fanin.recorder._ledger import storage_id

__all__ = ["Names"]


class Names:
    """Watches registrations in one thread; afterwards knows the canonical name of each tensor's storage."""

    def __init__(self) -> None:
        self._owners: dict[int, weakref.ref[nn.Module]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note every module that registers a parameter, a buffer or a child."""
        thread = threading.get_ident()

        def seen(module: nn.Module, name: str, entry: Any) -> None:
            if threading.get_ident() == thread:
                self._owners.setdefault(id(module), weakref.ref(module))

        hooks = [
            torch_module.register_module_parameter_registration_hook(seen),
            torch_module.register_module_buffer_registration_hook(seen),
            torch_module.register_module_module_registration_hook(seen),
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def by_storage(self) -> dict[int, tuple[str, int]]:
        """Storage → (canonical name, storage offset in elements).

        The first module that is no other's child names its tensors plainly, as ``named_parameters`` does; further
        ones get "1:", "2:", … in front.
        """
        alive = [module for module in (ref() for ref in self._owners.values()) if module is not None]
        children = {id(child) for module in alive for child in module.modules() if child is not module}
        roots = [module for module in alive if id(module) not in children]
        names: dict[int, tuple[str, int]] = {}
        for index, root in enumerate(roots):
            prefix = f"{index}:" if index else ""
            for name, tensor in (*root.named_parameters(), *root.named_buffers()):
                if not tensor.is_meta and tensor.device.type == "cpu":
                    names.setdefault(storage_id(tensor), (prefix + name, int(tensor.storage_offset())))
        return names
