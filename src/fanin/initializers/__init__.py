"""Initializers: frozen values that say what one tensor may start as. One file each; one line here each."""

from fanin.initializers._base import REGISTRY as REGISTRY
from fanin.initializers._base import Initializer as Initializer
from fanin.initializers.normal import Normal as Normal

for _initializer in (Normal,):
    REGISTRY.add(_initializer.__name__, _initializer)
