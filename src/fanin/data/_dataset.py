"""Dataset: a training and a test part as arrays; Batch: what one call of a model takes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.data._samples import Samples
from fanin.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = ["Batch", "Dataset"]


@dataclass(frozen=True, eq=False)
class Batch:
    """What one call of a model takes.

    Args:
        inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments.
        target: what the loss compares the output with, or None.
        source: where it came from, in words.
    """

    inputs: Any
    target: Any = None
    source: str = ""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and their targets, ready for a model.

    Args:
        name: short name ("digits").
        train_x: array (samples, …): float32, or int64 for token ids; or :class:`Samples` for a model of several inputs.
        train_y: array (samples, …): int64 classes or float32 targets; (0,) where there are none.
        test_x: the same for the test part; 0 samples where the source has no test part.
        test_y: the same for the test part.
        classes: number of classes, or None for a regression.
        mean: what was subtracted from the raw values divided by their range (0.0 for a user's own data).
        std: what they were then divided by (1.0 for a user's own data).
        source: where it came from, in words.

    Raises:
        InputError: if inputs and targets differ in their number of samples, or the parts in the shape of a sample.

    Example:
        >>> data = Dataset("two points", np.zeros((2, 3), "float32"), np.array([0, 1]))
        >>> data.sample_shape, data.classes
        ((3,), 2)
    """

    name: str
    train_x: Any
    train_y: np.ndarray
    test_x: Any = field(default_factory=lambda: np.zeros(0, np.float32))
    test_y: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    classes: int | None = None
    mean: float = 0.0
    std: float = 1.0
    source: str = ""

    def __post_init__(self) -> None:
        if len(self.test_x) == 0:
            object.__setattr__(self, "test_x", self.train_x[:0])
            object.__setattr__(self, "test_y", self.train_y[:0])
        for part in ("train", "test"):
            x, y = getattr(self, f"{part}_x"), getattr(self, f"{part}_y")
            if len(y) not in (0, len(x)):
                raise InputError.of(f"{part}_y", f"{len(y)} targets", f"{len(x)}, one for each sample", self.name)
        wanted, found = _shapes(self.train_x), _shapes(self.test_x)
        if found != wanted:
            raise InputError.of("test_x", found, f"samples of the shape of train_x, {wanted}", self.name)
        if self.classes is None and len(self.train_y) and np.issubdtype(self.train_y.dtype, np.integer):
            object.__setattr__(self, "classes", int(max(self.train_y.max(), self.test_y.max(initial=0))) + 1)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch axis; () where there are several inputs."""
        return tuple(self.train_x.shape[1:])

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, {len(self.train_x):,} + {len(self.test_x):,} samples of {_shapes(self.train_x)}, "
            f"{'no classes' if self.classes is None else f'{self.classes} classes'})"
        )

    def flat(self) -> Dataset:
        """The same with each sample as one row: what a network of linear layers takes."""
        if isinstance(self.train_x, Samples):
            raise InputError.of("flat()", f"several inputs {_shapes(self.train_x)}", "a single array", self.name)
        return replace(
            self, train_x=self.train_x.reshape(len(self.train_x), -1), test_x=self.test_x.reshape(len(self.test_x), -1)
        )

    def take(self, train: int, test: int | None = None) -> Dataset:
        """The first ``train`` training samples and the first ``test`` test samples (all where None)."""
        return replace(
            self,
            train_x=self.train_x[:train],
            train_y=self.train_y[:train],
            test_x=self.test_x[:test],
            test_y=self.test_y[:test],
        )

    def batch(self, size: int, *, seed: int | None = None) -> Batch:
        """A batch of training samples as tensors.

        Args:
            size: number of samples; all where there are fewer.
            seed: draw that many without replacement by this seed; the first ones where None.
        """
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InputError.of("size", size, "an integer >= 1")
        index: Any = slice(0, size)
        if seed is not None:
            index = np.random.default_rng(seed).permutation(len(self.train_x))[:size]
        chosen = self.train_x[index]
        inputs = chosen.map(tensor).inputs if isinstance(chosen, Samples) else tensor(chosen)
        target = tensor(self.train_y[index]) if len(self.train_y) else None
        return Batch(inputs, target, f"{len(chosen)} training samples of {self.source or self.name}")


def _shapes(x: Any) -> Any:
    """Shape of one sample; for several inputs name → shape."""
    return x.shapes if isinstance(x, Samples) else tuple(x.shape[1:])


def tensor(values: np.ndarray) -> torch.Tensor:
    """A torch tensor with its own memory."""
    import torch

    return torch.from_numpy(np.array(values, order="C"))
