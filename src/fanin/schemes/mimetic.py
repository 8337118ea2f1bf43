"""mimetic: self-attention whose products of queries and keys, and of values and output, look like trained ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fanin.errors import InputError, PlanError
from fanin.initializers import Blocks, LecunNormal, MimeticProjection
from fanin.initializers._base import number
from fanin.schemes._architecture import architecture
from fanin.schemes._base import Choice, Scheme
from fanin.schemes._gains import by_nonlinearity, recurrent
from fanin.schemes._surroundings import surroundings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fanin.fans import Fans
    from fanin.initializers import Initializer
    from fanin.schemes._architecture import Architecture
    from fanin.schemes._attention import Attention
    from fanin.schemes._base import Context, Example
    from fanin.slots import Slot

__all__ = ["Mimetic"]

_KIND = {"q": "query", "k": "key", "v": "value", "o": "output"}


@dataclass(frozen=True)
class _Joint:
    """The maps of one attention that are drawn together.

    Args:
        pair: name of the draw.
        maps: letter → weight.
        head_dim: letter → length of a head, for those that have a joint draw.
        heads: query heads.
        kv_heads: key and value heads.
        width: features of the stream.
    """

    pair: str
    maps: dict[str, Slot]
    head_dim: dict[str, int]
    heads: int
    kv_heads: int
    width: int


class Mimetic(Scheme):
    """W_Q W_Kᵀ ≈ a·Z + b·I in each head and W_V W_O ≈ c·Z + d·I, Z ~ N(0, 1/width); all other maps by what follows.

    Tokens then attend to those like themselves, and the branch subtracts a part of what it read, as in trained vision
    transformers. Published for small data with sinusoidal positions. Attention to another signal is left to the other
    rule, and so is a pair whose heads are wider than the stream.

    Args:
        query_key: (a, b).
        value_output: (c, d).
        vision: False changes the sign of b and d, as the authors found them in a pretrained GPT-2.

    Source: Trockman & Kolter, ICML 2023.
    """

    name = "mimetic"
    title = "self-attention with W_Q W_Kᵀ near the identity and W_V W_O near its negative; the rest by what follows"
    source = "Trockman & Kolter, ICML 2023"
    needs = ("graph",)
    looks_for = "self-attention whose queries, keys and values each come from one linear map"

    def __init__(
        self,
        query_key: tuple[float, float] = (0.7, 0.7),
        value_output: tuple[float, float] = (0.4, -0.4),
        vision: bool = True,
    ) -> None:
        if not isinstance(vision, bool):
            raise InputError.of("vision", vision, "True or False", "scheme 'mimetic'")
        self.query_key = _pair("query_key", query_key, 1 if vision else -1)
        self.value_output = _pair("value_output", value_output, 1 if vision else -1)
        self.vision = vision

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import transformer

        return transformer()

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        if not self._joint(context):
            found = architecture(context)
            count = len(found.attentions) if found is not None else 0
            raise self.missing(f"{count} attentions, none of that form" if count else "none")

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        joints = [joint for joint in self._joint(context) if any(slot.name == m.name for m in joint.maps.values())]
        if not joints:
            return recurrent(slot) if slot.kind == "recurrent" else by_nonlinearity(slot, surroundings(context))
        joint = joints[0]  # a weight that several attentions share is drawn for the first
        letters = [letter for letter, held in joint.maps.items() if held.name == slot.name]
        assert slot.fans is not None
        reason = "; ".join(dict.fromkeys(self._reason(letter, joint) for letter in letters))
        if len(letters) == 1:
            return Choice(self._law(letters[0], joint, 0), reason)
        blocks = architecture(context)
        order = _order(blocks, slot) if blocks is not None else []
        parts: list[tuple[str, int, Initializer, Fans]] = []
        for index, (letter, rows) in enumerate(order):
            before = [count for other, count in order[:index] if other == letter]
            name = letter if len(order) == len(letters) else f"{letter}{len(before)}"
            law = self._law(letter, joint, sum(before)) if letter in joint.head_dim else LecunNormal()
            parts.append((name, rows, law, replace(slot.fans, fan_out=rows)))
        return Choice(Blocks(slot.fans.out_axes[0], parts), reason)

    def _law(self, letter: str, joint: _Joint, row: int) -> MimeticProjection:
        """The initializer of a map, of which ``row`` rows stand elsewhere."""
        noise, identity = self.query_key if letter in "qk" else self.value_output
        return MimeticProjection(
            _KIND[letter],
            joint.head_dim[letter],
            joint.heads,
            None if joint.kv_heads == joint.heads else joint.kv_heads,
            noise,
            identity,
            joint.pair,
            row // joint.head_dim[letter],
        )

    def _reason(self, letter: str, joint: _Joint) -> str:
        if letter not in joint.head_dim:
            return "values: LeCun, as no map of the fitting size reads the result"
        noise, identity = self.query_key if letter in "qk" else self.value_output
        product = "W_Q W_Kᵀ of each head" if letter in "qk" else "W_V W_O"
        shared = f", {joint.heads} query heads on {joint.kv_heads}" if joint.heads != joint.kv_heads else ""
        sign = "+" if identity >= 0 else "−"
        return f"mimetic: {product} ≈ {noise:g}·Z {sign} {abs(identity):g}·I, width {joint.width}{shared}"

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        found = []
        words = [slot.name for slot in context.slots.values() if slot.role == "embedding"]
        if self.vision and words:
            found.append(
                f"Tokens are looked up in {words[0]}: for language models vision=False takes the signs that trained "
                "ones have."
            )
        blocks = architecture(context)
        left = len(blocks.attentions) - len(self._joint(context)) if blocks is not None else 0
        if left:
            found.append(f"{left} attentions attend to another signal, or their maps are not one each: not changed.")
        return tuple(found)

    def _joint(self, context: Context) -> list[_Joint]:
        """The attentions that can be drawn, worked out once."""
        if "mimetic" not in context.memo:
            blocks = architecture(context)
            assert blocks is not None
            found = [_joint(attention, blocks) for attention in blocks.attentions if not attention.crossed]
            context.memo["mimetic"] = [joint for joint in found if joint is not None]
        return context.memo["mimetic"]  # type: ignore[no-any-return]


def _pair(name: str, value: tuple[float, float], sign: int) -> tuple[float, float]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InputError.of(name, value, "two numbers, of the noise and of the identity", "scheme 'mimetic'")
    noise, identity = value
    owner = "scheme 'mimetic'"
    return number(owner, name, noise, low=0, strict=True), sign * number(owner, name, identity)


def _joint(attention: Attention, blocks: Architecture) -> _Joint | None:
    """The maps of an attention; None where queries, keys or values do not come from one map each."""
    sides = {"q": attention.query, "k": attention.key, "v": attention.value}
    maps: dict[str, Slot] = {}
    for letter, nodes in sides.items():
        held = _weights(nodes, blocks)
        if len(held) != 1:
            return None
        maps[letter] = held[0]
    rows = {letter: _rows(letter, maps, blocks) for letter in "qkv"}
    width, head_dim = _inputs(maps["q"]), attention.head_dim
    if any(_inputs(slot) != width for slot in maps.values()) or rows["q"] % head_dim or rows["k"] % head_dim:
        return None
    heads, kv_heads = rows["q"] // head_dim, rows["k"] // head_dim
    if head_dim > width or not kv_heads or heads % kv_heads or rows["v"] % kv_heads:
        return None
    joint = _Joint(maps["q"].name, maps, {"q": head_dim, "k": head_dim}, heads, kv_heads, width)
    return _with_output(joint, attention, rows["v"], blocks)


def _with_output(joint: _Joint, attention: Attention, rows: int, blocks: Architecture) -> _Joint:
    """The joint with its output map, or without values where no such product exists."""
    out = _weights(attention.out, blocks)
    length = rows // joint.kv_heads
    fits = (
        len(out) == 1
        and _outputs(out[0]) == joint.width
        and _inputs(out[0]) == joint.heads * length
        and rows <= joint.width
        and out[0].name not in {slot.name for slot in joint.maps.values()}
    )
    if fits:
        head_dim = {**joint.head_dim, "v": length, "o": length}
        return replace(joint, maps={**joint.maps, "o": out[0]}, head_dim=head_dim)
    packed = sum(slot.name == joint.maps["v"].name for slot in joint.maps.values()) > 1
    return joint if packed else replace(joint, maps={key: slot for key, slot in joint.maps.items() if key != "v"})


def _weights(nodes: Iterable[int], blocks: Architecture) -> list[Slot]:
    names = dict.fromkeys(
        use.name for id_ in sorted(nodes) for use in blocks.graph.nodes[id_].params if use.name in blocks.slots
    )
    slots = {blocks.slots[name].name: blocks.slots[name] for name in names}
    return [slot for slot in slots.values() if slot.role in ("weight", "embedding")]


def _inputs(slot: Slot) -> int:
    return _size(slot, "in_axes")


def _outputs(slot: Slot) -> int:
    return _size(slot, "out_axes")


def _size(slot: Slot, side: str) -> int:
    """Length of the one in (or out) axis of a plain matrix; 0 for any other weight."""
    fans = slot.fans
    if fans is None or slot.role != "weight" or slot.kind == "recurrent" or len(slot.shape) != 2:
        return 0
    axes = getattr(fans, side)
    return slot.shape[axes[0]] if len(axes) == 1 and not fans.batch_axes else 0


def _rows(letter: str, maps: dict[str, Slot], blocks: Architecture) -> int:
    slot = maps[letter]
    if sum(other.name == slot.name for other in maps.values()) == 1:
        return _outputs(slot)
    return sum(count for other, count in _order(blocks, slot) if other == letter)


def _order(blocks: Architecture, slot: Slot) -> list[tuple[str, int]]:
    """How the maps lie in a packed tensor.

    Raises:
        PlanError: if the run does not tell.
    """
    order = blocks.packing(slot)
    if order is None:
        raise PlanError(
            f"scheme 'mimetic': {slot.name} {slot.shape} makes several of queries, keys and values in one tensor, and "
            f"the run does not tell which rows are which. Pass overrides={{{slot.name!r}: "
            f"fanin.initializers.Blocks(axis, parts)}}, or keep=[{slot.name!r}]."
        )
    return order
