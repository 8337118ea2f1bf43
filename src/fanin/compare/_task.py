"""Task: what is trained on, and how the answer is judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fanin.compare._quiet import modes_kept, seeded
from fanin.data import Dataset, Samples, load
from fanin.data._factory import iterate
from fanin.data._npz import dataset_of
from fanin.errors import DataError, InputError

__all__ = [
    "Loss",
    "Task",
    "as_dataset",
    "batches",
    "call",
    "default_loss",
    "make_task",
    "scores_of",
    "tensors",
    "tested",
]

Loss = Callable[[Any, torch.Tensor], torch.Tensor]

_TEST_BATCH = 1000
"""Samples per call of the model while testing; a batch of any size gives the same sums up to rounding."""


@dataclass(frozen=True, eq=False)
class Task:
    """One problem to train on.

    Args:
        data: training and test part.
        loss: ``loss(output, target)`` → scalar, the mean over the batch.
        batch_size: samples per update.
        classes: True where targets are classes, so that accuracy makes sense.
        loss_name: for people and for the run store.
    """

    data: Dataset
    loss: Loss
    batch_size: int
    classes: bool
    loss_name: str

    @property
    def per_epoch(self) -> int:
        """Updates in one pass over the training part."""
        return math.ceil(len(self.data.train_x) / self.batch_size)


def as_dataset(data: Any) -> Dataset:
    """Whatever the caller has, as a Dataset.

    Args:
        data: a Dataset, a name that :func:`fanin.data.load` takes, ``(x, y)``, ``(x, y, x_test, y_test)``, a mapping
            with the keys "train" and (optionally) "test", each an (x, y) or an iterable of batches, or an iterable of
            batches (x, y) such as a DataLoader. For a model of several inputs x is a tuple of arrays or a mapping of
            name → array; a batch may also be one mapping whose entry "target" or "labels" is y.

    Raises:
        DataError: if there is no sample, no target, or the batches do not fit together.
    """
    if isinstance(data, str):
        data = load(data)
    if isinstance(data, Dataset):
        made = data
    elif isinstance(data, Mapping):
        if _labelled(data):
            data = {"train": data}
        unknown = sorted(set(data) - {"train", "test"}, key=str)
        if unknown or "train" not in data:
            accepted = (
                "the keys 'train' and (optionally) 'test', or arrays by name with 'target' or 'labels' among them"
            )
            raise InputError.of("data", sorted(data, key=str), accepted)
        parts = [*_pair(data["train"], "data['train']")]
        parts += _pair(data["test"], "data['test']") if "test" in data else [None, None]
        made = dataset_of(parts, "data", "data given as batches")
    elif isinstance(data, (tuple, list)) and len(data) == 4 and _is_pair(data[:2]) and _is_pair(data[2:]):
        made = dataset_of([*_arrays(data[:2]), *_arrays(data[2:])], "data", "arrays")
    else:
        made = dataset_of([*_pair(data, "data"), None, None], "data", "batches")
    if len(made.train_x) == 0:
        raise DataError(f"data: {made!r} has no training sample.")
    if len(made.train_y) == 0:
        raise DataError(f"data: {made!r} has no targets; expected a target for each sample.")
    return made


def _pair(part: Any, where: str) -> list[Any]:
    """x and y of one part."""
    if _is_pair(part):
        return _arrays(part)
    xs, ys = [], []
    with seeded(0):  # a shuffling loader gives the same order each time
        for entry in iterate(part, where):
            pair = _labelled(entry) or entry
            if not _is_pair(pair):
                raise DataError(
                    f"{where}: a batch of {type(entry).__name__}; expected (x, y), each an array or tensor, x also a "
                    "tuple or a mapping of such, or one mapping with y as 'target' or 'labels'."
                )
            x, y = _arrays(pair)
            xs.append(x)
            ys.append(y)
    try:
        return [_joined(xs), np.concatenate(ys)]
    except ValueError as error:
        raise DataError(f"{where}: its batches do not fit together ({error}).") from error


def _labelled(batch: Any) -> tuple[Any, Any] | None:
    """(x, y) of one mapping that holds both, as transformers' collators make them."""
    if not isinstance(batch, Mapping) or not all(map(_is_array, batch.values())):
        return None
    key = next((key for key in ("target", "labels") if key in batch), None)
    return None if key is None else ({name: part for name, part in batch.items() if name != key}, batch[key])


def _is_pair(value: Any) -> bool:
    """(x, y) with an array y, and an array or several as x."""
    if not isinstance(value, (tuple, list)) or len(value) != 2 or not _is_array(value[1]):
        return False
    x = value[0]
    several = list(x.values()) if isinstance(x, Mapping) else x if isinstance(x, (tuple, list)) else []
    return _is_array(x) or (len(several) > 0 and all(map(_is_array, several)))


def _arrays(pair: Any) -> list[Any]:
    x, y = pair
    several = None if _is_array(x) else Samples(x if isinstance(x, Mapping) else tuple(x))
    return [np.asarray(x) if several is None else several.map(np.asarray), np.asarray(y)]


def _joined(xs: list[Any]) -> Any:
    """Batches one after another.

    Raises:
        ValueError: if they have other inputs or shapes.
    """
    if not any(isinstance(x, Samples) for x in xs):
        return np.concatenate(xs)
    named = [dict(x.named()) if isinstance(x, Samples) else {} for x in xs]
    if len({tuple(sorted(parts)) for parts in named}) > 1:
        raise ValueError(f"inputs {', then '.join(str(list(parts)) for parts in named[:2])}")
    joined = {name: np.concatenate([parts[name] for parts in named]) for name in named[0]}
    return Samples(joined if isinstance(xs[0].inputs, dict) else tuple(joined.values()))


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def make_task(data: Any, loss: Loss | None, batch_size: int) -> Task:
    """Resolve and validate what the caller gave."""
    dataset = as_dataset(data)
    classes = np.issubdtype(dataset.train_y.dtype, np.integer)
    if loss is not None and not callable(loss):
        raise InputError.of("loss", loss, "loss(output, target) → scalar, or None")
    name = getattr(loss, "__qualname__", type(loss).__name__) if loss else "cross_entropy" if classes else "mse"
    return Task(dataset, loss or default_loss(dataset), batch_size, classes, name)


def default_loss(data: Dataset) -> Loss:
    """Cross-entropy for integer targets, else mean squared error; each the mean over the batch."""
    return cross_entropy if np.issubdtype(data.train_y.dtype, np.integer) else mean_squared_error


def prediction(output: Any) -> torch.Tensor:
    """The tensor that the target describes: the output itself, its ``logits``, or the first of a tuple."""
    if isinstance(output, torch.Tensor):
        return output
    found = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    if found is None and isinstance(output, (tuple, list)) and output:
        found = output[0]
    if not isinstance(found, torch.Tensor):
        raise InputError.of("output of the model", type(output).__name__, "a tensor, or pass loss=f(output, target)")
    return found


def cross_entropy(output: Any, target: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy; classes on the last axis of a token model's (N, L, C), else on axis 1."""
    logits = prediction(output)
    if logits.ndim == target.ndim + 1 and logits.shape[:-1] == target.shape:
        return functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), target.reshape(-1))
    return functional.cross_entropy(logits, target)


def mean_squared_error(output: Any, target: torch.Tensor) -> torch.Tensor:
    """Mean squared error; (N, 1) fits (N,), but nothing is broadcast."""
    values = prediction(output)
    if values.shape != target.shape:
        if [s for s in values.shape if s != 1] != [s for s in target.shape if s != 1]:
            raise InputError.of("target", tuple(target.shape), f"the shape of the output, {tuple(values.shape)}")
        target = target.reshape(values.shape)
    return functional.mse_loss(values, target)


def scores_of(output: Any, target: torch.Tensor) -> torch.Tensor | None:
    """Scores with the classes on the last axis; None where the output holds no scores of at least two classes."""
    try:
        scores = prediction(output)
    except InputError:
        return None
    if scores.ndim != target.ndim + 1:
        return None
    scores = scores if scores.shape[:-1] == target.shape else scores.movedim(1, -1)
    return scores if scores.shape[:-1] == target.shape and scores.shape[-1] > 1 else None


def call(model: nn.Module, x: Any) -> Any:
    """What the model makes of a batch of one input or of several."""
    return x.call(model) if isinstance(x, Samples) else model(x)


def tensors(values: Any, device: torch.device) -> Any:
    """The array, or each of Samples, on a device; copied only where torch could not share its memory."""
    if isinstance(values, Samples):
        return values.map(lambda part: tensors(part, device))
    return torch.from_numpy(values if values.flags.writeable else values.copy()).to(device)


def batches(samples: int, size: int, total: int, seed: int) -> Iterator[torch.Tensor]:
    """Indices of ``total`` batches: a new order each epoch, drawn from the seed alone; the last one may be smaller."""
    order = np.random.default_rng(seed)
    done = 0
    while True:
        permutation = order.permutation(samples)
        for start in range(0, samples, size):
            if done == total:
                return
            yield torch.from_numpy(permutation[start : start + size])
            done += 1


def tested(model: nn.Module, x: Any, y: torch.Tensor, task: Task) -> tuple[float, float | None]:
    """(mean loss, accuracy or None) over the test part, in eval mode."""
    summed, correct, counted = 0.0, 0, 0
    with modes_kept(model), torch.no_grad():
        model.eval()
        for start in range(0, len(x), _TEST_BATCH):
            part = slice(start, start + _TEST_BATCH)
            output = call(model, x[part])
            summed += float(task.loss(output, y[part])) * len(x[part])
            scores = scores_of(output, y[part]) if task.classes else None
            if scores is not None:
                correct += int((scores.argmax(-1) == y[part]).sum())
                counted += y[part].numel()
    return summed / len(x), correct / counted if counted else None
