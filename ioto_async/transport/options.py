"""Options of one call, of the calls of a client, and of its pool."""

import ssl as ssl_module
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypedDict

import aiohttp
import attrs

from ..settings import check_headers, flag, function, instance_of, must_be, or_none, seconds, whole_number
from .attempt import Attempt
from .limits import Limits
from .retry import RetryPolicy

__all__ = ["CallOptions", "CallerOptions", "ClientOptions", "TransportOptions", "check_timeout", "with_retries"]


class CallOptions(TypedDict, total=False):
    """Options of one call, which every method takes besides its own arguments. What is left out is as for the client.

    Attributes:
        timeout: seconds for one attempt, including the wait for a free connection; None for no limit.
        retries: how many times a failed request is sent again at most.
        headers: further headers of the request.
    """

    timeout: float | None
    retries: int
    headers: Mapping[str, str]


class CallerOptions(TypedDict, total=False):
    """Options of all calls of a client. Each of them can be left out.

    Attributes:
        timeout: seconds for one attempt, including the wait for a free connection; 30 by default, None for no limit.
        retry: how often and how long a call is tried.
        headers: further headers of every request.
        middlewares: aiohttp client middlewares, outermost first.
        observer: called with each `Attempt` when it is over; must not block.
        max_reply: how many bytes a reply may have; 16 MiB by default.
        strict: raise a `DecodeError` for a reply with a member of another type than the documented one. By default the
            member is what it plainly means, such as a number in text, or None; its raw value stays in ``extra``, named
            as on the wire, and it is logged once. An element of a page that is no record goes to ``rejected``.
    """

    timeout: float | None
    retry: RetryPolicy
    headers: Mapping[str, str]
    middlewares: Sequence[aiohttp.ClientMiddlewareType]
    observer: Callable[[Attempt], None] | None
    max_reply: int
    strict: bool


class ClientOptions(CallerOptions, total=False):
    """Options of a client: those of its calls (see `CallerOptions`), and those of its pool, which clones share.

    Each of them can be left out.

    Attributes:
        limit: connections at once; 100 by default.
        limits: requests per second and in flight, of the client and its clones together; unlimited by default.
        keepalive: seconds for which an idle connection is kept; 15 by default, which is less than the service keeps it.
        ssl: an `ssl.SSLContext` to use instead of the system's trust store.
        session: an `aiohttp.ClientSession` to borrow. It is never closed, and has its own ``limit``, ``keepalive`` and
            ``ssl``.
        allow_http: accept plain http for a host that is not loopback.
    """

    limit: int
    limits: Limits
    keepalive: float
    ssl: ssl_module.SSLContext
    session: aiohttp.ClientSession
    allow_http: bool


_TIMEOUT: Final = or_none(seconds(above_zero=True))
_RETRY: Final = instance_of(RetryPolicy)
_RETRIES: Final = whole_number(0)


@attrs.frozen(kw_only=True)
class TransportOptions:
    """`CallerOptions` with their defaults and checks."""

    timeout: float | None = attrs.field(default=30.0, validator=_TIMEOUT)
    retry: RetryPolicy = attrs.field(factory=RetryPolicy, validator=_RETRY)
    headers: dict[str, str] = attrs.field(factory=dict, converter=check_headers)
    middlewares: Sequence[aiohttp.ClientMiddlewareType] = attrs.field(
        default=(),
        validator=must_be(
            "aiohttp client middlewares", lambda value: isinstance(value, (list, tuple)) and all(map(callable, value))
        ),
    )
    observer: Callable[[Attempt], None] | None = attrs.field(default=None, validator=or_none(function()))
    max_reply: int = attrs.field(default=16 << 20, validator=whole_number(1))
    strict: bool = attrs.field(default=False, validator=flag())


def check_timeout(value: float | None) -> float | None:
    """Return *value* if it is a time-out: seconds above 0, or None for no limit.

    Raises:
        InvalidArgumentError: it is neither.
    """
    _TIMEOUT.check("timeout", value)
    return value


def with_retries(retry: RetryPolicy, retries: int) -> RetryPolicy:
    """*retry* with *retries* further attempts after the first.

    Raises:
        InvalidArgumentError: *retry* is no `RetryPolicy`, or *retries* is no whole number from 0.
    """
    _RETRY.check("retry", retry)
    _RETRIES.check("retries", retries)
    return attrs.evolve(retry, attempts=retries + 1)
