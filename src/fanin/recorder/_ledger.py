"""Ledger: the fills that are due, by storage, in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fanin.keys import Key, Law
from fanin.materialize import fill_law_

__all__ = ["Ledger", "storage_id"]

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def storage_id(tensor: Tensor) -> int:
    """Identity of the memory behind a tensor, as long as some tensor keeps it alive."""
    return int(tensor.untyped_storage()._cdata)


@dataclass
class _Due:
    tensor: Tensor  # detached alias: keeps the storage alive, so its id stays unique
    law: Law

    def covers(self, other: _Due) -> bool:
        """True where writing ``self`` after ``other`` leaves nothing of it."""
        mine, theirs = self.tensor, other.tensor
        start, end = mine.storage_offset(), mine.storage_offset() + mine.numel()
        return start <= theirs.storage_offset() and theirs.storage_offset() + theirs.numel() <= end


class Ledger:
    """Fills that were asked for and not yet made.

    Args:
        seed: seed of all keys.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.due: dict[int, list[_Due]] = {}
        self._drawn = 0

    def note(self, tensor: Tensor, law: Law) -> bool:
        """Take over a fill; False where it must be left to torch (other devices, dtypes, scattered memory).

        A constant is taken only where it replaces or follows a fill that is due: alone it costs torch nothing.
        """
        if tensor.device.type != "cpu" or tensor.layout != torch.strided or type(tensor) not in (Tensor, nn.Parameter):
            return False
        if tensor.dtype not in _DTYPES or not tensor.is_contiguous():
            return False
        storage = storage_id(tensor)
        if law.kind == "constant" and storage not in self.due:
            return False
        entry = _Due(tensor.detach(), law)
        kept = [earlier for earlier in self.due.get(storage, ()) if not entry.covers(earlier)]
        self.due[storage] = [*kept, entry]
        return True

    def settle_read(self, values: Iterable[Any]) -> None:
        """Make the fills of every tensor among ``values`` (also inside lists), under their order of drawing."""
        for value in values:
            if isinstance(value, Tensor):
                if value.device.type == "cpu" and value.layout == torch.strided and not value.is_meta:
                    self._settle(storage_id(value), None)
            elif isinstance(value, (list, tuple)):
                self.settle_read(value)

    def settle_all(self, names: Mapping[int, tuple[str, int]]) -> None:
        """Make every fill that is still due, under the name of its tensor where it has one."""
        for storage in list(self.due):
            self._settle(storage, names.get(storage))

    def _settle(self, storage: int, name: tuple[str, int] | None) -> None:
        for entry in self.due.pop(storage, ()):
            if name is not None:
                # A slice of a parameter continues the parameter's own stream: expert by expert equals all at once.
                start = int(entry.tensor.storage_offset()) - name[1]
                key = Key(self.seed, name[0])
            else:
                start, key = 0, Key(self.seed, f"#{self._drawn}")
                self._drawn += entry.law.kind != "constant"
            fill_law_(entry.tensor, entry.law, key, start=start)
