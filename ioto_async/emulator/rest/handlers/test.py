"""The ``test`` controller of a device cloud (reference, section 11)."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from ...request import Call
from ...state.cloud import Cloud

__all__ = ["HANDLERS"]


def ping(cloud: Cloud, call: Call) -> bytes:
    """Give a sign of life, in plain text (wire examples, section 5)."""
    return b"pinged\n"


HANDLERS: Final[Mapping[str, Callable[[Cloud, Call], object]]] = MappingProxyType({"test/ping": ping})
