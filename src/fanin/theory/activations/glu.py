"""GLU: σ(g)·u for two branches g and u."""

from __future__ import annotations

from dataclasses import dataclass

from fanin.theory.activations._base import Gated

__all__ = ["GLU"]


@dataclass(frozen=True)
class GLU(Gated):
    """Gated unit σ(g)·u."""

    name = "glu"
    aliases = ("GLU",)
    source = "Dauphin et al., 2016"
    gate = "sigmoid"
