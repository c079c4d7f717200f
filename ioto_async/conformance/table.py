"""The one table of all assumptions."""

from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType
from typing import Final

from .assumption import Assumption
from .others import others
from .service import accounts, database, devices, files, metrics
from .wire import replies, requests

__all__ = ["ASSUMPTIONS"]

ASSUMPTIONS: Final[Mapping[str, Assumption]] = MappingProxyType(
    {
        each.number: each
        for each in chain(requests(), replies(), accounts(), devices(), files(), database(), metrics(), others())
    }
)
"""Every assumption, by its number."""
