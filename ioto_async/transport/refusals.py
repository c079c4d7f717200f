"""What a reply that is no success says: its text, its error and what became of the request; pure decisions."""

import contextlib
import html
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import attrs
import orjson

from ..errors import (
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    RateLimitedError,
    ServiceError,
    StatusError,
    UnexpectedStatusError,
    one_line,
)
from .retry import Failed, Failure, failure_of_status, parse_retry_after

__all__ = ["REDIRECT", "Refusal", "parse_refusal"]

REDIRECT: Final = "redirect to {location}: check the endpoint"
"""What is said of a redirect, as none is followed."""
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_REFUSED: Final = ("TooManyRequestsException", "RequestTimeout")
"""Names of errors that mean 429 or 408, whatever the status is: Cognito's and S3's."""


@attrs.frozen
class Refusal:
    """A reply with a status other than 2xx."""

    status: int
    """The HTTP status."""
    code: str
    """The service's own name of the error, as S3 and Cognito give one; empty where there is none."""
    message: str
    """What the service says, name and text, without secrets in one printable line."""
    retry_after: float | None
    """Seconds that the service asks to wait, if it does."""
    failure: Failure
    """What is known of the request."""

    def failed(self, operation: str, error: type[StatusError] | None = None) -> Failed:
        """The failure of *operation* that it is; its *error* follows from the status unless it is given."""
        cls = error or _error_of(self.status, self.message)
        return Failed(
            cls(self.message, operation=operation, status=self.status, retry_after=self.retry_after), self.failure
        )


def parse_refusal(
    status: int,
    reason: str | None,
    headers: Mapping[str, str],
    data: bytes,
    *,
    mask: Callable[[str], str],
    now: Callable[[], datetime],
    redirect: str = REDIRECT,
) -> Refusal:
    """Read a reply that is no success.

    Args:
        status: its HTTP status.
        reason: the text beside that.
        headers: its headers; names in any case.
        data: its body, or the beginning of that.
        mask: takes secrets out of a text.
        now: gives the present, for a ``Retry-After`` that is a date where the reply has no date of its own; aware.
        redirect: what to say of a redirect; may show its ``{location}``.
    """
    if status in _REDIRECTS:
        code, text = "", redirect.format(location=headers.get("Location", "nowhere"))
    else:
        code, text = _parse_body(data, reason)
    # Masked before they are cut, as a part of a token would not be found.
    shown = (one_line(mask(words)) for words in (": ".join(filter(None, (code, text))), reason or "", "no text"))
    message = next(filter(None, shown))
    retry_after = parse_retry_after(headers.get("Retry-After"), headers.get("Date"), now)
    failure = Failure.REFUSED if code in _REFUSED else failure_of_status(status, retry_after)
    return Refusal(status, code, message, retry_after, failure)


def _parse_body(data: bytes, reason: str | None) -> tuple[str, str]:
    """Name and text of the error: the service itself answers plain text or JSON, S3 XML, a proxy HTML."""
    text = data.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        with contextlib.suppress(orjson.JSONDecodeError):
            return _parse_json(orjson.loads(text))
    if text.startswith("<"):
        code, message = (_element(name, text) for name in ("Code", "Message"))
        return (code, message) if code or message else ("", f"an HTML page ({reason})")
    return "", text


def _parse_json(reply: Mapping[str, object]) -> tuple[str, str]:
    # Cognito may put a namespace in front of the name.
    code = str(reply.get("__type") or "").rpartition("#")[2]
    return code, str(reply.get("message") or reply.get("Message") or "")


def _element(name: str, text: str) -> str:
    found = re.search(f"<{name}>([^<]*)</{name}>", text)
    return html.unescape(found[1]) if found else ""


def _error_of(status: int, message: str) -> type[StatusError]:
    if status == 400:
        return NotFoundError if message.lower().startswith("cannot find ") else BadRequestError
    if status in (401, 403):
        return AuthenticationError
    if status == 429:
        return RateLimitedError
    return ServiceError if status >= 500 else UnexpectedStatusError
