"""What each torch op does to a signal: one table from names to kinds (names only; torch is not imported)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast

__all__ = ["OpKind", "Saturation", "classify", "saturation_bounds"]

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

_NAMES: dict[OpKind, str] = {
    "linear": """
        linear bilinear conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d
    """,
    # A product with a parameter becomes "linear": who records the call knows the operands.
    "matmul": """
        matmul mm bmm einsum addmm baddbmm addbmm mv addmv dot vdot inner outer tensordot chain_matmul multi_dot kron
        grouped_mm sparse_mm addr
    """,
    "embedding": "embedding embedding_bag",
    "recurrent": "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell",
    "attention": "scaled_dot_product_attention flex_attention",
    "activation": """
        relu leaky_relu rrelu gelu gelu_tanh quick_gelu silu tanh sigmoid softplus elu selu celu mish hardswish
        hardsigmoid hardtanh relu6 prelu softsign log_sigmoid tanhshrink softshrink hardshrink threshold glu
        relu_squared erf erfc sin cos tan asin acos atan sinh cosh asinh acosh atanh exp exp2 expm1 log log2 log10 log1p
        pow square sqrt rsqrt reciprocal abs sign clamp sinc logit floor ceil round trunc frac heaviside rdiv rpow
        shaped
    """,
    "softmax": "softmax log_softmax softmin gumbel_softmax",
    "norm": "batch_norm layer_norm group_norm instance_norm rms_norm local_response_norm normalize",
    "add": "add sub index_add scatter_add addcmul addcdiv lerp",
    "mul": "mul div",
    "concat": """
        cat stack hstack vstack dstack column_stack setitem index_put index_copy scatter masked_scatter slice_scatter
        select_scatter
    """,
    "shape": """
        view reshape flatten unflatten permute transpose t adjoint movedim squeeze unsqueeze expand broadcast_tensors
        repeat repeat_interleave tile getitem narrow select index_select gather take take_along_dim masked_select chunk
        split tensor_split hsplit vsplit unbind flip roll rot90 pad unfold pixel_shuffle pixel_unshuffle
        channel_shuffle diagonal diag diag_embed tril triu view_as_real view_as_complex as_strided real imag
        masked_fill index_fill where topk sort msort output meshgrid atleast_1d atleast_2d atleast_3d block_diag
        pad_sequence
    """,
    "reduce": """
        mean sum amax amin max min prod logsumexp std var std_mean var_mean norm median nanmean nansum quantile mode
        aminmax segment_reduce scatter_reduce trace
    """,
    "pool": """
        max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
        adaptive_max_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d lp_pool1d lp_pool2d lp_pool3d
        fractional_max_pool2d fractional_max_pool3d max_unpool1d max_unpool2d max_unpool3d interpolate grid_sample
        fold
    """,
    "dropout": "dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout",
    "scale": "neg",
    "cast": "to contiguous clone detach copy nan_to_num",
    "loss": """
        cross_entropy nll_loss mse_loss l1_loss smooth_l1_loss huber_loss binary_cross_entropy kl_div ctc_loss
        binary_cross_entropy_with_logits cosine_embedding_loss hinge_embedding_loss margin_ranking_loss
        multi_margin_loss multilabel_margin_loss multilabel_soft_margin_loss soft_margin_loss triplet_margin_loss
        triplet_margin_with_distance_loss gaussian_nll_loss poisson_nll_loss
    """,
}

KINDS: dict[str, OpKind] = {op: kind for kind, names in _NAMES.items() for op in names.split()}
"""Canonical op name → kind, before the operands are known."""

_ALIASES: dict[str, str] = {
    alias: op
    for op, names in {
        "add": "iadd radd",
        "sub": "subtract isub",
        "mul": "multiply imul rmul",
        "div": "divide true_divide truediv itruediv idiv",
        "rdiv": "rtruediv",
        "matmul": "rmatmul imatmul linalg_matmul",
        "grouped_mm": "_grouped_mm",
        "multi_dot": "linalg_multi_dot",
        "pow": "ipow float_power",
        "neg": "negative positive",
        "abs": "absolute",
        "clamp": "clip clamp_min clamp_max",
        "sigmoid": "expit special_expit",
        "erf": "special_erf",
        "log_sigmoid": "logsigmoid",
        "silu": "swish",
        "softmax": "special_softmax _safe_softmax",
        "log_softmax": "special_log_softmax",
        "view": "view_as _unsafe_view",
        "reshape": "reshape_as ravel",
        "transpose": "swapaxes swapdims mT",
        "adjoint": "mH H",
        "t": "T",
        "movedim": "moveaxis",
        "expand": "expand_as broadcast_to",
        "split": "split_with_sizes unsafe_split unsafe_split_with_sizes",
        "chunk": "unsafe_chunk",
        "cat": "concat concatenate",
        "vstack": "row_stack",
        "to": "float double half bfloat16 type type_as cpu cuda",
        "detach": "data",
        "clone": "alias requires_grad",
        "norm": "vector_norm linalg_norm linalg_vector_norm matrix_norm",
        "interpolate": "upsample upsample_nearest upsample_bilinear",
        "dropout": "native_dropout",
        "lstm_cell": "_thnn_fused_lstm_cell",
        "gru_cell": "_thnn_fused_gru_cell",
        "batch_norm": "native_batch_norm _native_batch_norm_legit",
        "layer_norm": "native_layer_norm",
        "group_norm": "native_group_norm",
        "scatter_reduce": "index_reduce",
        "unfold": "im2col",
        "fold": "col2im",
    }.items()
    for alias in names.split()
}

_MODULE_SPECIFIC: dict[tuple[str, str], str] = {
    ("torch.sparse", "mm"): "sparse_mm",
    ("torch.nn.functional", "threshold"): "threshold",
}


def canonical(name: str, module_name: str = "") -> str:
    """One name for an op however it was called: operator, method, function, in-place or reflected."""
    bare = name.rsplit(".", 1)[-1]
    if bare.startswith("__") and bare.endswith("__"):
        bare = bare[2:-2]
    if bare.endswith("_") and not bare.startswith("_"):
        bare = bare[:-1]
    if (module_name, bare) in _MODULE_SPECIFIC:
        return _MODULE_SPECIFIC[module_name, bare]
    return bare if bare in KINDS else _ALIASES.get(bare, bare)


def classify(name: str, module_name: str = "", attrs: Mapping[str, Any] | None = None) -> tuple[str, OpKind]:
    """Canonical op name and what it does to a signal.

    Args:
        name: as torch calls it: "relu_", "__rsub__", "conv2d", "Tensor.add".
        module_name: where the function lives ("torch.nn.functional", "torch.Tensor"); "" where unknown.
        attrs: its recorded arguments, where they tell variants apart (``approximate`` of gelu).

    Returns:
        (op, kind); kind is "other" for an op that the table does not hold.

    Example:
        >>> classify("relu_"), classify("__rsub__"), classify("gelu", attrs={"approximate": "tanh"})
        (('relu', 'activation'), ('rsub', 'add'), ('gelu_tanh', 'activation'))
    """
    op = canonical(name, module_name)
    if op == "gelu" and attrs and attrs.get("approximate") == "tanh":
        op = "gelu_tanh"
    return op, ("add" if op == "rsub" else KINDS.get(op, "other"))


class Saturation(NamedTuple):
    """An output below ``low`` or above ``high`` counts as saturated; ±inf where that side has no flat part."""

    low: float
    high: float


_INF = float("inf")

_BOUNDS: dict[str, Saturation] = {
    # |tanh| > .99 and sigmoid outside (.005, .995) are the same pre-activations: tanh(x) = 2 sigmoid(2x) - 1.
    "tanh": Saturation(-0.99, 0.99),
    "sigmoid": Saturation(0.005, 0.995),
    "softsign": Saturation(-0.99, 0.99),
    "erf": Saturation(-0.99, 0.99),
    # Piecewise linear: flat exactly at the bound, where the derivative is 0.
    "hardsigmoid": Saturation(0.0, 1.0),
    "relu6": Saturation(-_INF, 6.0),
}


def saturation_bounds(op: str, attrs: Mapping[str, Any] | None = None) -> Saturation | None:
    """Where the output of an op counts as saturated: at or outside these bounds.

    Args:
        op: canonical op name.
        attrs: recorded arguments (``min_val`` and ``max_val`` of hardtanh).

    Returns:
        (low, high): outputs ≤ low or ≥ high lie on the flat part; None for an op without one.

    Example:
        >>> saturation_bounds("hardtanh", {"min_val": -2.0, "max_val": 2.0})
        Saturation(low=-2.0, high=2.0)
    """
    if op == "hardtanh":
        attrs = attrs or {}
        low, high = attrs.get("min_val", -1.0), attrs.get("max_val", 1.0)
        return Saturation(cast("float", low), cast("float", high))
    return _BOUNDS.get(op)
