"""The ``test`` controller of a device cloud (reference, section 11). Imports ``cloud`` and ``request``."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from ..cloud import Cloud
from ..request import Call

__all__ = ["HANDLERS"]


def ping(cloud: Cloud, call: Call) -> bytes:
    """Give a sign of life, in plain text (wire examples, section 5)."""
    return b"pinged\n"


HANDLERS: Final[Mapping[str, Callable[[Cloud, Call], object]]] = MappingProxyType({"test/ping": ping})
