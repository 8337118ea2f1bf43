"""Everything that can be wrong is found before the first update: factory, starts, loss; and what identifies a run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fanin.compare._quiet import modes_kept, one_thread, seeded
from fanin.compare._start import build
from fanin.compare._task import call, tensors
from fanin.data import Samples
from fanin.errors import InputError, TraceError

if TYPE_CHECKING:
    from fanin.compare._jobs import Setup

__all__ = ["digest_of", "rehearse"]

_BATCH = 32
"""Samples of the trial at most."""


def rehearse(setup: Setup, seeds: Sequence[int]) -> dict[tuple[str, int], str]:
    """Make every start once, run each once forward and backward, and train nothing.

    Args:
        setup: what all runs share.
        seeds: all that will be used.

    Returns:
        (scheme, seed) → digest of the start: its values, and the loss and gradients they lead to.

    Raises:
        InputError: if the factory returns the same module twice, shares parameters between its models, or makes another
            architecture for another seed; if a start is not reproducible; if the loss is no scalar.
        TraceError: if the model or the loss raises.
        PlanError: if a scheme covers a parameter by no rule.
    """
    first = _factory(setup, seeds[0])
    wanted = _architecture(first)
    digests: dict[tuple[str, int], str] = {}
    with one_thread(setup.threads):
        for seed in seeds:
            for entrant in setup.entrants:
                model = build(setup.make_model, seed)
                _same(wanted, _architecture(model), seeds[0], seed)
                entrant.start(model, setup.task, seed)
                digest = _values(model)
                if seed == seeds[0]:
                    again = build(setup.make_model, seed)
                    entrant.start(again, setup.task, seed)
                    if _values(again) != digest:
                        raise InputError(
                            f"scheme {entrant.name!r}: two starts with seed {seed} differ, so the race could not be "
                            "repeated. Does make_model or the scheme draw from a generator of its own? Seeded are "
                            "those of torch, numpy.random and random."
                        )
                digests[entrant.name, seed] = _trial(setup, model, seed, digest)
    return digests


def _factory(setup: Setup, seed: int) -> nn.Module:
    """One model, after checking that a second one is another."""
    first, second = build(setup.make_model, seed), build(setup.make_model, seed)
    if first is second:
        raise InputError("make_model: returned the same module twice; expected a new model at each call.")
    shared = {id(tensor) for tensor in first.parameters()} & {id(tensor) for tensor in second.parameters()}
    if shared:
        name = next(name for name, tensor in first.named_parameters() if id(tensor) in shared)
        raise InputError(f"make_model: two of its models share the parameter {name!r}; expected new ones at each call.")
    return first


def _architecture(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Module tree and tensors as text, one line each, without addresses in memory."""
    tree = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(model)).splitlines()
    named = [*model.named_parameters(), *model.named_buffers()]
    return tuple(tree), tuple(f"{name} {tuple(t.shape)} {t.dtype} {t.requires_grad}" for name, t in named)


def _same(wanted: tuple[tuple[str, ...], ...], found: tuple[tuple[str, ...], ...], seed: int, other: int) -> None:
    for left, right in zip(wanted, found):
        if left == right:
            continue
        a, b = next(((a, b) for a, b in zip(left, right) if a != b), (f"{len(left)} entries", f"{len(right)} entries"))
        raise InputError(
            f"make_model: its architecture depends on the random seed: {a.strip()!r} with seed {seed}, {b.strip()!r} "
            f"with seed {other}; expected the same modules and shapes each time."
        )


def digest_of(named: Iterable[tuple[str, torch.Tensor]], start: str = "") -> str:
    """Hash of names, dtypes, shapes and values."""
    digest = hashlib.blake2b(start.encode(), digest_size=16)
    for name, tensor in named:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()


def _values(model: nn.Module) -> str:
    return digest_of([*model.named_parameters(), *model.named_buffers()])


def _trial(setup: Setup, model: nn.Module, seed: int, start: str) -> str:
    """Digest of the start, its first loss and gradients: factories of the same weights and other functions differ.

    Raises:
        TraceError: if the model or the loss raises.
        InputError: if the loss is no scalar or depends on no parameter.
    """
    task = setup.task
    device = next(model.parameters()).device
    # The last batch of an epoch is the one that may be too small for the model (one sample under BatchNorm).
    size = min(_BATCH, len(task.data.train_x) % task.batch_size or task.batch_size)
    x, y = tensors(task.data.train_x[:size], device), tensors(task.data.train_y[:size], device)
    with seeded(seed), modes_kept(model):
        model.train()
        try:
            output = call(model, x)
        except Exception as error:
            shape = {name: tuple(t.shape) for name, t in x.named()} if isinstance(x, Samples) else tuple(x.shape)
            raise TraceError(f"the model raised {type(error).__name__} for inputs of shape {shape}: {error}") from error
        try:
            value = task.loss(output, y)
        except InputError:
            raise
        except Exception as error:
            raise TraceError(f"the loss ({task.loss_name}) raised {type(error).__name__}: {error}") from error
        if not isinstance(value, torch.Tensor) or value.ndim or not value.is_floating_point():
            received: Any = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise InputError.of("loss(output, target)", received, "a floating tensor of shape ()")
        if not value.requires_grad:
            raise InputError.of("loss(output, target)", "a value without gradient", "one that depends on parameters")
        value.backward()
    grads = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
    return digest_of([("loss", value), *grads], start)
