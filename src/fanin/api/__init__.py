"""The public verbs: a few lines each, joining the layers below."""

from fanin.api._check import assert_healthy as assert_healthy
from fanin.api._check import check as check
from fanin.api._plan import init_ as init_
from fanin.api._plan import plan as plan

__all__ = ["assert_healthy", "check", "init_", "plan"]
