"""The Test controller: is anybody there (reference, section 11)."""

from typing import Unpack

from ..codec import decoding
from ..operations import IOTO
from ..transport.options import CallOptions
from .base import Controller

__all__ = ["TestController"]


class TestController(Controller):
    """Calls that do nothing. Source: the vendor's bundle, page ``test``."""

    async def ping(self, **options: Unpack[CallOptions]) -> str:
        """Ask the cloud for a sign of life: ``pinged``."""
        return await self._transport.call(IOTO["test/ping"], decoding.text, {}, options)
