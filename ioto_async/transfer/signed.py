"""A signed URL: what may be shown of it, and what its host answers."""

import base64
import binascii
import html
import re
from datetime import UTC, datetime
from typing import Final

import aiohttp
from yarl import URL

from ..errors import DecodeError, InvalidArgumentError, NotFoundError, one_line
from ..settings import check_signed_url
from ..transport.attempt import Failed, error_class, read_up_to
from ..transport.pool import Pool
from ..transport.retry import failure_of_status, parse_retry_after

__all__ = ["REPLY_LIMIT", "SignedURL", "refusal", "told_sha256"]

REPLY_LIMIT: Final = 1 << 16
"""Bytes of a reply that are read where it is not the file itself."""
_TELLING: Final = 8
"""Characters of a part of a URL that is looked for in texts; shorter ones are in every text."""


class SignedURL:
    """A signed URL, and the ways in which a text may show it."""

    def __init__(self, url: URL) -> None:
        self.url = url
        values = {word.partition("=")[2] for word in url.raw_query_string.split("&")} | {*url.query.values()}
        whole = {str(url), url.raw_path_qs, url.raw_query_string, url.query_string}
        self._secrets = sorted(
            (text for text in whole | values | {*url.raw_parts} if len(text) >= _TELLING), key=len, reverse=True
        )

    def mask(self, text: str) -> str:
        """*text* without what would let others use the URL."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    @classmethod
    def of(cls, operation: str, url: str, pool: Pool) -> "SignedURL":
        """What *operation* was given.

        Raises:
            DecodeError: it is no URL, or one that it would not be safe to follow.
        """
        try:
            return cls(check_signed_url(url, allow_http=pool.allow_http))
        except InvalidArgumentError as error:
            raise DecodeError(f"the signed URL: {error}", operation=operation) from None


async def refusal(operation: str, response: aiohttp.ClientResponse, url: SignedURL) -> Failed:
    """Read a reply that is no success and sort it."""
    status = response.status
    try:
        data = await read_up_to(response, REPLY_LIMIT)
    except (aiohttp.ClientError, OSError):
        data = b""  # the status has said it already
    retry_after = parse_retry_after(response.headers.get("Retry-After"), lambda: datetime.now(UTC))
    message = one_line(url.mask(_text(data, response)))
    cls = NotFoundError if status == 404 else error_class(status, message)
    error = cls(message, operation=operation, status=status, retry_after=retry_after)
    return Failed(error, failure_of_status(status, retry_after))


def _text(data: bytes, response: aiohttp.ClientResponse) -> str:
    """What S3 says in XML, or another server in plain text."""
    if 300 <= response.status < 400:
        return "a redirect, which a signed URL does not follow"
    text = data.decode("utf-8", "replace").strip()
    if text.startswith("<"):
        found = (re.search(f"<{name}>([^<]*)</{name}>", text) for name in ("Code", "Message"))
        text = ": ".join(html.unescape(match[1]) for match in found if match)
    return text or response.reason or "no text"


def told_sha256(response: aiohttp.ClientResponse) -> str | None:
    """The checksum of the file as S3 tells it, in hex; None for one of a file in parts, which is not over its bytes."""
    try:
        data = base64.b64decode(response.headers.get("x-amz-checksum-sha256", ""), validate=True)
    except binascii.Error:
        return None
    return data.hex() if len(data) == 32 else None
