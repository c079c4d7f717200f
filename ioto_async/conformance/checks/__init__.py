"""The checks: the function that is named as the number of an assumption, ``a18`` for ``A18``, checks it."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from ..finding import Finding
from ..probe import Probe
from . import database, devices, metrics, refusals, replies, service

__all__ = ["CHECKS"]

CHECKS: Final[Mapping[str, Callable[[Probe], Awaitable[Finding]]]] = MappingProxyType(
    {
        name.upper(): function
        for module in (refusals, replies, service, devices, database, metrics)
        for name, function in vars(module).items()
        if name[:1] == "a" and name[1:].isdecimal()
    }
)
"""The check of each assumption that can be checked."""
