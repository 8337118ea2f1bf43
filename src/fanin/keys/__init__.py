"""Keys: counter-based randomness. Element i of a tensor depends on (seed, parameter name, i) alone."""

from fanin.keys._fill import backend as backend
from fanin.keys._fill import backends as backends
from fanin.keys._fill import fill as fill
from fanin.keys._fill import fill_rows as fill_rows
from fanin.keys._fill import sample as sample
from fanin.keys._key import Key as Key
from fanin.keys._law import Law as Law

__all__ = ["Key", "Law", "backend", "backends", "fill", "fill_rows", "sample"]
