"""Figures: each file computes plain values from records (``data``) and turns them into a Vega-Lite spec (``draw``)."""

from fanin.report.figures import activations as activations
from fanin.report.figures import correlation as correlation
from fanin.report.figures import correlation_map as correlation_map
from fanin.report.figures import gradients as gradients
from fanin.report.figures import heatmap as heatmap
from fanin.report.figures import histograms as histograms
from fanin.report.figures import jacobian as jacobian
from fanin.report.figures import phase as phase
from fanin.report.figures import plan as plan
from fanin.report.figures import race as race
from fanin.report.figures import silent as silent
from fanin.report.figures import updates as updates
from fanin.report.figures import variance as variance
from fanin.report.figures import weights as weights
from fanin.report.figures._base import REGISTRY as REGISTRY
from fanin.report.figures._base import Kind as Kind
from fanin.report.figures._figure import Figure as Figure
from fanin.report.figures._figure import figure as figure
from fanin.report.figures._figure import names as names
from fanin.report.figures._theme import THEMES as THEMES

__all__ = ["REGISTRY", "THEMES", "Figure", "Kind", "figure", "names"]
