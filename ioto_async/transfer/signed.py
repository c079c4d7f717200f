"""A signed URL: what may be shown of it, and what its host answers."""

import base64
import binascii
from typing import Final

import aiohttp
from yarl import URL

from ..errors import DecodeError, InvalidArgumentError, NotFoundError
from ..settings import check_signed_url, secret
from ..transport.attempt import read_refusal
from ..transport.deadlines import Deadline
from ..transport.pool import Pool
from ..transport.proxies import Proxy
from ..transport.retry import Failed

__all__ = ["SignedURL", "announced_sha256", "refused"]

_TELLING: Final = 8
"""Characters of a part of a URL that is looked for in texts; shorter ones are in every text."""


class SignedURL:
    """A signed URL, and the forms in which a text may show it.

    Args:
        url: the URL.
        proxy: what it is reached through.
        recorders: the innermost middlewares of the requests to it.
    """

    def __init__(
        self, url: URL, proxy: Proxy | None = None, recorders: tuple[aiohttp.ClientMiddlewareType, ...] = ()
    ) -> None:
        self.url = url
        self.proxy = proxy
        self.recorders = recorders
        values = {word.partition("=")[2] for word in url.raw_query_string.split("&")} | {*url.query.values()}
        whole = {str(url), url.raw_path_qs, url.raw_query_string, url.query_string}
        self._secrets = sorted(
            (text for text in whole | values | {*url.raw_parts} if len(text) >= _TELLING), key=len, reverse=True
        )

    def mask(self, text: str) -> str:
        """*text* without what would let others use the URL."""
        for part in self._secrets:
            text = text.replace(part, "***")
        return text

    @classmethod
    def of(cls, operation: str, url: str, pool: Pool) -> "SignedURL":
        """What *operation* was given.

        Raises:
            DecodeError: it is no URL, or one that it would not be safe to follow.
        """
        url = secret(url)
        try:
            parsed = check_signed_url(url, allow_http=pool.allow_http)
        except InvalidArgumentError as error:
            raise DecodeError(f"the signed URL: {error}", operation=operation) from None
        return cls(parsed, pool.proxy_of(parsed), pool.recorders("files"))


async def refused(operation: str, response: aiohttp.ClientResponse, url: SignedURL, deadline: Deadline) -> Failed:
    """Read a reply that is no success, before the *deadline* of the attempt."""
    # A redirect may show a signature of its own.
    redirect = "a redirect, which a signed URL does not follow"
    refusal = await read_refusal(response, url.mask, redirect, deadline)
    return refusal.failed(operation, NotFoundError if refusal.status == 404 else None)


def announced_sha256(response: aiohttp.ClientResponse) -> str | None:
    """SHA-256 of the file as S3 announces it, in hex; None for that of a file in parts, which is not over its bytes."""
    try:
        data = base64.b64decode(response.headers.get("x-amz-checksum-sha256", ""), validate=True)
    except binascii.Error:
        return None
    return data.hex() if len(data) == 32 else None
