"""The body of a request, which knows whether the request went out. Imports aiohttp only."""

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

__all__ = ["RequestBody"]


class RequestBody(Payload):
    """JSON bytes, made once and sent by every attempt's middlewares as often as they like.

    Attributes:
        sent: whether it has begun to go out: the difference between *never* and *maybe*.
        in_doubt: whether it has, and no reply says what became of it.
    """

    _autoclose = True  # there is nothing to close

    def __init__(self, data: bytes) -> None:
        super().__init__(data, content_type="application/json")
        self._size = len(data)
        self.sent = False
        self.in_doubt = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text, for middlewares that look at it."""
        return str(self._value, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body."""
        self.sent = self.in_doubt = True
        await writer.write(self._value)
