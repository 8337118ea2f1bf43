"""The command line. One file per command, whose docstring is its help; everything heavy is imported inside ``run``."""

from fanin.cli import check as check
from fanin.cli import demo as demo
from fanin.cli import explain as explain
from fanin.cli import gain as gain
from fanin.cli import init as init
from fanin.cli import initializers as initializers
from fanin.cli import plan as plan
from fanin.cli import rules as rules
from fanin.cli import schemes as schemes
from fanin.cli._main import main as main

__all__ = ["main"]
