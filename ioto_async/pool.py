"""The aiohttp session of a client, bound to one loop; the deadlines of its calls. Imports floors 0 and 1, and gate."""

import asyncio
import contextlib
import math
import ssl as ssl_module
from collections.abc import Iterator
from typing import Any, Final

import aiohttp
import attrs

from .errors import ClientStateError
from .gate import Gate
from .limits import Limits
from .validation import is_number, must_be

__all__ = ["NO_TIMEOUT", "SESSION_CLOSED", "Deadline", "Pool"]

NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=10)
"""aiohttp's own timers cost a tenth of a call; `_Deadlines` does their work. Connecting is rare enough."""
SESSION_CLOSED: Final = "the session that the client was given is closed"
_UNLIMITED: Final = 256
"""Connections that are of use at once where a borrowed session allows any number."""
_GRAIN: Final = 0.02
"""Seconds between two looks at the deadlines."""


class Deadline:
    """One running attempt: its task, and when its time is over.

    Attributes:
        closed: whether it ended because the client was closed, and not for its time.
        was_put_off: whether it is about standing still rather than about the whole attempt.
    """

    __slots__ = ("_paused", "_seconds", "cancelled", "cancelling", "closed", "due", "task", "was_put_off")

    def __init__(self, task: "asyncio.Task[Any]", seconds: float | None, now: float) -> None:
        self.task = task
        self._seconds = math.inf if seconds is None else seconds
        self.due = now + self._seconds
        self.cancelling = task.cancelling()
        self.cancelled = self.closed = self.was_put_off = self._paused = False

    def put_off(self) -> None:
        """Begin anew, as something has moved."""
        self.due = self.task.get_loop().time() + self._seconds
        self.was_put_off = True

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Take no time away while it is not the network that is waited for."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False
            self.put_off()

    def expire(self, now: float) -> None:
        """Cancel the task, as its time is over; while it is paused, look again later."""
        if self._paused:
            self.due = now + self._seconds
        else:
            self._cancel()

    def close(self) -> None:
        """Cancel the task, as its client is closed."""
        if not self.cancelled:
            self.closed = True
            self._cancel()

    def _cancel(self) -> None:
        self.cancelled = True
        self.task.cancel()

    def is_cancelled(self) -> bool:
        """Whether somebody else has asked the task to end since the attempt began."""
        return self.task.cancelling() > self.cancelling + self.cancelled

    def uncancel(self) -> bool:
        """Take the cancellation back, as `asyncio.timeout` does; true if there was one, and nobody else's beside it."""
        if not self.cancelled:
            return False
        self.cancelled = False
        return self.task.uncancel() <= self.cancelling


class _Deadlines:
    """Cancels attempts whose time is over, with one timer for all of them.

    A timer is set only for the earliest deadline that is known when it is needed; the entries that came and went
    meanwhile cost nothing.
    """

    __slots__ = ("_entries", "_handle", "_loop", "_next")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._entries: set[Deadline] = set()
        self._handle: asyncio.TimerHandle | None = None
        self._next = math.inf

    def start(self, seconds: float | None) -> Deadline:
        task = asyncio.current_task()
        if task is None:
            raise ClientStateError("a call needs a running task; use it inside a coroutine")
        entry = Deadline(task, seconds, self._loop.time())
        self._entries.add(entry)
        if entry.due < self._next:
            self._set(entry.due)
        return entry

    def stop(self, entry: Deadline) -> None:
        self._entries.discard(entry)
        if entry.cancelled:
            entry.uncancel()

    def close(self) -> None:
        """End the attempts that are under way, unless their loop has ended or is another thread's."""
        if self._loop is asyncio.get_running_loop():
            current = asyncio.current_task()
            for entry in self._entries:
                if entry.task is not current:  # a middleware may close the client: it must come to the end of that
                    entry.close()
        if self._handle is not None and not self._entries:
            self._handle.cancel()
            self._handle, self._next = None, math.inf

    def _set(self, due: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._next = due
        self._handle = self._loop.call_at(due, self._sweep)

    def _sweep(self) -> None:
        now = self._loop.time()
        for entry in self._entries:
            if entry.due <= now and not entry.cancelled:
                entry.expire(now)
        self._handle, self._next = None, math.inf
        earliest = min((entry.due for entry in self._entries if not entry.cancelled), default=math.inf)
        if earliest < math.inf:
            # Not more often than that: where many calls run out of time, each look at all of them adds up.
            self._set(max(earliest, now + _GRAIN))


@attrs.define(eq=False)
class Pool:
    """The aiohttp session that all calls of a client and its clones share; made on first use, or borrowed.

    A pool belongs to the event loop of its first call. When that loop is closed, the next call makes a fresh one, so
    that two ``asyncio.run`` in a row work.
    """

    borrowed: aiohttp.ClientSession | None = attrs.field(
        default=None,
        validator=must_be(
            "an aiohttp.ClientSession",
            lambda value: value is None or isinstance(value, aiohttp.ClientSession),
            of="session",
        ),
    )
    limit: int = attrs.field(
        default=100, validator=must_be("connections above 0", lambda value: type(value) is int and value > 0)
    )
    keepalive: float = attrs.field(
        default=15.0, validator=must_be("seconds from 0", lambda value: is_number(value) and 0 <= value < math.inf)
    )
    ssl: ssl_module.SSLContext | bool = attrs.field(
        default=True,
        validator=must_be("an ssl.SSLContext", lambda value: value is True or isinstance(value, ssl_module.SSLContext)),
    )
    allow_http: bool = False
    """Whether signed URLs may be plain http beyond loopback."""
    limits: Limits = attrs.field(factory=Limits, validator=must_be("Limits", lambda value: isinstance(value, Limits)))
    gate: Gate = attrs.field(init=False, repr=False)
    loop: asyncio.AbstractEventLoop | None = attrs.field(init=False, default=None)
    """The loop of the open session, None where there is none."""
    session: aiohttp.ClientSession = attrs.field(init=False, repr=False)
    deadlines: _Deadlines = attrs.field(init=False, repr=False)
    _closed: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        limit = self.limit
        if self.borrowed is not None and self.borrowed.connector is not None:
            limit = self.borrowed.connector.limit or _UNLIMITED
        self.gate = Gate(self.limits, limit)

    @property
    def middlewares(self) -> tuple[aiohttp.ClientMiddlewareType, ...]:
        """Those of a borrowed session, which the ones of a request would otherwise replace."""
        # aiohttp shows them under no public name.
        return getattr(self.borrowed, "_middlewares", ())

    async def open(self) -> aiohttp.ClientSession:
        """Make ``session`` fit for the running loop, and return it.

        Raises:
            ClientStateError: the client is closed, or its own loop is another one that still runs.
        """
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ClientStateError("the client is closed")
        if self.loop is loop:
            return self.session
        if self.loop is not None:
            if not self.loop.is_closed():
                raise ClientStateError(
                    "the client belongs to another event loop that is still running: make one client per loop"
                )
            self.gate.reset()
            await self._end()
            return await self.open()  # meanwhile another call may have opened it, or somebody has closed it
        if self.borrowed is not None and getattr(self.borrowed, "_loop", loop) is not loop:
            raise ClientStateError("the session that the client was given belongs to another event loop")
        self.session = self._make() if self.borrowed is None else self.borrowed
        self.deadlines = _Deadlines(loop)
        self.loop = loop
        return self.session

    def _make(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self.limit, keepalive_timeout=self.keepalive, ttl_dns_cache=300, ssl=self.ssl
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=NO_TIMEOUT)

    def bare(self) -> aiohttp.ClientSession:
        """A further session over the same connections, which has of a borrowed one nothing but its way out.

        Close it after use; the connections stay.

        Raises:
            ClientStateError: the borrowed session is closed.
        """
        session = self.session
        if session.closed:
            raise ClientStateError(SESSION_CLOSED)
        return aiohttp.ClientSession(
            connector=session.connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=NO_TIMEOUT,
            trust_env=session.trust_env,
            # aiohttp shows them under no public name.
            proxy=getattr(session, "_default_proxy", None),
            proxy_auth=getattr(session, "_default_proxy_auth", None),
        )

    def reopen(self) -> None:
        """Allow calls again after `close`."""
        self._closed = False

    async def close(self) -> None:
        """Close the connections, unless the session is borrowed; calls raise from now on, those under way as well."""
        self._closed = True
        self.gate.open()
        if self.loop is not None:
            await self._end()

    async def _end(self) -> None:
        self.loop = None
        self.deadlines.close()
        if self.borrowed is None:
            await self.session.close()
