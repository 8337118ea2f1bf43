"""What each torch op does to a signal: one table from names to kinds (names only; torch is not imported)."""

from __future__ import annotations

from typing import Literal

__all__ = ["OpKind", "classify", "saturation_bounds"]

OpKind = Literal[
    "input",  # came from outside: an argument of the model, a buffer, a constant made inside
    "linear",  # a linear map by a parameter: linear, conv, matmul/einsum with a parameter
    "embedding",  # a lookup of rows of a parameter
    "recurrent",  # a whole LSTM / GRU / RNN call
    "attention",  # a fused attention call (scaled_dot_product_attention)
    "matmul",  # a product of two activations
    "activation",  # elementwise nonlinearity
    "softmax",  # softmax family, over an axis
    "norm",  # normalization: batch, layer, group, instance, RMS
    "add",  # sum of two activations (or with a bias parameter: then it has one input)
    "mul",  # elementwise product of two activations, or with a gain
    "concat",  # cat, stack
    "shape",  # values unchanged, only arranged or picked: view, permute, slicing, chunk, pad, roll
    "reduce",  # mean, sum, max over axes
    "pool",  # pooling windows, interpolation
    "dropout",
    "scale",  # times or plus a constant number, neg, division by a number
    "cast",  # dtype or device change, clone, contiguous
    "loss",
    "other",
]
