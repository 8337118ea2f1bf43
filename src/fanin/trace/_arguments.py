"""Names of the positional arguments of torch ops, and the defaults that theory needs to know.

torch's C functions carry no signature, so the names are written down here, as in its documentation.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

__all__ = ["argument_names", "defaults", "describe_index", "plain", "variadic", "words"]


def words(text: str) -> frozenset[str]:
    """The words of a table written as a block of text."""
    return frozenset(text.split())


_CONV = "input weight bias stride padding dilation groups"
_CONV_TRANSPOSE = "input weight bias stride padding output_padding groups dilation"
_POOL = "input kernel_size stride padding"
_RNN = "input hx weights has_biases num_layers dropout train bidirectional batch_first"
_CELL = "input hx weight_ih weight_hh bias_ih bias_hh"

_SIGNATURES: dict[str, str] = {
    "linear": "input weight bias",
    "bilinear": "input1 input2 weight bias",
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _CONV),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _CONV_TRANSPOSE),
    "addmm": "input mat1 mat2",
    "baddbmm": "input batch1 batch2",
    "addbmm": "input batch1 batch2",
    "addmv": "input mat vec",
    "tensordot": "input other dims",
    "embedding": "input weight padding_idx max_norm norm_type scale_grad_by_freq sparse",
    "embedding_bag": "input weight offsets max_norm norm_type scale_grad_by_freq mode",
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _RNN),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _CELL),
    "scaled_dot_product_attention": "query key value attn_mask dropout_p is_causal scale enable_gqa",
    "leaky_relu": "input negative_slope inplace",
    "rrelu": "input lower upper training inplace",
    "elu": "input alpha inplace",
    "celu": "input alpha inplace",
    "gelu": "input approximate",
    "softplus": "input beta threshold",
    "hardtanh": "input min_val max_val inplace",
    "softshrink": "input lambd",
    "hardshrink": "input lambd",
    "threshold": "input threshold value inplace",
    "prelu": "input weight",
    "glu": "input dim",
    "clamp": "input min max",
    "pow": "input exponent",
    "rpow": "exponent base",
    "rdiv": "input numerator",
    "softmax": "input dim",
    "log_softmax": "input dim",
    "softmin": "input dim",
    "gumbel_softmax": "input tau hard eps dim",
    "batch_norm": "input running_mean running_var weight bias training momentum eps",
    "instance_norm": "input running_mean running_var weight bias use_input_stats momentum eps",
    "layer_norm": "input normalized_shape weight bias eps",
    "rms_norm": "input normalized_shape weight eps",
    "group_norm": "input num_groups weight bias eps",
    "local_response_norm": "input size alpha beta k",
    "normalize": "input p dim eps",
    "lerp": "input end weight",
    "addcmul": "input tensor1 tensor2 value",
    "addcdiv": "input tensor1 tensor2 value",
    "index_add": "input dim index source",
    "scatter_add": "input dim index source",
    "index_copy": "input dim index source",
    "scatter": "input dim index source",
    "index_put": "input indices values accumulate",
    "setitem": "input index value",
    "masked_scatter": "input mask source",
    "masked_fill": "input mask value",
    "cat": "tensors dim",
    "stack": "tensors dim",
    "flatten": "input start_dim end_dim",
    "unflatten": "input dim sizes",
    "transpose": "input dim0 dim1",
    "movedim": "input source destination",
    "squeeze": "input dim",
    "unsqueeze": "input dim",
    "repeat_interleave": "input repeats dim",
    "getitem": "input index",
    "narrow": "input dim start length",
    "select": "input dim index",
    "index_select": "input dim index",
    "gather": "input dim index",
    "where": "condition input other",
    "chunk": "input chunks dim",
    "split": "input split_size dim",
    "unbind": "input dim",
    "flip": "input dims",
    "roll": "input shifts dims",
    "pad": "input pad mode value",
    "unfold": "input dimension size step",
    "pixel_shuffle": "input upscale_factor",
    "tril": "input diagonal",
    "triu": "input diagonal",
    "topk": "input k dim",
    "sort": "input dim descending",
    **dict.fromkeys(("mean", "sum", "amax", "amin", "prod", "logsumexp"), "input dim keepdim"),
    **dict.fromkeys(("max", "min", "median"), "input dim keepdim"),
    **dict.fromkeys(("std", "var"), "input dim correction keepdim"),
    "norm": "input p dim keepdim",
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _POOL + " dilation ceil_mode"),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _POOL + " ceil_mode count_include_pad"),
    **dict.fromkeys(("lp_pool1d", "lp_pool2d", "lp_pool3d"), "input norm_type kernel_size stride"),
    "interpolate": "input size scale_factor mode",
    **{f"adaptive_{kind}_pool{d}d": "input output_size" for kind in ("avg", "max") for d in (1, 2, 3)},
    **dict.fromkeys(
        ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"),
        "input p training inplace",
    ),
    "to": "input dtype",
    "cross_entropy": "input target weight",
    "einsum": "equation operands",
    "add": "input other alpha",
    "sub": "input other alpha",
    "rsub": "input other alpha",
}

_C_SIGNATURES: dict[str, str] = {  # torch.* variants whose order differs from torch.nn.functional
    "batch_norm": "input weight bias running_mean running_var training momentum eps",
    "instance_norm": "input weight bias running_mean running_var use_input_stats momentum eps",
}

_VARIADIC_DIMS = {"permute": "dims", "view": "shape", "reshape": "shape", "expand": "shape", "repeat": "repeats"}

_DEFAULTS: dict[str, dict[str, Any]] = {  # as in torch's documentation
    "leaky_relu": {"negative_slope": 0.01},
    "rrelu": {"lower": 1 / 8, "upper": 1 / 3, "training": False},
    "elu": {"alpha": 1.0},
    "celu": {"alpha": 1.0},
    "gelu": {"approximate": "none"},
    "softplus": {"beta": 1.0, "threshold": 20.0},
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
    "softshrink": {"lambd": 0.5},
    "hardshrink": {"lambd": 0.5},
    "glu": {"dim": -1},
    "square": {"exponent": 2},
    **{f"conv{d}d": {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} for d in (1, 2, 3)},
    **{
        f"conv_transpose{d}d": {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
        for d in (1, 2, 3)
    },
    "layer_norm": {"eps": 1e-5},
    "group_norm": {"eps": 1e-5},
    "batch_norm": {"training": False, "eps": 1e-5},
    "instance_norm": {"use_input_stats": True, "eps": 1e-5},
    "normalize": {"p": 2.0, "dim": 1, "eps": 1e-12},
    "dropout": {"p": 0.5, "training": True},
    "scaled_dot_product_attention": {"dropout_p": 0.0, "is_causal": False},
    "cat": {"dim": 0},
    "stack": {"dim": 0},
    "chunk": {"dim": 0},
    "split": {"dim": 0},
    "unbind": {"dim": 0},
}


def argument_names(op: str, module: str) -> tuple[str, ...]:
    """Names of the positional arguments of ``op`` as found in ``module`` ("torch", "torch.nn.functional", …)."""
    if module != "torch.nn.functional" and op in _C_SIGNATURES:
        return tuple(_C_SIGNATURES[op].split())
    if op in _VARIADIC_DIMS:
        return ("input", _VARIADIC_DIMS[op])
    return tuple(_SIGNATURES.get(op, "input other").split())


def defaults(op: str) -> Mapping[str, Any]:
    """Values that arguments have when they are not passed."""
    return _DEFAULTS.get(op, {})


def variadic(op: str) -> bool:
    """Whether the op takes its dims as separate positional arguments, as in ``x.permute(0, 2, 1)``."""
    return op in _VARIADIC_DIMS


def plain(value: Any) -> Any:
    """``value`` as plain JSON, or None where it has no such form (tensors, generators, slices)."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value).replace("torch.", "")
    if isinstance(value, (tuple, list, torch.Size)) and all(isinstance(v, (bool, int, float, str)) for v in value):
        return [plain(v) for v in value]
    return None


def describe_index(index: Any) -> str:
    """A readable form of what stood in the brackets of ``x[...]``."""
    parts: Sequence[Any] = index if isinstance(index, tuple) else (index,)
    return ", ".join(_index_part(part) for part in parts)


def _index_part(part: Any) -> str:
    if part is Ellipsis:
        return "..."
    if isinstance(part, slice):
        text = ":".join("" if bound is None else _index_part(bound) for bound in (part.start, part.stop))
        return text if part.step is None else f"{text}:{_index_part(part.step)}"
    if isinstance(part, torch.Tensor):
        return f"tensor{tuple(part.shape)}"
    return str(part) if part is None or isinstance(part, (bool, int)) else type(part).__name__
