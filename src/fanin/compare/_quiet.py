"""Seeded inside, undisturbed outside."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

__all__ = ["modes_kept", "one_thread", "seeded"]


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Every global random generator starts at ``seed`` and is afterwards as before; gradients are on inside."""
    python, numpy_state = random.getstate(), copy.deepcopy(np.random.get_state())
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=cuda), torch.enable_grad():
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed_all(seed)
        random.seed(seed)
        np.random.seed(seed % (1 << 32))
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy_state)


@contextlib.contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Each module's own training flag is afterwards as before (``train()`` on the root would reset them all)."""
    flags = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, flag in flags.items():
            module.training = flag


@contextlib.contextmanager
def one_thread(threads: int = 1) -> Iterator[None]:
    """Run with this many torch threads, so that sums are taken in the same order wherever the work lands."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
