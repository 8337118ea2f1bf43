"""Trace: one forward and backward of any eager model, recorded and then undone."""

from fanin._callable import make_callable
from fanin.trace._record import Trace as Trace
from fanin.trace._run import trace as trace

__all__ = ["Trace", "trace"]

make_callable(__name__, trace)
