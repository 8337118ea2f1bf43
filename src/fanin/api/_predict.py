"""What theory says of a run, beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fanin.recipe import Recipe
from fanin.signals import Signals
from fanin.slots import Slots
from fanin.theory import model_moments, predict_trace
from fanin.trace import Trace

__all__ = ["predict_beside"]


def predict_beside(
    traced: Trace, slots: Slots, parameters: Mapping[str, Any], recipe: Recipe | None = None
) -> tuple[Signals | None, str]:
    """Predicted signals of a run, or None and the reason.

    A check is of use without a prediction, so what theory cannot follow is said and stops nothing. A recipe that does
    not fit the model is the user's mistake and is raised.

    Args:
        traced: the run.
        slots: places of the parameters.
        parameters: canonical name → tensor.
        recipe: what the weights were made by; None for the moments of the weights that are there.

    Returns:
        (signals, "") or (None, why).

    Raises:
        InputError: if the recipe writes a parameter that the model does not have, or one of another shape.
    """
    weights = model_moments(parameters, slots, recipe)
    try:
        with np.errstate(all="ignore"):  # signals that explode overflow on paper as well
            return predict_trace(traced, slots, weights), ""
    except Exception as error:  # whatever theory stumbles over, the measured findings stand
        return None, str(error) or type(error).__name__
