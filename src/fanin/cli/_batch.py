"""What to run the model on: the user's words, real data, or what its first layer suggests, said aloud."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fanin.cli._base import remark
from fanin.cli._inputs import InputSpec, make_inputs, parse_input
from fanin.data import Batch
from fanin.errors import InputError, TraceError

if TYPE_CHECKING:
    import argparse

    from torch import nn

__all__ = ["find_batch"]

_TOKENS = 16  # long enough to have a context, short enough for any model
_SIDES = {1: (128, 1024), 2: (32, 224, 28, 64), 3: (16, 32)}
"""Window sizes tried for convolutions over 1, 2 and 3 axes: CIFAR, ImageNet, MNIST and what lies between."""


def find_batch(model: nn.Module, arguments: argparse.Namespace) -> Batch:
    """The batch that the command line asks for.

    Raises:
        InputError: if it cannot be made, or nothing was asked for and no guess runs.
    """
    if arguments.data:
        if arguments.target:
            raise InputError("--target goes with --input; --data brings its own targets.")
        return _real(model, arguments)
    if arguments.input:
        size = arguments.batch or 64
        specs = [parse_input(text) for text in arguments.input]
        inputs = make_inputs(specs, size, arguments.seed)
        return Batch(inputs, _target(arguments, size), f"{size} random samples of {', '.join(map(str, specs))}")
    return _inferred(model, arguments)


def _target(arguments: argparse.Namespace, size: int) -> Any:
    if not arguments.target:
        return None
    return make_inputs([parse_input(arguments.target, "--target")], size, arguments.seed + 1)


def _real(model: nn.Module, arguments: argparse.Namespace) -> Batch:
    import torch

    from fanin.data import batch

    drawn = batch(arguments.data, arguments.batch, data_dir=arguments.data_dir)
    inputs = drawn.inputs
    first = _first_layer(model)
    if first is None or not isinstance(inputs, torch.Tensor) or inputs.ndim <= 2:
        return drawn
    name, layer = first
    values = math.prod(inputs.shape[1:])
    wanted = layer.in_features if isinstance(layer, torch.nn.Linear) else None
    if wanted != values or inputs.shape[-1] == wanted or _runs(model, inputs[:4]) is None:
        return drawn
    shape = "x".join(map(str, inputs.shape[1:]))
    remark(
        f"each sample of {shape} is flattened to {values} values: the first layer, {name!r} (Linear), takes {wanted}"
    )
    return Batch(inputs.flatten(1), drawn.target, drawn.source)


def _inferred(model: nn.Module, arguments: argparse.Namespace) -> Batch:
    first = _first_layer(model)
    how = "Say what one sample looks like with --input (3x224x224, or 128:ids=50257 for token ids), or give --data."
    if first is None:
        raise InputError(f"{type(model).__name__} has no layer that tells what it takes. {how}")
    name, layer = first
    size = arguments.batch or 64
    tried, failure = [], None
    for spec in _guesses(layer):
        inputs = make_inputs([spec], size, arguments.seed)
        error = _runs(model, inputs[:2])
        if error is None:
            values = " (normal values)" if spec.kind == "normal" else ""
            what = f"the first layer, {name!r} ({type(layer).__name__})," if name else "the model"
            remark(f"no --input or --data: {size} random samples of {spec}{values}, as {what} suggests")
            return Batch(inputs, _target(arguments, size), f"{size} random samples of {spec}")
        failure = failure or error  # of the likeliest guess
        tried.append(str(spec))
    raise InputError(
        f"what {type(model).__name__} takes could not be inferred from its first layer, {name!r} "
        f"({type(layer).__name__}); tried {', '.join(tried) or 'nothing'}. {how}"
    ) from (failure.__cause__ if failure is not None else None)


def _first_layer(model: nn.Module) -> tuple[str, nn.Module] | None:
    """The first module by definition that owns parameters itself and has no children that do."""
    for name, module in model.named_modules():
        if any(True for _ in module.parameters(recurse=False)) and not list(module.children()):
            return name, module
    return None


def _guesses(layer: Any) -> list[InputSpec]:
    kind = type(layer).__name__
    if hasattr(layer, "num_embeddings"):
        return [InputSpec((_TOKENS,), "ids", layer.num_embeddings)]
    if hasattr(layer, "in_features"):
        return [InputSpec((layer.in_features,)), InputSpec((_TOKENS, layer.in_features))]
    if hasattr(layer, "in_channels") and hasattr(layer, "kernel_size"):
        return [
            InputSpec((layer.in_channels, *[side] * len(layer.kernel_size))) for side in _SIDES[len(layer.kernel_size)]
        ]
    if hasattr(layer, "input_size"):
        return [InputSpec((_TOKENS, layer.input_size)), InputSpec((layer.input_size,))]
    if hasattr(layer, "normalized_shape"):
        shape = tuple(layer.normalized_shape)
        return [InputSpec(shape), InputSpec((_TOKENS, *shape))]
    if hasattr(layer, "num_features"):
        axes = int(kind[-2]) if kind[-2:-1].isdecimal() else 0
        sides = [InputSpec((layer.num_features, *[side] * axes)) for side in _SIDES.get(axes, ())]
        return [InputSpec((layer.num_features,)), *sides]
    return []


def _runs(model: nn.Module, inputs: Any) -> TraceError | None:
    """None where the model takes such inputs, else how it failed; the model is left as it was."""
    from fanin.trace import trace

    try:
        trace(model, inputs, statistics=False)
    except TraceError as error:
        return error
    return None
