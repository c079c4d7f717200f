"""The assumptions that this package is built on, and the checks that tell whether they hold at a real cloud."""

from typing import TYPE_CHECKING, Final

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .assumption import Assumption, Check
    from .finding import Finding, Verdict
    from .report import Report
    from .runner import Run
    from .table import ASSUMPTIONS

__all__ = ["ASSUMPTIONS", "Assumption", "Check", "Finding", "Report", "Run", "Verdict"]

if not TYPE_CHECKING:
    _HOMES: Final = {
        "assumption": "Assumption Check",
        "finding": "Finding Verdict",
        "report": "Report",
        "runner": "Run",
        "table": "ASSUMPTIONS",
    }
    __getattr__ = lazy_names(__name__, _HOMES)
