"""The aiohttp session of a client, bound to one loop; the deadlines of its calls."""

import asyncio
import math
import ssl as ssl_module
from typing import Final

import aiohttp
import attrs
from yarl import URL

from ..errors import ClientStateError
from ..settings import Secret, flag, instance_of, must_be, seconds, whole_number
from .aiohttp_private import check_borrowable, loop_of, middlewares_of, proxy_of, use_protocol
from .deadlines import Deadlines
from .fast_protocol import FastProtocol
from .limiter import Limiter
from .limits import Limits
from .proxies import Proxies, Proxy, check_proxy, parse_proxy
from .recorder import Recorder

__all__ = ["NO_TIMEOUT", "SESSION_CLOSED", "Pool"]

NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=10)
"""aiohttp's own timers cost a tenth of a call; `Deadlines` does their work. Connecting is rare enough."""
SESSION_CLOSED: Final = "the session that the client was given is closed"


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
    limit: int = attrs.field(default=100, validator=whole_number(1))
    keepalive: float = attrs.field(default=15.0, validator=seconds())
    ssl: ssl_module.SSLContext | bool = attrs.field(
        default=True,
        validator=must_be("an ssl.SSLContext", lambda value: value is True or isinstance(value, ssl_module.SSLContext)),
    )
    allow_http: bool = False
    """Whether signed URLs may be plain http beyond loopback."""
    proxy: str | URL | None = attrs.field(default=None, repr=False, validator=check_proxy)
    trust_env: bool = attrs.field(default=False, validator=flag())
    fast_path: bool = attrs.field(default=True, validator=flag())
    limits: Limits = attrs.field(factory=Limits, validator=instance_of(Limits))
    cassette: Recorder | None = None
    """Records or plays all requests."""
    proxies: Proxies = attrs.field(init=False, repr=False)
    noticed: set[tuple[str, str]] = attrs.field(init=False, repr=False, factory=set)
    """What was odd in replies and has been logged; see `Reading`."""
    limiter: Limiter = attrs.field(init=False, repr=False)
    loop: asyncio.AbstractEventLoop | None = attrs.field(init=False, default=None)
    """The loop of the open session, None where there is none."""
    session: aiohttp.ClientSession = attrs.field(init=False, repr=False)
    deadlines: Deadlines = attrs.field(init=False, repr=False)
    connector: aiohttp.TCPConnector | None = attrs.field(init=False, repr=False, default=None)
    """Whose connections are those of a `FastPath`, if there is one."""
    _closed: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.proxies = Proxies(self.proxy, trust_env=self.trust_env)
        limit: float = self.limit
        if self.borrowed is not None:
            check_borrowable()
            connector = self.borrowed.connector
            limits = () if connector is None else (connector.limit, connector.limit_per_host)
            limit = min((limit for limit in limits if limit), default=math.inf)
        self.limiter = Limiter(self.limits, limit)

    @property
    def middlewares(self) -> tuple[aiohttp.ClientMiddlewareType, ...]:
        """Those of a borrowed session, which the ones of a request would otherwise replace."""
        return () if self.borrowed is None else middlewares_of(self.borrowed)

    @property
    def only_plays(self) -> bool:
        """Whether replies come from a cassette, so that there is nobody for whose sake to wait."""
        return self.cassette is not None and self.cassette.only_plays

    def recorders(self, to: str) -> tuple[aiohttp.ClientMiddlewareType, ...]:
        """The innermost middlewares of requests *to* what `Cassette.middleware` knows; none without a cassette."""
        return () if self.cassette is None else (self.cassette.middleware(to),)

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
                    "the client belongs to another event loop that is not closed: make one client per loop"
                )
            self.limiter.reset()
            await self._end()
            return await self.open()  # meanwhile another call may have opened it, or somebody has closed it
        if self.borrowed is not None and loop_of(self.borrowed) is not loop:
            raise ClientStateError("the session that the client was given belongs to another event loop")
        self.session = self._make() if self.borrowed is None else self.borrowed
        self.deadlines = Deadlines(loop)
        self.loop = loop
        return self.session

    def _make(self) -> aiohttp.ClientSession:
        # The limiter counts the connections that are in use.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=self.keepalive, ssl=self.ssl)
        self.connector = connector if self.fast_path and use_protocol(connector, FastProtocol) else None
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=NO_TIMEOUT)

    def bare(self) -> aiohttp.ClientSession:
        """A further session over the same connections, which takes nothing from a borrowed one.

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
        )

    def proxy_of(self, url: URL) -> Proxy | None:
        """The proxy that *url* is reached through, that of a borrowed session included.

        Raises:
            InvalidArgumentError: a variable of the environment has no URL of a proxy.
        """
        proxy = self.proxies.of(url)
        if proxy is None and self.borrowed is not None:
            theirs, auth = proxy_of(self.borrowed)
            if theirs is not None:
                proxy = parse_proxy(theirs)
                if auth is not None:
                    proxy = Proxy(proxy.url, {"Proxy-Authorization": Secret(auth.encode())})
        return proxy

    def forget_addresses(self) -> None:
        """Look hosts up again at the next connection, as one has failed: the host may have moved."""
        connector = self.session.connector
        if isinstance(connector, aiohttp.TCPConnector):
            connector.clear_dns_cache()

    def reopen(self) -> None:
        """Allow calls again after `close`."""
        self._closed = False

    async def close(self) -> None:
        """Close the connections, unless the session is borrowed; calls raise from now on, those under way as well.

        Raises:
            ClientStateError: the client belongs to another loop that is not closed.
        """
        if self.loop is not None and self.loop is not asyncio.get_running_loop() and not self.loop.is_closed():
            raise ClientStateError("the client belongs to another event loop that is not closed: close it there")
        self._closed = True
        self.limiter.open()
        if self.loop is not None:
            await self._end()

    async def _end(self) -> None:
        self.loop = None
        self.deadlines.close()
        if self.borrowed is None:
            await self.session.close()
