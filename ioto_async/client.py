"""The session managers: one pool, its credentials, and a namespace for each controller. Imports floors 0 to 3."""

import os
import ssl as ssl_module
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

import aiohttp
import attrs
from yarl import URL

from .auth import Auth, LoginAuth, NoAuth, TokenAuth, TokenProvider
from .config import BUILDER_URL, Settings, check_account, parse_endpoint
from .controllers import (
    ActionController,
    BuilderDeviceController,
    DeviceController,
    GenericController,
    MetricController,
    ProvisionController,
    StoreController,
    TestController,
)
from .errors import InvalidArgumentError
from .pool import Pool
from .retry import RetryPolicy
from .transport import Attempt, Transport, TransportOptions, with_retries

__all__ = ["BuilderClient", "CallerOptions", "ClientOptions", "IotoClient"]


class CallerOptions(TypedDict, total=False):
    """How calls are sent; all of it may be left out.

    ``timeout``: seconds for one attempt, waiting for a free connection included (30; None for no limit).
    ``retry``: attempts, elapsed budget and waits. ``headers``: further headers of every request. ``middlewares``:
    aiohttp client middlewares, outermost first. ``observer``: called with every `Attempt` when it is over; must not
    block. ``max_reply``: bytes that a reply may have (16 MiB).
    """

    timeout: float | None
    retry: RetryPolicy
    headers: Mapping[str, str]
    middlewares: Sequence[aiohttp.ClientMiddlewareType]
    observer: Callable[[Attempt], None] | None
    max_reply: int


class ClientOptions(CallerOptions, total=False):
    """The pool, and how calls are sent (see `CallerOptions`); all of it may be left out.

    ``limit``: connections at once (100). ``keepalive``: seconds that an idle connection is kept (15; less than the
    service keeps it). ``ssl``: an `ssl.SSLContext` instead of the system's trust store. ``session``: an
    `aiohttp.ClientSession` to borrow, which is then never closed and has its own pool settings. ``allow_http``: accept
    plain http for a host that is not loopback.
    """

    limit: int
    keepalive: float
    ssl: ssl_module.SSLContext
    session: aiohttp.ClientSession
    allow_http: bool


class _Client:
    """A pool and how to send through it. Clones share the pool and do not close it."""

    _pool: Pool
    _options: TransportOptions
    _auth: Auth
    _owner: bool
    _owns_auth: bool
    _allow_http: bool

    def _configure(self, options: ClientOptions) -> None:
        rest: dict[str, Any] = dict(options)
        self._allow_http = rest.pop("allow_http", False)
        borrowed = rest.pop("session", None)
        pool = {name: rest.pop(name) for name in ("limit", "keepalive", "ssl") if name in rest}
        if borrowed is not None and pool:
            raise InvalidArgumentError(f"{min(pool)}: a borrowed session has its own pool settings")
        self._pool = Pool(borrowed=borrowed, **pool)
        self._owner = self._owns_auth = True
        self._options = _evolved(TransportOptions(), rest)

    def _share(self, client: "_Client") -> None:
        self._pool, self._options, self._allow_http = client._pool, client._options, client._allow_http
        self._owner = self._owns_auth = False

    async def __aenter__(self) -> Self:
        if self._owner:
            self._pool.reopen()
        await self._pool.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. A clone, and a client with a borrowed session, leave them open."""
        if self._owner:
            await self._pool.close()
        if self._owns_auth:
            await self._auth.close()


def _evolved(options: TransportOptions, changes: Mapping[str, Any]) -> TransportOptions:
    known = attrs.fields_dict(TransportOptions).keys()
    if unknown := changes.keys() - known:
        raise InvalidArgumentError(f"unknown option {min(unknown)!r}: expected one of {', '.join(known)}")
    return attrs.evolve(options, **changes)


class BuilderClient(_Client):
    """The Builder, where devices register before they are claimed.

    Args:
        url: base URL; by default ``IOTO_BUILDER``, and without it the vendor's.
        token: BuilderAPI token; not needed for ``device.register``, which goes with the product token.
        options: see `ClientOptions`.

    Attributes:
        device: the Device controller of the Builder.

    Raises:
        InvalidArgumentError: an argument does not fit.
    """

    device: BuilderDeviceController

    def __init__(self, url: str | None = None, *, token: str | None = None, **options: Unpack[ClientOptions]) -> None:
        self._configure(options)
        if url is None:
            url = Settings.from_env().builder or BUILDER_URL
        self._base = parse_endpoint(url, name="builder", allow_http=self._allow_http)
        self._auth = NoAuth() if token is None else TokenAuth(token)
        self._connect()

    @classmethod
    def _sharing(cls, client: "IotoClient", base: URL) -> Self:
        builder = cls.__new__(cls)
        builder._share(client)
        builder._base, builder._auth = base, NoAuth()
        builder._connect()
        return builder

    def _connect(self) -> None:
        self.device = BuilderDeviceController(Transport(self._pool, self._base, self._auth, self._options), None)

    def __repr__(self) -> str:
        return f"BuilderClient({str(self._base)!r}, auth={self._auth!r})"


class IotoClient(_Client):
    """A device cloud: the session manager, with a namespace for each controller of the API.

    ::

        async with IotoClient("https://….amazonaws.com", token=token, account_id=account) as client:
            device = await client.device.claim("M72DANY8BZ")

    The pool is made at the first call and belongs to that event loop. Without ``async with``, end with `aclose`.

    Args:
        api: base URL of the device cloud; ``IOTO_API`` by default. A path in it is kept.
        token: CloudAPI or device token; ``IOTO_TOKEN`` by default.
        bearer: send ``bearer <token>`` instead of the token alone.
        login: login access token, or an async callable that gives one, instead of *token*.
        origin: domain of the device app, for *login*; ``IOTO_HOST`` by default.
        account_id: account that calls act for where they can name one; ``IOTO_ACCOUNT`` by default.
        builder: base URL of the Builder; ``IOTO_BUILDER`` by default, and without it the vendor's.
        environ: where the defaults come from.
        options: see `ClientOptions`.

    Attributes:
        account_id: see above.
        action: automations.
        device: devices: claim, provision, release.
        generic: items of any database model.
        metric: metrics.
        provision: certificates and updates.
        store: values by key.
        test: a sign of life.
        builder: a `BuilderClient` that shares the pool.

    Raises:
        InvalidArgumentError: an argument or a variable does not fit.
    """

    account_id: str | None
    action: ActionController
    device: DeviceController
    generic: GenericController
    metric: MetricController
    provision: ProvisionController
    store: StoreController
    test: TestController
    builder: BuilderClient

    def __init__(
        self,
        api: str | None = None,
        *,
        token: str | None = None,
        bearer: bool = False,
        login: str | TokenProvider | None = None,
        origin: str | None = None,
        account_id: str | None = None,
        builder: str | None = None,
        environ: Mapping[str, str] = os.environ,
        **options: Unpack[ClientOptions],
    ) -> None:
        settings = Settings.from_env(environ)
        self._configure(options)
        if api is None and settings.api is None:
            raise InvalidArgumentError("api: no endpoint: give the base URL of the device cloud, or set IOTO_API")
        self._base = parse_endpoint(_first(api, settings.api), allow_http=self._allow_http)
        self._builder_base = parse_endpoint(
            _first(builder, settings.builder, BUILDER_URL), name="builder", allow_http=self._allow_http
        )
        self._origin = origin if origin is not None else settings.origin
        if token is None and login is None:
            if settings.token is None:
                raise InvalidArgumentError("token: no credentials: give token or login, or set IOTO_TOKEN")
            token = settings.token
        self._auth = _make_auth(token, login, self._origin, bearer=bearer)
        self.account_id = check_account(account_id if account_id is not None else settings.account_id)
        self._connect()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **options: Unpack[ClientOptions]) -> Self:
        """Make a client of the variables in *environ*; see the class for their names.

        Args:
            environ: the variables.
            options: see `ClientOptions`.

        Raises:
            InvalidArgumentError: ``IOTO_API`` or ``IOTO_TOKEN`` is not set, or a variable does not fit.
        """
        return cls(environ=environ, **options)

    def with_options(
        self,
        *,
        api: str | None = None,
        token: str | None = None,
        bearer: bool = False,
        login: str | TokenProvider | None = None,
        origin: str | None = None,
        account_id: str | None = None,
        retries: int | None = None,
        **changes: Unpack[CallerOptions],
    ) -> Self:
        """A cheap clone with some things different; it shares the pool and, unless changed, the token cache.

        Closing a clone leaves the pool open: the client that it was made from owns it.

        Args:
            api: another device cloud; with credentials of its own.
            token: other credentials, as for the class.
            bearer: as for the class; with *token*.
            login: other credentials, as for the class.
            origin: as for the class; with *login*.
            account_id: another account.
            retries: further attempts after the first.
            changes: ``timeout``, ``retry``, ``headers`` (added to the present ones), ``middlewares``, ``observer``,
                ``max_reply``.

        Raises:
            InvalidArgumentError: an argument does not fit.
        """
        clone = type(self).__new__(type(self))
        clone._share(self)
        clone._base, clone._builder_base = self._base, self._builder_base
        clone._auth = self._auth
        clone._origin = origin if origin is not None else self._origin
        clone.account_id = check_account(account_id if account_id is not None else self.account_id)
        if token is not None or login is not None:
            clone._auth = _make_auth(token, login, clone._origin, bearer=bearer)
            clone._owns_auth = True
        elif api is not None or origin is not None or bearer:
            name = "api" if api is not None else "origin" if origin is not None else "bearer"
            raise InvalidArgumentError(f"{name}: goes with credentials of its own: give token or login as well")
        if api is not None:
            clone._base = parse_endpoint(api, allow_http=self._allow_http)
        if "headers" in changes:
            changes["headers"] = {**self._options.headers, **changes["headers"]}
        clone._options = _evolved(self._options, changes)
        if retries is not None:
            clone._options = attrs.evolve(clone._options, retry=with_retries(clone._options.retry, retries))
        clone._connect()
        return clone

    def _connect(self) -> None:
        transport = Transport(self._pool, self._base, self._auth, self._options)
        self.action = ActionController(transport, self.account_id)
        self.device = DeviceController(transport, self.account_id)
        self.generic = GenericController(transport, self.account_id)
        self.metric = MetricController(transport, self.account_id)
        self.provision = ProvisionController(transport, self.account_id)
        self.store = StoreController(transport, self.account_id)
        self.test = TestController(transport, self.account_id)
        self.builder = BuilderClient._sharing(self, self._builder_base)

    def __repr__(self) -> str:
        return f"IotoClient({str(self._base)!r}, auth={self._auth!r}, account_id={self.account_id!r})"


def _first(*values: str | None) -> str:
    return next(value for value in values if value is not None)


def _make_auth(
    token: str | None, login: str | TokenProvider | None, origin: str | None, *, bearer: bool
) -> TokenAuth | LoginAuth:
    if token is not None and login is not None:
        raise InvalidArgumentError("token and login: give one of them")
    if token is not None:
        return TokenAuth(token, bearer=bearer)
    if bearer:
        raise InvalidArgumentError("bearer: a login token is sent as it is")
    if origin is None:
        raise InvalidArgumentError("origin: login tokens need the domain of the device app, or IOTO_HOST")
    assert login is not None  # both callers have looked
    return LoginAuth(login, origin=origin)
