"""The public verbs: a few lines each, joining the layers below."""

from fanin.api._check import assert_healthy as assert_healthy
from fanin.api._check import check as check
from fanin.api._init import Started as Started
from fanin.api._init import init_ as init_
from fanin.api._init import start as start
from fanin.api._plan import plan as plan
from fanin.api._rewire import Rewired as Rewired
from fanin.api._rewire import rewire_ as rewire_

__all__ = ["Rewired", "Started", "assert_healthy", "check", "init_", "plan", "rewire_", "start"]
