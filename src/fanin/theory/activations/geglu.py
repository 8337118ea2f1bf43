"""GEGLU: gelu(g)·u for two branches g and u."""

from __future__ import annotations

from dataclasses import dataclass

from fanin.theory.activations._base import Gated

__all__ = ["GEGLU"]


@dataclass(frozen=True)
class GEGLU(Gated):
    """Gated unit gelu(g)·u."""

    name = "geglu"
    aliases = ("GEGLU",)
    gate = "gelu"
