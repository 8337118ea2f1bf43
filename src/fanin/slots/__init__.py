"""Slots: the places that the parameters of a model occupy. The only package that asks what kind a module is."""

from fanin.slots._find import find as find
from fanin.slots._slot import Part as Part
from fanin.slots._slot import Slot as Slot
from fanin.slots._slot import Slots as Slots

__all__ = ["Part", "Slot", "Slots", "find"]
