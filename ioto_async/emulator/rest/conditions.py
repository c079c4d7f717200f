"""Conditions and ranges of downloads, as S3 has them (RFC 9110, sections 13 and 14): which bytes a request gets."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import attrs
from aiohttp import hdrs

__all__ = ["Failed", "Selection", "select"]

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)", re.IGNORECASE)
_TAGS: Final = re.compile(r'(W/)?("[^"]*")|(\*)')


_NO_HEADERS: Final[Mapping[str, str]] = {}


class Failed(Exception):
    """Ends a request with an error of S3, such as a condition that does not hold (412)."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


@attrs.frozen
class Selection:
    """What the answer has: the status, headers that belong to it, and the bytes from *start* to *stop*."""

    status: int
    start: int
    stop: int
    headers: Mapping[str, str] = attrs.field(factory=dict)


def select(request: Mapping[str, str], size: int, etag: str, modified: int | None = None) -> Selection:
    """Choose what a GET gets.

    Args:
        request: its headers.
        size: of the content, bytes.
        etag: of the content, with its quotes.
        modified: when it was changed last, epoch seconds; None if that is not told.

    Raises:
        Failed: an error is to be told.
    """
    if not _is_expected(request, etag, modified):
        raise Failed(412, "PreconditionFailed", "At least one of the preconditions did not hold", {hdrs.ETAG: etag})
    if _is_known(request, etag, modified):
        return Selection(304, 0, 0)
    bounds = _RANGE.fullmatch(request.get(hdrs.RANGE, "").strip())
    # What is no range, and several ones, which S3 does not know, get it all; so does what was a part of something else.
    if bounds is None or not any(bounds.groups()) or not _continues(request, etag, modified):
        return Selection(200, 0, size)
    first, last = bounds.groups()
    if first and last and int(first) > int(last):
        return Selection(200, 0, size)
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    if start >= stop:
        headers: dict[str, str] = {hdrs.CONTENT_RANGE: f"bytes */{size}"}
        raise Failed(416, "InvalidRange", "The requested range is not satisfiable", headers)
    return Selection(206, start, stop, {hdrs.CONTENT_RANGE: f"bytes {start}-{stop - 1}/{size}"})


def _is_expected(request: Mapping[str, str], etag: str, modified: int | None) -> bool:
    if hdrs.IF_MATCH in request:
        return _names(request[hdrs.IF_MATCH], etag, weak=False)
    date = _date(request.get(hdrs.IF_UNMODIFIED_SINCE))
    return date is None or modified is None or modified <= date


def _is_known(request: Mapping[str, str], etag: str, modified: int | None) -> bool:
    if hdrs.IF_NONE_MATCH in request:
        return _names(request[hdrs.IF_NONE_MATCH], etag, weak=True)
    date = _date(request.get(hdrs.IF_MODIFIED_SINCE))
    return date is not None and modified is not None and modified <= date


def _continues(request: Mapping[str, str], etag: str, modified: int | None) -> bool:
    """Whether a range continues what the client has the beginning of."""
    wanted = request.get(hdrs.IF_RANGE)
    return wanted is None or wanted.strip() == etag or (modified is not None and _date(wanted) == modified)


def _names(text: str, etag: str, *, weak: bool) -> bool:
    """Whether a list of tags has *etag*, which S3 takes without quotes as well."""
    if text.strip() == etag.strip('"'):
        return True
    return any(star or (tag == etag and (weak or not is_weak)) for is_weak, tag, star in _TAGS.findall(text))


def _date(text: str | None) -> int | None:
    """The epoch seconds of an HTTP date; None for anything else."""
    try:
        return None if text is None else int(parsedate_to_datetime(text).timestamp())
    except (ValueError, OverflowError):
        return None
