"""The assumptions that this package is built on, and the checks that tell whether they hold at a real cloud."""

from .assumption import Assumption, Check, table
from .service import accounts, database, devices, files, metrics
from .surroundings import others
from .wire import replies, requests

__all__ = ["ASSUMPTIONS", "Assumption", "Check"]

ASSUMPTIONS = table(requests(), replies(), accounts(), devices(), files(), database(), metrics(), others())
"""Every assumption, by its number."""
