"""What DKS and TAT share: scaled orthogonal weights, and activations shaped for the network they stand in."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from fanin.errors import FaninError, PlanError
from fanin.initializers import SUO, DeltaOrthogonal, VarianceScaling
from fanin.schemes._base import Choice, Scheme, fan, filled
from fanin.schemes._changes import Change
from fanin.schemes._gains import recurrent
from fanin.schemes._kernel_network import KernelNetwork, Place, kernel_network
from fanin.theory.activations import Activation, find, of_op

if TYPE_CHECKING:
    from torch import nn

    from fanin.schemes._base import Context, Example
    from fanin.slots import Slot
    from fanin.theory import Shaping

__all__ = ["ShapingScheme"]


class ShapingScheme(Scheme):
    """Scaled uniform orthogonal weights (in the centre tap of a convolution), biases 0, and shaped activations.

    Sums are normalised where they are read: a map that reads a stream of second moment q has gain q^-½, and an
    activation that reads it has α·q^-½, which is the function that a stream divided by √q would give.
    """

    needs = ("graph",)
    looks_for = "linear maps with activations after them"

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import plain_cnn

        return plain_cnn()

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        mapped = [slot for slot in context.slots.values() if slot.role == "weight" and slot.kind != "recurrent"]
        if all(slot.nonlinearity in (None, "linear", "softmax", "log_softmax") for slot in mapped):
            raise self.missing("none")

    @abstractmethod
    def shape(self, fn: Any, network: KernelNetwork) -> Shaping:
        """The constants for one activation of the network."""

    @abstractmethod
    def homogeneous(self, context: Context) -> bool:
        """Whether the shaped activations keep every second moment instead of giving 1."""

    def network(self, context: Context) -> KernelNetwork:
        """The network as kernels see it."""
        return kernel_network(context, homogeneous=self.homogeneous(context))

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        if slot.kind == "recurrent":
            return recurrent(slot)
        assert slot.fans is not None
        gain, q = self.network(context).gains.get(slot.name, (1.0, 1.0))
        reads = "" if abs(q - 1) < 1e-9 else f", gain {gain:.6g} for inputs of second moment {q:.4g}"
        if not slot.fans.out_axes or not slot.fans.in_axes or slot.kind == "conv_transpose":
            law = VarianceScaling(gain**2, "fan_in", "normal")
            return Choice(filled(slot, law), f"{fan(slot)}: normal, variance 1/fan_in{reads}")
        if slot.fans.window_axes:
            delta = DeltaOrthogonal(gain, scaled=True)
            return Choice(filled(slot, delta), f"SUO-delta: orthogonal centre tap times max(√(out/in), 1){reads}")
        return Choice(filled(slot, SUO(gain)), f"SUO: {fan(slot)}, orthogonal times max(√(out/in), 1){reads}")

    def changes(self, context: Context) -> tuple[Change, ...]:
        """See :class:`Scheme`."""
        network = self.network(context)
        called = [place for place in network.places if not place.module]
        if called:
            raise PlanError(self._cannot(called, context))
        modules: dict[str, list[Place]] = {}
        for place in network.places:
            modules.setdefault(place.module, []).append(place)
        return tuple(self._change(path, places, network, context) for path, places in modules.items())

    def _change(self, path: str, places: list[Place], network: KernelNetwork, context: Context) -> Change:
        q = places[0].q
        if any(abs(place.q - q) > 1e-6 * q for place in places) and not network.homogeneous:
            found = ", ".join(f"{place.q:.4g}" for place in places)
            raise PlanError(
                f"scheme {self.name!r}: {path} is called {len(places)} times, on signals of second moment {found}, "
                "which need other constants each. Give every call a module of its own."
            )
        assert context.model is not None
        shaping = self._shaping(places[0], context.model.get_submodule(path), network, context.memo)
        constants = replace(shaping, input_scale=shaping.input_scale / (1 if network.homogeneous else q**0.5)).constants
        words = "γ·(f(αx + β) + δ), α = {:.6g}, β = {:.6g}, δ = {:.6g}, γ = {:.6g}".format(*constants)
        name = shaping.base if isinstance(_registered(places[0]), Activation) else ""
        return Change(
            path,
            f"{shaping.base} → {words}",
            "replace",
            {"build": partial(_build, base=name, constants=constants)},
        )

    def _shaping(self, place: Place, module: nn.Module, network: KernelNetwork, memo: dict[str, Any]) -> Shaping:
        known = memo.setdefault(f"shapings {self.name}", {})
        fn = _registered(place) or module
        if fn not in known:
            try:
                known[fn] = self.shape(fn, network)
            except FaninError as error:
                raise PlanError(f"scheme {self.name!r}, {place.node.op} at {place.node.place!r}: {error}") from error
        found: Shaping = known[fn]
        return found

    def _cannot(self, places: list[Place], context: Context) -> str:
        """The error of activations that are no modules of their own."""
        assert context.graph is not None
        lines = []
        for place in places:
            owner = context.graph.modules.get(place.node.module, "the model")
            learned = "whose slope is trained; use nn.LeakyReLU" if place.node.op == "prelu" else "called as a function"
            lines.append(f"  {place.node.op} at {place.node.place!r}, in {owner}: {learned}")
        return (
            f"scheme {self.name!r}: {len(places)} of the activations cannot be replaced from outside:\n"
            + "\n".join(lines)
            + "\nMake each a module of its own: self.act = nn.ReLU() (or what it is) in __init__, and self.act(x) in "
            "forward in place of the call."
        )

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        network, found = self.network(context), []
        if network.places:
            ops = ", ".join(dict.fromkeys(place.node.op for place in network.places))
            found.append(
                f"The forward pass still has {len(network.places)} plain activations ({ops}): "
                f"fanin.rewire_(model, inputs, scheme={self.name!r}) shapes them; these weights alone do not."
            )
        if network.beyond:
            few = ", ".join(network.beyond[:3]) + (", …" if len(network.beyond) > 3 else "")
            found.append(
                f"{len(network.beyond)} ops lie outside the theory of kernel maps ({few}); the signal after them is "
                "taken as new, of second moment 1."
            )
        return tuple(found)


def _registered(place: Place) -> Activation | None:
    attrs = {key: value for key, value in place.node.attrs.items() if isinstance(value, (int, float, str))}
    found = of_op(place.node.op, attrs)
    return found if isinstance(found, Activation) else None


def _build(old: nn.Module, *, base: str, constants: tuple[float, float, float, float]) -> nn.Module:
    from torch import nn

    from fanin.schemes._shaped import ShapedActivation

    found = find(base) if base else None
    inner = old
    if found is not None and found.name == "leaky_relu":
        inner = nn.LeakyReLU(found.parameters["negative_slope"])
    elif getattr(old, "inplace", False) is True:
        inner = copy.deepcopy(old)
        inner.inplace = False  # type: ignore[assignment]
    return ShapedActivation(inner, base, *constants)
