"""Many calls at once: bounded memory, an outcome for each item, and a journal to go on from."""

from .engine import Bulk
from .journal import EarlierError, ForeignJournalError, Journal
from .options import BulkOptions, RunOptions
from .outcome import Outcome, Progress, Status, Summary

__all__ = [
    "Bulk",
    "BulkOptions",
    "EarlierError",
    "ForeignJournalError",
    "Journal",
    "Outcome",
    "Progress",
    "RunOptions",
    "Status",
    "Summary",
]
