"""A cloud of canned replies that writes down what it is sent, for tests of request shapes and of decoding.

aioresponses replaces ``ClientSession._request``, so that middlewares, and with them credentials, are not seen here.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Self

import aiohttp
import attrs
from yarl import URL

from ioto_async.testing import aioresponses

__all__ = ["ACCOUNT", "API", "TOKEN", "Cloud", "Sent"]

API = "https://cloud.example"
ACCOUNT = "01ACCOUNT"
TOKEN = "01TOKEN"


@attrs.frozen
class Sent:
    """One request, as it was handed to aiohttp."""

    method: str
    url: str
    """As on the wire, before aioresponses sorts the query."""
    headers: Mapping[str, str]
    body: Any
    """The JSON value."""
    data: bytes
    content_type: str
    options: Mapping[str, Any]
    """All keyword arguments of ``ClientSession.post``."""


class Cloud(aioresponses):
    """Answers every POST with ``reply``, and keeps the requests in ``sent``."""

    def __init__(self, reply: bytes = b"{}") -> None:
        super().__init__()
        self.sent: list[Sent] = []
        self.reply = reply

    def __enter__(self) -> Self:
        self.start()
        return self

    def begin(self, reply: bytes) -> None:
        """Forget what was sent so far, and answer with *reply* from here on."""
        self.sent.clear()
        self.reply = reply

    async def _request_mock(
        self,
        orig_self: aiohttp.ClientSession,
        method: str,
        url: URL | str,
        *args: Any,
        **kwargs: Any,
    ) -> aiohttp.ClientResponse:
        payload: aiohttp.payload.Payload = kwargs["data"]
        data = await payload.as_bytes()
        headers: Mapping[str, str] = kwargs["headers"]
        self.sent.append(Sent(method, str(url), headers, json.loads(data), data, payload.content_type, kwargs))
        self.post(re.compile(".*", re.DOTALL), body=self.reply)
        return await super()._request_mock(orig_self, method, url, *args, **kwargs)

    @property
    def only(self) -> Sent:
        """The one request that was sent."""
        (sent,) = self.sent
        return sent
