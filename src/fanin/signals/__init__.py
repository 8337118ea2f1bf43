"""Signal: what flows through one place of a network, measured or predicted; forward or backward."""

from fanin.signals._signal import BINS as BINS
from fanin.signals._signal import Histogram as Histogram
from fanin.signals._signal import Signal as Signal
from fanin.signals._signal import Signals as Signals

__all__ = ["BINS", "Histogram", "Signal", "Signals"]
