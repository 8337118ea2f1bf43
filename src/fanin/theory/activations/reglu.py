"""ReGLU: relu(g)·u for two branches g and u."""

from __future__ import annotations

from dataclasses import dataclass

from fanin.theory.activations._base import Gated

__all__ = ["ReGLU"]


@dataclass(frozen=True)
class ReGLU(Gated):
    """Gated unit relu(g)·u."""

    name = "reglu"
    aliases = ("ReGLU",)
    gate = "relu"
