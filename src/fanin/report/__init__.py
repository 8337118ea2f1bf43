"""Report: draws records and decides nothing. It never imports torch."""

from fanin.report._chart import line_chart as line_chart
from fanin.report._glyphs import decades as decades
from fanin.report._glyphs import dot as dot
from fanin.report._glyphs import number as number
from fanin.report._glyphs import sparkline as sparkline
from fanin.report._glyphs import spread as spread
from fanin.report._places import Place as Place
from fanin.report._places import places as places
from fanin.report._race import show_race as show_race
from fanin.report._recipe_table import show_recipe as show_recipe
from fanin.report._report import Report as Report
from fanin.report._screen import Screen as Screen
from fanin.report._terminal import show_report as show_report
from fanin.report._terminal import verdict as verdict
from fanin.report._weights import WeightStats as WeightStats
from fanin.report._weights import measure_weights as measure_weights

__all__ = [
    "Place",
    "Report",
    "Screen",
    "WeightStats",
    "decades",
    "dot",
    "line_chart",
    "measure_weights",
    "number",
    "places",
    "show_race",
    "show_recipe",
    "show_report",
    "sparkline",
    "spread",
    "verdict",
]
