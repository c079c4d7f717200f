"""aioresponses, made to work with the aiohttp that is installed."""

import inspect
from typing import Any, Final
from unittest.mock import Mock, patch

import aiohttp
import aioresponses as library
from yarl import URL

__all__ = ["aioresponses"]

_HAS_STREAM_WRITER: Final = "stream_writer" in inspect.signature(aiohttp.ClientResponse.__init__).parameters


class _Response(aiohttp.ClientResponse):
    """From aiohttp 3.14 on, a response wants a ``stream_writer``, which aioresponses does not give."""

    def __init__(self, method: str, url: URL, **rest: Any) -> None:
        if _HAS_STREAM_WRITER:
            rest.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(method, url, **rest)


class aioresponses(library.aioresponses):  # noqa: N801  as there
    """``aioresponses`` of the package of that name, for any aiohttp: canned replies to all requests of the process.

    ::

        with aioresponses() as replies:
            replies.post("https://cloud.example/tok/device/get", payload={"id": "M72DANY8BZ"})
            await client.device.get("M72DANY8BZ")

    It takes the place of ``ClientSession._request``, so that middlewares, and with them credentials, have no part in
    it. The body of a request is an `aiohttp.payload.Payload`: ``replies.requests[…][0].kwargs["data"].decode()``.
    """

    def start(self) -> None:
        """Take over."""
        self._class = patch("aioresponses.core.ClientResponse", _Response)
        self._class.start()
        super().start()

    def stop(self) -> None:
        """Let requests go out again."""
        super().stop()
        self._class.stop()
