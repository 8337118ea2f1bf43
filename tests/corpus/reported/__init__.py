"""Reported initialization bugs with mended twins, and healthy models that look odd: builders of small models."""

from . import bugs_heads as bugs_heads
from . import bugs_signals as bugs_signals
from . import bugs_weights as bugs_weights
from . import healthy_language as healthy_language
from . import healthy_vision as healthy_vision
from . import healthy_without_norm as healthy_without_norm
from ._base import BUGS as BUGS
from ._base import HEALTHY as HEALTHY
