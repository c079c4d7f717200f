"""What a reply that is no success says: its text, its error and what became of the request; pure decisions."""

import html
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import attrs
import orjson

from ..codec import lenient
from ..codec.words import says_not_found, words_of
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

__all__ = ["Refusal", "parse_refusal"]

_REDIRECT: Final = "redirect to {location}: check the endpoint"
"""What is said of a redirect, as none is followed."""
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_REFUSED: Final = ("TooManyRequestsException", "RequestTimeout")
"""Names of errors that mean refused without work, whatever the status is: Cognito's for 429, and S3's for 408."""
_BAD: Final = (400, 422)
"""Refusals of a request as it is: the documents have 400, and 422 is what others use for a member that does not fit."""
_SAYS_WHY: Final = range(400, 500)
_OF_ACCESS: Final = (401, 403, 408, 429)
"""Refusals that are not about a record, whatever their words are."""

_HTML: Final = re.compile(r"<(!doctype\s+html|html|head|body|center|h1)\b", re.IGNORECASE)
_HTML_BEGINS: Final = 2000
"""Characters in which a page of HTML shows that it is one."""
_TAG: Final = re.compile(r"<[^<>]*>")
_CDATA: Final = "<![CDATA["
_TITLES: Final = ("title", "h1", "h2")
"""Elements of an HTML page that say what it is about."""
_MESSAGES: Final = ("message", "faultstring", "description", "detail", "reason", "text", "error", "title")
"""Elements of an XML document that say what has failed; the most telling ones first."""


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
    not_found: bool = False
    """Whether the service says that what the request is about is not there."""

    def failed(self, operation: str, error: type[StatusError] | None = None) -> Failed:
        """The failure of *operation* that it is; its *error* follows from the status unless it is given."""
        cls = error or _error_of(self.status, not_found=self.not_found)
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
    redirect: str | None = None,
) -> Refusal:
    """Read a reply that is no success.

    Args:
        status: its HTTP status.
        reason: the text beside that.
        headers: its headers; names in any case.
        data: its body, or the beginning of that.
        mask: takes secrets out of a text.
        now: gives the present, for a ``Retry-After`` that is a date where the reply has no date of its own; aware.
        redirect: what to say of a redirect, if not the usual; may show its ``{location}``.
    """
    if status in _REDIRECTS:
        code, text = "", (redirect or _REDIRECT).format(location=headers.get("Location", "nowhere"))
    else:
        code, text = _parse_body(data, reason)
    # Masked before they are cut, as a part of a token would not be found.
    shown = (one_line(mask(words)) for words in (": ".join(filter(None, (code, text))), reason or "", "no text"))
    message = next(filter(None, shown))
    not_found = status in _SAYS_WHY and status not in _OF_ACCESS and says_not_found(text)
    retry_after = parse_retry_after(headers.get("Retry-After"), headers.get("Date"), now)
    failure = Failure.REFUSED if code in _REFUSED else failure_of_status(status, retry_after)
    return Refusal(status, code, message, retry_after, failure, not_found)


def _parse_body(data: bytes, reason: str | None) -> tuple[str, str]:
    """Name and text of the error: the service itself answers plain text or JSON, S3 XML, a proxy HTML or XML."""
    text = data.decode("utf-8-sig", "replace").strip()
    if text[:1] in ("{", "[", '"'):
        try:
            return _parse_json(_loads(text), text)
        except ValueError:
            return "", text
    if text.startswith("<"):
        if _HTML.search(text, 0, _HTML_BEGINS):
            title = _TAG.sub(" ", _element(_TITLES, text))
            return "", f"an HTML page: {title}" if title else f"an HTML page ({reason})"
        code, message = _element(("code",), text, has_parts=False), _element(_MESSAGES, text, has_parts=False)
        return (code, message) if code or message else ("", f"an XML document ({reason})")
    return "", text


def _loads(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return lenient.loads(text.encode("utf-8", "replace"))


def _parse_json(reply: Any, text: str) -> tuple[str, str]:
    if not isinstance(reply, dict):
        return "", words_of(reply) or (text if reply else "")
    # Cognito may put a namespace in front of the name.
    code = reply.pop("__type", None)
    return code.rpartition("#")[2] if isinstance(code, str) else "", words_of(reply)


def _element(names: Iterable[str], text: str, *, has_parts: bool = True) -> str:
    """What is in the first element of *text* that has one of the *names*, whatever its namespace and its case.

    Without *has_parts* an element that is made of others is not meant.
    """
    for name in names:
        start = re.search(rf"<(?:[\w.-]+:)?{name}(?:\s[^<>]*)?>", text, re.IGNORECASE)
        if start is not None:
            end = re.compile(rf"</(?:[\w.-]+:)?{name}\s*>", re.IGNORECASE).search(text, start.end())
            inner = text[start.end() : end.start() if end else None].strip()
            if inner.startswith(_CDATA):
                return inner.removeprefix(_CDATA).partition("]]>")[0]
            if inner and (has_parts or not _TAG.search(inner)):
                return html.unescape(inner)
    return ""


def _error_of(status: int, *, not_found: bool) -> type[StatusError]:
    if not_found:
        return NotFoundError
    if status in _BAD:
        return BadRequestError
    if status in (401, 403):
        return AuthenticationError
    if status == 429:
        return RateLimitedError
    return ServiceError if status >= 500 else UnexpectedStatusError
