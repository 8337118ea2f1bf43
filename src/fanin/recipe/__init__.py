"""Recipe: an ordered plan, parameter name → initializer and the reason; nothing random, no tensor."""

from fanin.recipe._recipe import Kept as Kept
from fanin.recipe._recipe import Line as Line
from fanin.recipe._recipe import Recipe as Recipe

__all__ = ["Kept", "Line", "Recipe"]
