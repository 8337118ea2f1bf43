"""The compiled kernel: fills at the speed of memory and one-pass statistics; absent where no compiler was found."""

from fanin.native._fill import available as available
from fanin.native._fill import backends as backends
from fanin.native._fill import fill as fill
from fanin.native._fill import fill_rows as fill_rows
from fanin.native._fill import philox4x32 as philox4x32
from fanin.native._library import KINDS as KINDS
from fanin.native._library import PlanStruct as PlanStruct
from fanin.native._stats import Stats as Stats
from fanin.native._stats import dead_units as dead_units
from fanin.native._stats import histogram as histogram
from fanin.native._stats import row_products as row_products
from fanin.native._stats import stats as stats

__all__ = [
    "KINDS",
    "PlanStruct",
    "Stats",
    "available",
    "backends",
    "dead_units",
    "fill",
    "fill_rows",
    "histogram",
    "philox4x32",
    "row_products",
    "stats",
]
