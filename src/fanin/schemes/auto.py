"""auto: to each place what its use asks for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.errors import InputError, PlanError
from fanin.initializers import (
    SUO,
    Blocks,
    ChronoBias,
    Constant,
    DeltaOrthogonal,
    Initializer,
    LecunNormal,
    MambaStepBias,
    Mirrored,
    Normal,
    Rescaled,
    VarianceScaling,
    Zeros,
)
from fanin.initializers._base import number
from fanin.schemes._architecture import architecture
from fanin.schemes._base import Choice, Context, Keep, Scheme, fan, filled, usual
from fanin.schemes._blocks import letters
from fanin.schemes._calibrate import calibrated
from fanin.schemes._chains import Link, chains
from fanin.schemes._gains import DEEP, LOGISTIC, by_nonlinearity, deep, recurrent
from fanin.schemes._selective import selective
from fanin.schemes._state_space import state_space
from fanin.schemes._surroundings import Surroundings, surroundings
from fanin.schemes._targets import head_bias

if TYPE_CHECKING:
    from fanin.recipe import Recipe
    from fanin.slots import Slot

__all__ = ["Auto"]

_AT_OUTPUT = (None, "linear", "softmax", "log_softmax", "sigmoid", "log_sigmoid", "tanh")

HEAD_STD = 0.25
"""Standard deviation of the first outputs: logits of std s raise the first cross-entropy by about s²/2 = 0.03 nat."""

SPREAD = 20
"""Convolutions in a chain beyond which only kernels with one tap keep every frequency (Xiao et al., 2018)."""

FORGET = 1.0
"""Bias of the LSTM's forget gate (Gers et al., 2000; Jozefowicz et al., 2015)."""

SHORT = 4
"""Steps up to which a forget gate of bias 1 keeps half of the state: σ(1)^2 = 0.53, σ(1)^4 = 0.29."""

_EXCESS = 1.01
"""Logits of std 1 come from a factor of 1/√d_k; above 1 by more than rounding, queries shrink."""


class Auto(Scheme):
    """To each place what its use asks for: the gain of the nonlinearity that follows, residual depth, a quiet head.

    By what the run of the batch shows of a place:

    - a nonlinearity follows: the gain that is exact for it; He's for ReLU, Glorot's for tanh.
    - a chain of more than 4 layers without norm or skip: orthogonal maps (delta-orthogonal for more than 20
      convolutions) at the gain whose gradients grow by e at most over the chain. Where the nonlinearity is not odd, its
      units come in mirrored pairs, so that f(z) − f(−z) is what passes on: z itself for ReLU, GELU and SiLU.
    - the end of one of N residual branches: 1/√N of the stream; with a norm after each sum, all maps of the branch but
      queries and keys times (2N)^−½; with a norm before the sum, as any other map.
    - no norm in a residual network: every channel centred and scaled on the batch, biases included.
    - the head: outputs of a small standard deviation over the samples, its bias at the best constant guess.
    - recurrent layers: orthogonal recurrence per gate; forget gate 1, or chrono where only the last state is read.
    - selective state spaces: rates, steps and skips as in Mamba.
    - adapters beside frozen maps, modulation (1 + s): zero. Embeddings: what keeps stream or logits at unit scale.

    Args:
        head_std: standard deviation of the first outputs, for inputs of unit scale at the head; 0 starts it at zero.
        residual: "depth" scales the last map of each of N residual branches by 1/√N, so that the stream grows by e^½
            at most; "zero" starts it at 0 (the block is the identity); "none" leaves it.
        forget_bias: bias of the LSTM's forget gate; where only the state after the last of T steps is read, the gates
            are set by chrono initialization instead, so that memories span 1 to T steps.
        head_prior: share π of positives of a sigmoid head with rare positives: its bias starts at log(π/(1−π)). Without
            it the targets of the batch tell, where they are given and differ from even shares by more than chance.
        calibrate: with inputs, measure in one forward pass what no plan can know, the scale of the inputs and of the
            features that the head reads, and rescale the maps that read them.

    Source: He et al., 2015; Glorot & Bengio, 2010; Saxe et al., 2013; Schoenholz et al., 2017; Radford et al., 2019
    (depth scaling); Balduzzi et al., 2017 (mirrored pairs); Xiao et al., 2018 (delta-orthogonal); Wang et al., 2022
    (post-norm); Krähenbühl et al., 2016 (channels); Gers et al., 2000; Tallec & Ollivier, 2018 (gates).
    """

    name = "auto"
    title = "to each place what its use asks for: gain of the nonlinearity that follows, residual depth, a quiet head"
    source = "He et al., 2015; Glorot & Bengio, 2010; Saxe et al., 2013; Schoenholz et al., 2017; Gers et al., 2000"

    def __init__(
        self,
        head_std: float = HEAD_STD,
        residual: str = "depth",
        forget_bias: float = FORGET,
        head_prior: float | None = None,
        calibrate: bool = True,
    ) -> None:
        if residual not in ("depth", "zero", "none"):
            raise InputError.of("residual", residual, "'depth', 'zero' or 'none'", "scheme 'auto'")
        self.head_std = number("scheme 'auto'", "head_std", head_std, low=0)
        self.forget_bias = number("scheme 'auto'", "forget_bias", forget_bias)
        self.residual = residual
        if not isinstance(calibrate, bool):
            raise InputError.of("calibrate", calibrate, "True or False", "scheme 'auto'")
        self.calibrate = calibrate
        self.head_prior = head_prior
        if head_prior is not None and not 0 < number("scheme 'auto'", "head_prior", head_prior, low=0, high=1) < 1:
            raise InputError.of("head_prior", head_prior, "a share strictly between 0 and 1", "scheme 'auto'")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if context.graph is not None and slot.name in selective(context).own:
            return state_space(slot, selective(context), MambaStepBias())
        if slot.role == "weight":
            return self.weight(slot, context)
        if slot.role == "embedding":
            return self._embedding(slot, context)
        if slot.role == "bias":
            return self._bias(slot, context)
        return usual(slot)

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        around = surroundings(context)
        if slot.kind == "recurrent":
            return recurrent(slot)
        if around.beside_frozen(slot.name):
            return Choice(Zeros(), "added to the output of a frozen map: zero, so that the frozen function stands")
        if slot.settings.get("modulates"):
            return Choice(Zeros(), "multiplies a signal as 1 + s: zero, so that the modulation starts as none")
        link = chains(context).get(slot.name)
        if _is_quiet_head(slot):
            return self._head(slot, link)
        if link is not None:
            return _linked(slot, link)
        if around.stream(slot.name).post_norm and self.residual == "depth":
            return _in_post_norm(slot, context)
        if slot.ends_residual:
            return self._branch_end(slot, around)
        return _unscaled_queries(slot, context) or by_nonlinearity(slot, around)

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        around = surroundings(context)
        linked = chains(context)
        open_ = [s for s in context.slots.values() if s.role == "weight" and s.name not in linked]
        logistic = [s for s in open_ if s.nonlinearity in LOGISTIC and around.feeds_map(s.name)]
        depth = max((around.depth(slot.name) for slot in logistic), default=0)
        if depth <= DEEP:
            return ()
        return (
            f"A chain of {depth} logistic layers without normalization has no start that keeps its gradients "
            "(no critical point exists): pass inputs, so that its units can be paired, or use tanh or ReLU, a norm, or "
            "residual connections.",
        )

    def finish(self, recipe: Recipe, context: Context) -> Recipe:
        """See :class:`Scheme`."""
        heads = {slot.name for slot in context.slots.values() if slot.role == "weight" and _is_quiet_head(slot)}
        return calibrated(recipe, context, self.head_std, heads) if self.calibrate else recipe

    def _head(self, slot: Slot, link: Link | None) -> Choice:
        if self.head_std == 0:
            return Choice(Zeros(), "head: zero, so that the first outputs are those of ignorance")
        words = f"outputs of std {self.head_std:g}, so that the first loss is that of ignorance"
        if link is not None and link.before is not None:
            law: Initializer = VarianceScaling(self.head_std**2 / link.before.square, "fan_in", "normal")
            ends = f"; subtracts the pairs of {link.before.name}" if link.into else ""
            return Choice(Mirrored(law, out=False) if link.into else law, f"head: {fan(slot)}{ends}; {words}")
        law = VarianceScaling(self.head_std**2, "fan_in", "normal")
        return Choice(filled(slot, law), f"head: {fan(slot)}; {words}")

    def _branch_end(self, slot: Slot, around: Surroundings) -> Choice:
        plain = by_nonlinearity(slot, around)
        stream = around.stream(slot.name)
        if stream.normalized:
            return Choice(plain.initializer, f"{plain.reason}; ends a residual branch, in which a norm follows")
        if stream.scaled:
            return Choice(plain.initializer, f"{plain.reason}; a learned multiplier scales this residual branch")
        if self.residual == "none":
            return plain
        if self.residual == "zero":
            return Choice(Zeros(), "ends a residual branch: zero, so that the block starts as the identity")
        rms = math.sqrt(sum(self._lookup_std(name, around)[0] ** 2 for name in stream.lookups)) or 1.0
        scale = rms / math.sqrt(stream.branches)
        law = VarianceScaling(scale**2, "fan_in", "normal")
        size = "" if math.isclose(rms, 1) else f" · {rms:.3g}, the scale of the embeddings it is added to"
        reason = f"ends one of {stream.branches} residual branches: {fan(slot)}, gain 1/√{stream.branches}{size}"
        return Choice(filled(slot, law), reason)

    def _embedding(self, slot: Slot, context: Context) -> Choice:
        std, reason = self._lookup_std(slot.name, surroundings(context))
        return Choice(Normal(std=std), reason)

    def _lookup_std(self, name: str, around: Surroundings) -> tuple[float, str]:
        """Standard deviation of an embedding, and why."""
        slot = around.slots[name]
        width, head = slot.shape[-1], self.head_std or HEAD_STD
        summed, factor, product = around.lookups_with(slot.name)
        tied = [other for other in around.slots.values() if other.role == "embedding" and other.is_head]
        partners = [around.slots[other].name for other in summed]
        if any(other.name in partners for other in tied) or (tied and around.graph is None):
            with_head = "also the head" if slot.is_head else "added to the embedding that is also the head"
            return head / math.sqrt(
                width
            ), f"embedding, {with_head}: {head:g}/√{width}, so that logits have std {head:g}"
        if product:
            return (head**2 / width) ** 0.25, f"embedding in a dot product of width {width}: products of std {head:g}"
        if around.in_post_norm(slot.name) and not product:
            reason = f"embedding, read through norms only: 1/√{width}, so that Adam changes it as fast as the maps"
            return 1 / (math.sqrt(width) * factor), reason
        std = 1 / (math.sqrt(len(summed)) * factor)
        share = f" in {len(summed)} equal shares" if len(summed) > 1 else ""
        scaled = f", before it is multiplied by {factor:.4g}" if factor != 1 else ""
        return std, f"embedding: the signal starts at unit scale{share}{scaled}"

    def _bias(self, slot: Slot, context: Context) -> Choice | Keep | None:
        if slot.settings.get("cell") in ("LSTM", "GRU"):
            return self._gate_bias(slot, context)
        if self.head_prior is not None and _is_quiet_head(slot):
            start = math.log(self.head_prior / (1 - self.head_prior))
            reason = f"head: log(π/(1−π)) for a share π = {self.head_prior:g} of positives (Lin et al., 2017)"
            return Choice(Constant(start), reason)
        weight = context.weight_of(slot)
        if weight is not None and _is_quiet_head(weight):
            return head_bias(slot, context) or usual(slot)
        if weight is not None and weight.name in chains(context):
            return usual(slot)
        if weight is not None and weight.role == "weight" and not (weight.ends_residual or _is_quiet_head(weight)):
            point = deep(weight, surroundings(context))
            if point is not None and point.bias_var > 0:
                std = math.sqrt(point.bias_var)
                return Choice(Normal(std=std), f"critical chain of {weight.nonlinearity}: σ_b² = {point.bias_var:.4g}")
        return usual(slot)

    def _gate_bias(self, slot: Slot, context: Context) -> Choice:
        cell = str(slot.settings["cell"])
        if slot.settings["side"] == "recurrent":
            return Choice(Zeros(), "torch adds both biases: this one 0")
        steps = surroundings(context).steps_to_last_state(slot.name)
        if steps is not None and steps > SHORT and self.forget_bias == FORGET:
            gates = "b_f = log u, b_i = −b_f" if cell == "LSTM" else "b_z = log u"
            reason = f"only the state after {steps} steps is read: chrono, {gates}, u ~ U(1, {steps - 1})"
            return Choice(ChronoBias(steps, cell.lower()), reason)
        if cell == "GRU":
            return Choice(Zeros(), "gates of a GRU: 0")
        parts = [
            (part.name, part.stop - part.start, Constant(self.forget_bias) if part.name == "f" else Zeros())
            for part in slot.parts
        ]
        return Choice(Blocks(0, parts), f"forget gate {self.forget_bias:g}, so that the cell remembers; other gates 0")


def _in_post_norm(slot: Slot, context: Context) -> Choice:
    """A map in a branch of a stream with a norm after each sum: all but queries and keys times (2N)^−½.

    One update moves the output of branch i by about v_i² + w_i², with v, w the scales of its two maps; the sum over N
    branches stays of order 1 with v² = w² = 1/(2N) (Wang et al., 2022, with their α = 1).
    """
    around = surroundings(context)
    blocks, branches = architecture(context), around.stream(slot.name).branches
    usually = _unscaled_queries(slot, context) or by_nonlinearity(slot, around)
    role = "" if blocks is None else blocks.role(slot)
    scale = 1 / math.sqrt(2 * branches)
    words = f"in one of {branches} branches with a norm after each sum: times (2·{branches})^−½ = {scale:.4g}"

    def shrunk(law: Initializer, reason: str) -> Choice:
        return Choice(Rescaled(law, scale), f"{reason}; {words}")

    if blocks is None or not set(role) <= set("qkv"):
        return shrunk(usually.initializer, usually.reason)
    if "v" not in role:
        return usually
    if role == "v":
        return shrunk(usually.initializer, usually.reason)
    plain = Choice(LecunNormal(), "q, k gain 1")
    try:
        return letters("auto", slot, blocks, lambda letter, _: shrunk(LecunNormal(), "v") if letter == "v" else plain)
    except PlanError:  # how v lies in the tensor is not known: its end alone is scaled
        return usually


def _unscaled_queries(slot: Slot, context: Context) -> Choice | None:
    """Queries of an attention that multiplies its logits by more than 1/√d_k: the map makes up for it, as in T5."""
    blocks = architecture(context)
    role = "" if blocks is None else blocks.role(slot)
    if blocks is None or "q" not in role or not set(role) <= set("qkv") or slot.nonlinearity not in (None, "linear"):
        return None
    attention = blocks.attention_of(slot)
    excess = 0.0 if attention is None or attention.scale is None else attention.scale * math.sqrt(attention.head_dim)
    if attention is None or (attention.crossed and role != "q") or excess <= _EXCESS:
        return None
    loud = VarianceScaling(1 / excess**2, "fan_in", "normal")
    words = f"logits are multiplied by {attention.scale:.4g} where 1/√{attention.head_dim} would give them std 1"
    plain = f"LeCun: {fan(slot)}"
    if role == "q":
        return Choice(filled(slot, loud), f"{plain}; {words}; gain 1/{excess:.4g}")
    chosen = {"q": Choice(loud, f"{plain}; q with gain 1/{excess:.4g}, since {words}")}
    return letters("auto", slot, blocks, lambda letter, _: chosen.get(letter, Choice(LecunNormal(), "k, v gain 1")))


def _linked(slot: Slot, link: Link) -> Choice:
    """A layer of a long chain without norm or skip: orthogonal, its units in mirrored pairs unless f is odd."""
    assert slot.fans is not None
    gain = math.sqrt(link.weight_var)
    windows = [slot.shape[axis] for axis in slot.fans.window_axes]
    inside = link.point is not None and link.before is not None
    # A random kernel is no isometry as an operator; over many layers only one tap keeps every frequency.
    centred = inside and link.depth > SPREAD and math.prod(windows) > 1 and all(size % 2 for size in windows)
    law: Initializer = DeltaOrthogonal(gain, scaled=True) if centred else SUO(gain)
    shape = "orthogonal in the centre of the window" if centred else "orthogonal"
    if link.out or link.into:
        law = Mirrored(law, out=link.out, into=link.into)
    words = f"{fan(slot)}, {shape}, gain {gain:.4g}, in a chain of {link.depth} without norm"
    if link.point is None:
        assert link.before is not None
        return Choice(law, f"{words}, which it ends{f', subtracting pairs of {link.before.name}' if link.into else ''}")
    passes = "linear" if link.point.linear else f"with q = {link.point.q:.3g}, χ = {link.point.chi_perp:.4g}"
    if not link.point.pairs:
        return Choice(law, f"{words}: {link.point.name} follows, {passes}")
    return Choice(
        law, f"{words}: units in mirrored pairs, {link.point.name}(z) − {link.point.name}(−z) passes {passes}"
    )


def _is_quiet_head(slot: Slot) -> bool:
    return slot.is_head and not slot.normalized and slot.nonlinearity in _AT_OUTPUT
