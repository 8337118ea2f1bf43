"""SwiGLU: silu(g)·u for two branches g and u."""

from __future__ import annotations

from dataclasses import dataclass

from fanin.theory.activations._base import Gated

__all__ = ["SwiGLU"]


@dataclass(frozen=True)
class SwiGLU(Gated):
    """Gated unit silu(g)·u."""

    name = "swiglu"
    aliases = ("SwiGLU",)
    gate = "silu"
