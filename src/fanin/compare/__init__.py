"""Compare: train models and record how it went."""

from fanin.compare._train import Curve as Curve
from fanin.compare._train import train as train

__all__ = ["Curve", "train"]
