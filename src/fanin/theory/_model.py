"""predict: signals and gradients of a real model from its recipe; the run serves only to learn which ops there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.errors import FaninError, InputError
from fanin.theory._predict import predict_graph
from fanin.theory._weight_moments import array_moments, moments_of, weight_moments

if TYPE_CHECKING:  # both import torch
    from fanin.recipe import Recipe
    from fanin.signals import Signals
    from fanin.slots import Slots
    from fanin.theory.propagation import WeightMoments
    from fanin.trace import Trace

__all__ = ["model_moments", "predict", "predict_trace"]

SAMPLES = 64
"""Samples of the batch whose moments are read; correlations between pairs are then known to 1/64."""

ENTRIES = 1 << 20
"""Entries of an input that are read: the moments of a million values are known to about 0.2 %."""


def predict(
    model: Any,
    inputs: Any,
    recipe: Recipe | None = None,
    *,
    target: Any = None,
    loss: Callable[[Any, Any], Any] | None = None,
) -> Signals:
    """Mean, second moment and gradient second moment at every place of a model, averaged over random weights.

    The model is run once to learn which ops it calls and is left as it was; nothing that it computed on the way enters
    the prediction, which knows the law of the weights, the inputs and the ops alone. With a loss of your own the
    gradient starts from the one measured at the output.

    Args:
        model: any eager ``nn.Module``.
        inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        recipe: what the weights will start as; parameters that it does not write keep the moments they have. None
            for the moments of the weights that are there.
        target: as in :func:`fanin.check`; without it the gradient starts from a random direction of unit length.
        loss: as in :func:`fanin.check`.

    Returns:
        Predicted Signals at the places that ``fanin.trace`` names: forward in execution order, then backward.

    Raises:
        TraceError: if the model or the loss raises.
        InputError: if an argument cannot be used, or the recipe writes a parameter that the model does not have.

    Example:
        >>> import torch, fanin
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
        >>> x = torch.randn(64, 256)
        >>> signals = fanin.theory.predict(model, x, fanin.plan(model, x, scheme="he"))
        >>> round(signals.at("1", source="predicted").second_moment, 1)
        1.0

    Source: He et al., 2015; Poole et al., 2016; Yang & Schoenholz, 2017; per op in ``theory.propagation``.
    """
    from fanin.slots import find
    from fanin.trace import trace

    run = trace(model, inputs, target, loss)
    slots = find(model, run.graph)
    weights = model_moments(dict(model.named_parameters()), slots, recipe)
    return predict_trace(run, slots, weights, beside=False)


def model_moments(parameters: Mapping[str, Any], slots: Slots, recipe: Recipe | None = None) -> WeightMoments:
    """Moments of all weights of a model: those that a recipe writes by its word, the others as they are.

    Args:
        parameters: canonical name → tensor.
        slots: places of the parameters.
        recipe: the plan, or None.

    Raises:
        InputError: if the recipe writes a parameter that is not there, or one of another shape.
    """
    if recipe is None:
        return array_moments(parameters, slots)
    for line in recipe.lines:
        if line.name not in parameters:
            raise InputError.of("recipe", line.name, "names of parameters of the model")
        if tuple(parameters[line.name].shape) != tuple(line.shape):
            shape = tuple(parameters[line.name].shape)
            raise InputError.of("recipe", line.shape, f"the shape of the parameter, {shape}", line.name)
    kept = {name: tensor for name, tensor in parameters.items() if name not in recipe}
    return {**array_moments(kept, slots), **weight_moments(recipe, slots)}


def predict_trace(run: Trace, slots: Slots, weights: WeightMoments, *, beside: bool = True) -> Signals:
    """The same for a run that was already recorded.

    Args:
        run: what ``fanin.trace`` returned.
        slots: places of the parameters.
        weights: moments of the weights: ``array_moments`` or ``weight_moments``.
        beside: also predict each op from the inputs that it really had (``Signal.from_inputs``).

    Returns:
        Predicted Signals.

    Raises:
        FaninError: if an op's recorded arguments cannot be used.
    """
    try:
        return predict_graph(
            run.graph,
            slots,
            weights,
            _inputs(run),
            loss=_gradient_start(run),
            target_second_moment=_target_second_moment(run),
            measured=run.signals if beside else None,
        )
    except FaninError:
        raise
    except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"theory cannot follow this model: {type(error).__name__}: {error}") from error


def _inputs(run: Trace) -> dict[str, Any]:
    """Place of each input node → what is read of its values."""
    found: dict[str, Any] = {}
    for place, tensor in run.sources.items():
        node = run.graph.by_place[place]
        values = _values(tensor, node.batch_axis)
        if values is not None:
            found[place] = values
    return found


def _values(tensor: Any, batch_axis: int | None) -> Any:
    """A tensor as an array, cut to what moments need; None where it holds nothing readable."""
    if getattr(tensor, "is_meta", False) or str(tensor.layout) != "torch.strided" or tensor.numel() == 0:
        return None
    x = tensor.detach()
    if x.is_complex():
        x = x.abs()
    if batch_axis is not None and x.dim() > batch_axis:
        size = max(1, x.numel() // x.shape[batch_axis])
        x = x.narrow(batch_axis, 0, min(x.shape[batch_axis], SAMPLES, max(2, ENTRIES // size)))
    for axis in range(x.dim()):  # leading corner: neighbours stay neighbours
        if x.numel() > 4 * ENTRIES and axis != batch_axis and x.shape[axis] > _CORNER:
            x = x.narrow(axis, 0, _CORNER)
    x = x.float() if x.is_floating_point() else x
    return np.asarray(x.cpu().numpy())


_CORNER = 256
"""Entries kept of an axis of a very large input."""


def _gradient_start(run: Trace) -> Any:
    if run.loss_kind != "custom":
        return run.loss_kind
    places = (run.graph.nodes[node].place for node in run.graph.outputs)
    measured = ((place, run.signals.at(place, "backward")) for place in places)
    return {place: signal.second_moment for place, signal in measured if signal is not None}


def _target_second_moment(run: Trace) -> float:
    target = run.target
    if run.loss_kind != "mse" or not hasattr(target, "detach"):
        return 1.0
    return moments_of(target)[1]
