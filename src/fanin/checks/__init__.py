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
from fanin.checks.w301_symmetric import Symmetric
from fanin.checks.w302_cloned import Cloned
from fanin.checks.w303_unwritten import Unwritten

__all__ = ["REGISTRY", "Evidence", "Finding", "Outcome", "Rule", "rules", "run"]

for _rule in (Symmetric, Cloned, Unwritten):
    REGISTRY.add(_rule.code, _rule, aliases=(_rule.name,))
