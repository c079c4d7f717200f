"""The clients that compete: each does the same call, and is set up for speed as its documentation says.

The same request (body and headers) over as many connections as there are calls in flight. A call ends with a typed
device or with the parsed JSON, and its result is the device's ID, which is checked after every call. Each client is
imported only where it is called, so that the memory of a process is that of its own client.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from .bare import bare
from .request import ACCOUNT_ID, BODY, DEVICE_ID, HEADERS, PATH, TOKEN

if TYPE_CHECKING:
    import aiohttp

__all__ = ["BARE", "BASE", "BASE_MIDDLEWARE", "CONTENDERS", "OURS", "OURS_MIDDLEWARE", "TUNED", "Contender", "Target"]

_TIMEOUT: Final = 30.0
_KEEPALIVE: Final = 90.0
"""Seconds for which connections are kept: longer than all others take for their turns."""

Call = Callable[[], Awaitable[str]]
SyncCall = Callable[[], str]


@attrs.frozen
class Target:
    """What is called: base URL, the PEM file of who signed its certificate, and how many calls are in flight."""

    base: str
    ca: str
    in_flight: int

    @property
    def url(self) -> str:
        """The URL of the operation."""
        return self.base + PATH

    def ca_bytes(self) -> bytes:
        """The content of the PEM file."""
        return Path(self.ca).read_bytes()

    def context(self) -> ssl.SSLContext:
        """TLS that trusts the server."""
        return ssl.create_default_context(cafile=self.ca)


@attrs.frozen
class Contender:
    """A client: how a call with it is made ready, what has to be installed for it, and the loop that it runs on.

    Attributes:
        open: makes the context in which it can be called; that of a client for threads is not asynchronous.
        loop: asyncio, uvloop, or asyncio with the transports of aiofastnet.
        threads: whether it has no loop, and is called in as many threads as there are calls in flight.
    """

    name: str
    open: Callable[[Target], AbstractAsyncContextManager[Call] | AbstractContextManager[SyncCall]]
    packages: Sequence[str] = ()
    loop: str = "asyncio"
    threads: bool = False

    @property
    def missing(self) -> list[str]:
        """What is not installed."""
        loop = {"asyncio": (), "uvloop": ("uvloop",), "aiofastnet": ("aiofastnet",)}[self.loop]
        return [package for package in (*self.packages, *loop) if find_spec(package) is None]

    @property
    def title(self) -> str:
        """Its name with its loop."""
        return self.name if self.loop == "asyncio" else f"{self.name}, {self.loop}"


def _id_of(status: int, body: bytes) -> str:
    if status != 200:
        raise RuntimeError(f"expected status 200, got {status}")
    device: Mapping[str, Any] = orjson.loads(body)
    return str(device["id"])


async def _traced(request: "aiohttp.ClientRequest", handler: "aiohttp.ClientHandlerType") -> "aiohttp.ClientResponse":
    """What users have middlewares for: a header of their own."""
    request.headers["X-Trace-Id"] = "01K9ZX7Q2W8E4R6T0Y1U3I5O7P"
    return await handler(request)


# Ours ---------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _ours(target: Target, **options: Any) -> AsyncIterator[Call]:
    from ioto_async import IotoClient

    if target.base.startswith("https"):
        options["ssl"] = target.context()
    async with IotoClient(
        target.base,
        token=TOKEN,
        account_id=ACCOUNT_ID,
        environ={},
        limit=target.in_flight,
        keepalive=_KEEPALIVE,
        timeout=_TIMEOUT,
        **options,
    ) as client:

        async def call() -> str:
            return (await client.device.get(DEVICE_ID)).id

        yield call


def _ours_middleware(target: Target) -> AbstractAsyncContextManager[Call]:
    return _ours(target, middlewares=[_traced])


# aiohttp ------------------------------------------------------------------------------------------------------------


def _session(target: Target, **options: Any) -> "aiohttp.ClientSession":
    import aiohttp

    context = target.context() if target.base.startswith("https") else True
    connector = aiohttp.TCPConnector(limit=target.in_flight, keepalive_timeout=_KEEPALIVE, ssl=context)
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT, sock_connect=10)
    return aiohttp.ClientSession(connector=connector, headers=HEADERS, **{"timeout": timeout, **options})


@asynccontextmanager
async def _aiohttp_orjson(target: Target, **options: Any) -> AsyncIterator[Call]:
    url = target.url
    async with _session(target, **options) as session:

        async def call() -> str:
            async with session.post(url, data=orjson.dumps(BODY)) as response:
                return _id_of(response.status, await response.read())

        yield call


def _aiohttp_middleware(target: Target) -> AbstractAsyncContextManager[Call]:
    return _aiohttp_orjson(target, middlewares=[_traced])


@asynccontextmanager
async def _aiohttp_json(target: Target) -> AsyncIterator[Call]:
    url = target.url
    async with _session(target) as session:

        async def call() -> str:
            async with session.post(url, json=BODY) as response:
                response.raise_for_status()
                return str((await response.json())["id"])

        yield call


@asynccontextmanager
async def _aiohttp_tuned(target: Target) -> AsyncIterator[Call]:
    """No timer for a call, no cookies, the URL parsed once, no context manager round the reply."""
    import aiohttp
    from yarl import URL

    url = URL(target.url)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=None)
    async with _session(target, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def call() -> str:
            response = await session.post(url, data=orjson.dumps(BODY))
            return _id_of(response.status, await response.read())

        yield call


# Others -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _httpx(target: Target) -> AsyncIterator[Call]:
    import httpx

    url = target.url
    limits = httpx.Limits(
        max_connections=target.in_flight, max_keepalive_connections=target.in_flight, keepalive_expiry=_KEEPALIVE
    )
    # A proxy in the environment is not for a server on this machine.
    async with httpx.AsyncClient(
        headers=HEADERS, limits=limits, timeout=_TIMEOUT, trust_env=False, verify=target.context()
    ) as client:

        async def call() -> str:
            response = await client.post(url, content=orjson.dumps(BODY))
            return _id_of(response.status_code, response.content)

        yield call


@asynccontextmanager
async def _wreq(target: Target) -> AsyncIterator[Call]:
    import wreq
    from wreq.tls import CertStore

    url = target.url
    options: dict[str, Any] = {}
    if target.base.startswith("https"):
        options["tls_verify"] = CertStore.from_pem_stack(target.ca_bytes())
    client = wreq.Client(
        headers=HEADERS,
        http1_only=True,
        no_proxy=True,
        pool_max_idle_per_host=target.in_flight,
        timeout=timedelta(seconds=_TIMEOUT),
        **options,
    )

    async def call() -> str:
        async with client.post(url, body=orjson.dumps(BODY)) as response:
            return _id_of(response.status.as_int(), await response.bytes())

    try:
        yield call
    finally:
        client.close()


@asynccontextmanager
async def _pyreqwest(target: Target) -> AsyncIterator[Call]:
    from pyreqwest.client import ClientBuilder

    url = target.url
    builder = ClientBuilder().default_headers(HEADERS).http1_only().no_proxy().timeout(timedelta(seconds=_TIMEOUT))
    builder = builder.pool_max_idle_per_host(target.in_flight).max_connections(target.in_flight)
    async with builder.add_root_certificate_pem(target.ca_bytes()).build() as client:

        async def call() -> str:
            response = await client.post(url).body_bytes(orjson.dumps(BODY)).build().send()
            return _id_of(response.status, (await response.bytes()).to_bytes())

        yield call


@asynccontextmanager
async def _niquests(target: Target) -> AsyncIterator[Call]:
    import niquests

    url = target.url
    async with niquests.AsyncSession(
        pool_connections=target.in_flight,
        pool_maxsize=target.in_flight,
        disable_http2=True,
        disable_http3=True,
        headers=HEADERS,
        timeout=_TIMEOUT,
        verify=target.ca,
        revocation_configuration=None,
    ) as session:
        session.trust_env = False

        async def call() -> str:
            response = await session.post(url, data=orjson.dumps(BODY))
            return _id_of(response.status_code or 0, response.content or b"")

        yield call


@asynccontextmanager
async def _aiosonic(target: Target) -> AsyncIterator[Call]:
    import aiosonic
    from aiosonic.connectors import TCPConnector
    from aiosonic.pools import PoolConfig

    url = target.url
    context = target.context() if target.base.startswith("https") else None
    pool = PoolConfig(size=target.in_flight, max_conn_requests=None)
    async with aiosonic.HTTPClient(TCPConnector(pool_configs={":default": pool})) as client:

        async def call() -> str:
            response = await client.post(url, data=orjson.dumps(BODY), headers=HEADERS, ssl=context)
            return _id_of(response.status_code, await response.content())

        yield call


@contextmanager
def _requests(target: Target) -> Iterator[SyncCall]:
    import requests
    from requests.adapters import HTTPAdapter

    url = target.url
    with requests.Session() as session:
        session.trust_env = False
        session.verify = target.ca
        session.headers = HEADERS
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_connections=target.in_flight, pool_maxsize=target.in_flight))

        def call() -> str:
            response = session.post(url, data=orjson.dumps(BODY), timeout=_TIMEOUT)
            return _id_of(response.status_code, response.content)

        yield call


@asynccontextmanager
async def _bare(target: Target) -> AsyncIterator[Call]:
    """No client: nothing is pooled by key, counted, timed, checked, retried."""
    context = target.context() if target.base.startswith("https") else None
    async with bare(target.url, HEADERS, context) as exchange:

        async def call() -> str:
            return _id_of(*await exchange(orjson.dumps(BODY)))

        yield call


OURS: Final = "IotoClient"
OURS_MIDDLEWARE: Final = "IotoClient, user's middleware"
BASE: Final = "aiohttp + orjson"
BASE_MIDDLEWARE: Final = "aiohttp + orjson, same middleware"
TUNED: Final = "aiohttp, all known tricks"
BARE: Final = "bare protocol, no client: the limit"

CONTENDERS: Final = (
    Contender(OURS, _ours),
    Contender(OURS_MIDDLEWARE, _ours_middleware),
    Contender(BASE, _aiohttp_orjson),
    Contender(BASE_MIDDLEWARE, _aiohttp_middleware),
    Contender("aiohttp, json= and .json()", _aiohttp_json),
    Contender(TUNED, _aiohttp_tuned),
    Contender("httpx + orjson", _httpx, ("httpx",)),
    Contender("aiosonic + orjson", _aiosonic, ("aiosonic",)),
    Contender("niquests + orjson", _niquests, ("niquests",)),
    Contender("requests in threads + orjson", _requests, ("requests",), threads=True),
    Contender("wreq (Rust) + orjson", _wreq, ("wreq",)),
    Contender("pyreqwest (Rust) + orjson", _pyreqwest, ("pyreqwest",)),
    Contender(BARE, _bare),
    Contender(OURS, _ours, loop="aiofastnet"),
    Contender(BASE, _aiohttp_orjson, loop="aiofastnet"),
    Contender(TUNED, _aiohttp_tuned, loop="aiofastnet"),
    Contender(OURS, _ours, loop="uvloop"),
    Contender(OURS_MIDDLEWARE, _ours_middleware, loop="uvloop"),
    Contender(BASE, _aiohttp_orjson, loop="uvloop"),
    Contender(BASE_MIDDLEWARE, _aiohttp_middleware, loop="uvloop"),
    Contender(TUNED, _aiohttp_tuned, loop="uvloop"),
    Contender("wreq (Rust) + orjson", _wreq, ("wreq",), loop="uvloop"),
    Contender("pyreqwest (Rust) + orjson", _pyreqwest, ("pyreqwest",), loop="uvloop"),
    Contender(BARE, _bare, loop="uvloop"),
)
