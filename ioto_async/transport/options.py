"""Options of one call, of the calls of a client, and of its pool."""

import ssl as ssl_module
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Final, TypedDict

import aiohttp
import attrs
from yarl import URL

from ..settings import check_headers, flag, function, instance_of, must_be, or_none, seconds, whole_number
from .attempt import Attempt
from .limits import Limits
from .recorder import Recorder
from .retry import MAX_RETRY_AFTER, RetryPolicy

__all__ = [
    "CallOptions",
    "CallerOptions",
    "ClientOptions",
    "TransportOptions",
    "cassette_of",
    "check_timeout",
    "with_retries",
]


class CallOptions(TypedDict, total=False):
    """Options of one call, which every method takes besides its own arguments. What is left out is as for the client.

    Attributes:
        timeout: seconds for one attempt, from its turn on; None for no limit.
        retries: how many times a failed request is sent again at most.
        headers: further headers of the request.
    """

    timeout: float | None
    retries: int
    headers: Mapping[str, str]


class CallerOptions(TypedDict, total=False):
    """Options of all calls of a client. Each of them can be left out.

    Attributes:
        timeout: seconds for one attempt, from its turn on; 30 by default, None for no limit.
        pool_timeout: seconds for which a call or a transfer waits for its turn, that is for a free connection, the
            ``limits`` and the end of a pause; by default, and in a bulk run, as long as it takes.
        retry: how often and how long a call is tried.
        max_retry_after: seconds of a ``Retry-After`` that are waited for, 120 by default. A call that is asked to wait
            longer fails with ``retry_after`` set, and no other is sent to that origin for ``max_retry_after``.
        headers: further headers of every request.
        middlewares: aiohttp client middlewares, outermost first.
        observer: called with each `Attempt` when it is over; must not block.
        max_reply: how many bytes a reply may have; 16 MiB by default. Other tasks run while one of more than 1 MiB is
            read. One of more than a million JSON objects and arrays is a `DecodeError`.
        strict: raise a `DecodeError` for a reply with a member of another type than the documented one. By default the
            member is what it plainly means, such as a number in text, or None; its raw value stays in ``extra``, named
            as on the wire, and it is logged once. An element of a page that is no record goes to ``rejected``.
    """

    timeout: float | None
    pool_timeout: float | None
    retry: RetryPolicy
    max_retry_after: float
    headers: Mapping[str, str]
    middlewares: Sequence[aiohttp.ClientMiddlewareType]
    observer: Callable[[Attempt], None] | None
    max_reply: int
    strict: bool


class ClientOptions(CallerOptions, total=False):
    """Options of a client: those of its calls (see `CallerOptions`), and those of its pool, which clones share.

    Each of them can be left out.

    Attributes:
        limit: connections in use at once; 100 by default.
        limits: requests per second and in flight, of the client and its clones together; unlimited by default.
        keepalive: seconds for which an idle connection is kept; 15 by default, which is less than the service keeps it.
        ssl: an `ssl.SSLContext` to use instead of the system's trust store.
        proxy: URL of an http or https proxy for all that the client sends, transfers and its sign-in included; with
            user and password in it if the proxy wants them.
        trust_env: whether ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` of the process say which proxy to use; False
            by default.
        fast_path: write requests and read plain replies without aiohttp's own layers, which makes a call two to three
            times as fast; True by default. It steps aside by itself where a session is borrowed, and for middlewares,
            proxies, tracers and mocks of aiohttp.
        session: an `aiohttp.ClientSession` to borrow. It is never closed, and has its own ``limit``, ``keepalive`` and
            ``ssl``. A proxy of its own applies where neither ``proxy`` nor ``trust_env`` is given.
        allow_http: accept plain http for a host that is not loopback.
        cassette: a `Cassette`, or the path of one for the mode ``once``: all requests, sign-ins and transfers included,
            are recorded to it or played from it. With one that only plays, no endpoint and no credentials are needed.
            ``IOTO_RECORD`` and ``IOTO_REPLAY`` name one by default.
    """

    limit: int
    limits: Limits
    keepalive: float
    ssl: ssl_module.SSLContext
    proxy: str | URL | None
    trust_env: bool
    fast_path: bool
    session: aiohttp.ClientSession
    allow_http: bool
    cassette: Recorder | str | PathLike[str]


_TIMEOUT: Final = or_none(seconds(above_zero=True))
_RETRY: Final = instance_of(RetryPolicy)
_RETRIES: Final = whole_number(0)


@attrs.frozen(kw_only=True)
class TransportOptions:
    """`CallerOptions` with their defaults and checks."""

    timeout: float | None = attrs.field(default=30.0, validator=_TIMEOUT)
    pool_timeout: float | None = attrs.field(default=None, validator=_TIMEOUT)
    retry: RetryPolicy = attrs.field(factory=RetryPolicy, validator=_RETRY)
    max_retry_after: float = attrs.field(default=MAX_RETRY_AFTER, validator=seconds())
    headers: Mapping[str, str] = attrs.field(factory=dict, validator=lambda _, __, value: check_headers(value))
    middlewares: Sequence[aiohttp.ClientMiddlewareType] = attrs.field(
        default=(),
        validator=must_be(
            "aiohttp client middlewares", lambda value: isinstance(value, (list, tuple)) and all(map(callable, value))
        ),
    )
    observer: Callable[[Attempt], None] | None = attrs.field(default=None, validator=or_none(function()))
    max_reply: int = attrs.field(default=16 << 20, validator=whole_number(1))
    strict: bool = attrs.field(default=False, validator=flag())


def cassette_of(given: object, record: str | None, replay: str | None) -> Recorder | None:
    """The cassette of a client, or None.

    Args:
        given: the option ``cassette``.
        record: ``IOTO_RECORD``; it and *replay* apply where no option is given.
        replay: ``IOTO_REPLAY``.

    Raises:
        InvalidArgumentError: it is no cassette and no path of one, or both variables are set.
        CassetteError: it cannot be used.
    """
    if given is None and record is None and replay is None:
        return None
    from .cassette import open_cassette  # few programs use one

    return open_cassette(given, record, replay)


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
