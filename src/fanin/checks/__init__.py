"""Checks: rules with codes that read the evidence and return findings. One file each; one line here each.

Nothing here imports torch when it is imported, so that explaining a rule is instant.
"""

from fanin.checks._base import REGISTRY as REGISTRY
from fanin.checks._base import Evidence as Evidence
from fanin.checks._base import Rule as Rule
from fanin.checks._base import rules as rules
from fanin.checks._finding import Finding as Finding
from fanin.checks._finding import Outcome as Outcome
from fanin.checks._run import run as run

__all__ = ["REGISTRY", "Evidence", "Finding", "Outcome", "Rule", "rules", "run"]
