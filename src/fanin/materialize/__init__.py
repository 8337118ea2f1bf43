"""Materialize: the only layer that writes weights. The package can be called: ``fanin.materialize(model, …)``."""

from fanin._callable import make_callable
from fanin.materialize._fill import fill_ as fill_
from fanin.materialize._materialize import materialize as materialize
from fanin.materialize._tensor import check_writable as check_writable
from fanin.materialize._tensor import fill_law_ as fill_law_
from fanin.materialize._tensor import put as put
from fanin.materialize._write import write as write

__all__ = ["check_writable", "fill_", "fill_law_", "materialize", "put", "write"]

make_callable(__name__, materialize)
