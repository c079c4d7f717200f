"""The session managers: one pool, its credentials, and a namespace for each controller."""

import asyncio
import functools
import inspect
import re
import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal, Self, TypeVar, Unpack, overload
from weakref import WeakSet

from yarl import URL

from . import controllers
from .codec.encoding import given
from .controllers.asyncio_private import IS_COROUTINE
from .controllers.base import mqtt_only, warn_of_legacy
from .errors import InvalidArgumentError
from .models import JSON
from .operations import BUILDER, IOTO, MQTT, Kind, Operation, Reply
from .settings import (
    Settings,
    check_headers,
    check_names,
    check_text,
    flag,
    secret,
    secrets_in,
)
from .transport.auth import Auth, TokenProvider
from .transport.capture import one_request
from .transport.effects import reporting
from .transport.environment import builder_auth, builder_url, cloud_auth, cloud_url, login_of, token_of
from .transport.limits import Limits
from .transport.options import (
    CallerOptions,
    CallOptions,
    ClientOptions,
    TransportOptions,
    cassette_of,
    with_retries,
)
from .transport.pool import Pool
from .transport.proxies import concealed
from .transport.shared import Shared
from .transport.transport import Transport

if TYPE_CHECKING:
    from .bulk import Bulk, BulkOptions
    from .controllers import (
        AccountController,
        ActionController,
        AlertController,
        BuilderDeviceController,
        BuilderMetricController,
        BuilderTestController,
        DashboardController,
        DeviceController,
        FileController,
        GenericController,
        ManagerController,
        MetricController,
        ProvisionController,
        StoreController,
        TestController,
        UserController,
    )

__all__ = ["BuilderClient", "CallerOptions", "ClientOptions", "IotoClient"]

Item = TypeVar("Item")
Value = TypeVar("Value")

_NAME: Final = re.compile(r"[a-z][A-Za-z0-9]*/[a-z][A-Za-z0-9]*")
_FLAG: Final = flag()
_UNSET: Final = Settings.from_env({})


class _Client(Shared):
    """A pool and what is sent through it.

    Clones, and the `BuilderClient` of an `IotoClient`, share the pool of the client that they are made from, their
    parent. Only a client that has no parent opens the pool again and closes it.
    """

    _instead = "share it, and make another client in another process"
    _service: ClassVar[Literal["cloud", "builder"]] = "cloud"
    _known: ClassVar[Mapping[str, Operation]]
    """The operations that `call` finds by their name."""
    _pool: Pool
    _logins: WeakSet[Auth]
    """The credentials that a provider renews, those of clones among them; whoever owns the pool closes all."""
    _base: URL
    _auth: Auth
    _owns_auth: bool
    """Whether the credentials are not those of the parent."""
    _account: str | None = None
    """The account that calls act for."""

    def __init__(self, options: ClientOptions, settings: Settings, parent: "_Client | None") -> None:
        check_names(options, ClientOptions.__annotations__)
        given: dict[str, Any] = dict(options)
        self._allow_http: bool = given.pop("allow_http", False)
        _FLAG.check("allow_http", self._allow_http)
        self._options = TransportOptions(
            **{name: given.pop(name) for name in CallerOptions.__annotations__ if name in given}
        )
        self._owns_pool = parent is None
        if parent is not None:
            self._pool, self._logins = parent._pool, parent._logins
        else:
            given["cassette"] = cassette_of(given.get("cassette"), settings.record, settings.replay)
            self._pool, self._logins = _make_pool(given, allow_http=self._allow_http), WeakSet()

    def _connect(self) -> None:
        """Make the transport. A subclass that has controllers of its own may make them here."""
        self._transport = Transport(self._pool, self._base, self._auth, self._options, self._service)

    def _call_options(self) -> dict[str, Any]:
        """The options of the calls, as `CallerOptions`."""
        return {name: getattr(self._options, name) for name in CallerOptions.__annotations__}

    async def __aenter__(self) -> Self:
        if self._owns_pool:
            self._pool.reopen()
        await self._pool.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, and end the renewals of login tokens, those of clones as well.

        Calls and transfers under way raise a `ClientStateError`, through a borrowed session as well. A clone ends the
        renewal of a login of its own and leaves the connections open; a client with a borrowed session leaves them
        open, too.
        """
        try:
            if self._owns_pool:
                await self._pool.close()
        finally:
            closing = self._logins if self._owns_pool else [self._auth] if self._owns_auth else ()
            await asyncio.gather(*[auth.close() for auth in closing])

    @one_request
    @reporting
    async def call(
        self,
        name: str,
        body: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, object] | None = None,
        **options: Unpack[CallOptions],
    ) -> JSON:
        """Call any operation by its path: ``await client.call("device/get", {"id": "M72DANY8BZ"})``.

        Nothing is added to the body, the client's account neither. A documented operation is checked and retried as by
        its method; any other is taken for one that must not be sent twice.

        Args:
            name: ``controller/action``.
            body: members by wire name; None is sent as null, and `OMIT` leaves one out.
            query: members of the query string; None leaves one out.
            options: ``timeout``, ``retries``, ``headers`` of this call.

        Returns:
            The JSON value as it came; text where the reply is text, and None where it is empty.

        Raises:
            MqttOnlyError: devices call it over MQTT.
            InBandError: the reply is a 200 with nothing but an ``error``.
        """
        if isinstance(body, Mapping):
            body = secrets_in(body, "product")  # tracebacks may show this variable
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidArgumentError(f"call: expected controller/action such as device/get, got {name!r}")
        for argument, members in (("body", body), ("query", query)):
            if members is not None and not isinstance(members, Mapping):
                raise InvalidArgumentError(f"{name}: {argument}: expected a mapping, got {type(members).__name__}")
        from .codec.decoding import anything

        operation = self._known.get(name) or _unknown(name)
        if operation in MQTT.values():
            raise mqtt_only(operation)
        if operation.instead:
            warn_of_legacy(operation)
        query, body = _with_counts(operation, query or {}), given(body or {})
        return await self._transport_for(operation, body).call(operation, anything, body, options, query, nulls=True)

    def _transport_for(self, operation: Operation, body: Mapping[str, object]) -> Transport:
        """What sends an *operation* that is called by its path."""
        return self._transport

    def bulk(
        self,
        call: Callable[[Item], Awaitable[Value]],
        items: Iterable[Item] | AsyncIterable[Item],
        **options: "Unpack[BulkOptions[Item]]",
    ) -> "Bulk[Item, Value]":
        """Make one call for each of many items, many at once, in bounded memory: ``async for`` gives the outcomes.

        ::

            run = client.bulk(client.device.claim, ids, journal="claim.jsonl")
            async for outcome in run:
                print(outcome.key, outcome.status, outcome.error)
            run.raise_for_failures()

        An item that fails does not stop the others.

        Args:
            call: awaited for each item; a method of this client, or any async callable of one argument.
            items: the items, taken as there is room for them.
            options: see `BulkOptions`.

        Raises:
            InvalidArgumentError: an argument does not fit.
        """
        from .bulk import Bulk  # not every client makes bulk runs

        return Bulk(call, items, self._pool.limiter, **options)


@functools.cache
def _unknown(name: str) -> Operation:
    """A row for what is not documented; always the same for one *name*, as a transport keeps URLs by row."""
    return Operation(name, "", Kind.ONCE, Reply.OBJECT, (), (), open=True, tok=True, instead="")


def _with_counts(operation: Operation, query: Mapping[str, object]) -> Mapping[str, object]:
    """*query* with numbers for its counts, which may have been taken from a query string and so be text."""
    counts = {field.name for field in operation.query if field.type == "count"}
    return {
        name: int(value) if name in counts and isinstance(value, str) and value.isdecimal() else value
        for name, value in query.items()
    }


class _Attribute(Generic[Value]):
    """What a client makes when it is first used, as most clones use one controller; of the class, the class of it.

    So mocks know what there is: ``create_autospec(IotoClient)`` has the methods of all controllers.

    Args:
        kind: gives the class of it, which is loaded as late.
        make: makes it, given the client and the class.
    """

    _is_coroutine = IS_COROUTINE

    def __init__(self, kind: Callable[[], type[Value]], make: Callable[[Any, type[Value]], Value]) -> None:
        self._kind = kind
        self._make = make
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)  # what mocks look at from 3.14 on

    def __set_name__(self, owner: type[_Client], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, client: None, owner: type[_Client]) -> type[Value]: ...

    @overload
    def __get__(self, client: _Client, owner: type[_Client]) -> Value: ...

    def __get__(self, client: _Client | None, owner: type[_Client]) -> Value | type[Value]:
        kind = self._kind()
        if client is None:
            return kind
        made = client.__dict__[self._name] = self._make(client, kind)
        return made


def _controller(name: str) -> _Attribute[Any]:
    """The controller whose class is called *name*: most programs use one or two."""
    return _Attribute(lambda: getattr(controllers, name), lambda client, kind: kind(client._transport, client._account))


def _make_pool(options: dict[str, Any], *, allow_http: bool) -> Pool:
    """The pool of a client with the *options* that `ClientOptions` has beyond `CallerOptions`."""
    session = options.pop("session", None)
    limits = options.pop("limits", Limits())
    if session is not None and (theirs := options.keys() - {"cassette", "proxy", "trust_env"}):
        raise InvalidArgumentError(f"{min(theirs)}: a borrowed session has its own pool settings")
    return Pool(borrowed=session, allow_http=allow_http, limits=limits, **options)


class BuilderClient(_Client):
    """The Builder, where devices register before they are claimed.

    Args:
        url: base URL; ``IOTO_BUILDER`` by default, and without it the vendor's. A path in it is kept.
        token: BuilderAPI token; ``BUILDER_TOKEN`` by default. Public operations need none, and ``device.register``
            goes with the product token.
        environ: where the defaults come from; the environment of the process by default.
        options: see `ClientOptions`.

    Attributes:
        device: devices, claimed or not: register, look up, remove.
        metric: metrics of the Builder's own.
        test: calls that change nothing.

    Raises:
        InvalidArgumentError: an argument or a variable does not fit.
    """

    device: "_Attribute[BuilderDeviceController]" = _controller("BuilderDeviceController")
    metric: "_Attribute[BuilderMetricController]" = _controller("BuilderMetricController")
    test: "_Attribute[BuilderTestController]" = _controller("BuilderTestController")

    _known = BUILDER
    _service = "builder"

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        environ: Mapping[str, str] | None = None,
        _parent: "IotoClient | None" = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        # What follows may raise, and tracebacks may show these variables.
        url, token, environ = secret(url), secret(token), _concealed(environ)
        options = _without_password(options)
        settings = Settings.from_env(environ) if _parent is None else _UNSET
        super().__init__(options, settings, _parent)
        self._base = builder_url(url, settings, allow_http=self._allow_http)
        self._owns_auth = _parent is None
        if _parent is None:
            self._auth = builder_auth(token, settings)
        else:
            self._auth = _parent._builder_auth
        self._connect()

    def _transport_for(self, operation: Operation, body: Mapping[str, object]) -> Transport:
        product = body.get("product")
        if operation is BUILDER["device/register"] and product is not None:  # the table refuses to go without one
            from .controllers.builder import registering  # loaded with the controllers of the Builder

            return registering(self._transport, product)
        return self._transport

    def _repr(self) -> str:
        return f"BuilderClient({str(self._base)!r}, auth={self._auth!r})"


class _BuilderSpec(BuilderClient):
    """What ``IotoClient.builder`` is to a mock; not the class itself, whose own mocks are to be called."""

    _is_coroutine = IS_COROUTINE


class IotoClient(_Client):
    """A device cloud: the session manager, with a namespace for each controller of the API.

    ::

        async with IotoClient("https://….amazonaws.com", token=token, account_id=account) as client:
            device = await client.device.claim("M72DANY8BZ")

    The pool is made at the first call and belongs to that event loop. Without ``async with``, end with `aclose`.

    Args:
        api: base URL of the device cloud; ``IOTO_API`` by default. A path in it is kept.
        token: CloudAPI or device token; ``IOTO_TOKEN`` by default. Without it, a user is signed in by Cognito as
            ``IOTO_COGNITO``, ``IOTO_CLIENT_ID``, ``IOTO_USERNAME`` and ``IOTO_PASSWORD`` say.
        bearer: send ``bearer <token>`` instead of the token alone.
        login: login access token, or an async callable that gives one, instead of *token*.
        origin: domain of the device app, for *login*; ``IOTO_HOST`` by default.
        account_id: account that calls act for where they can name one; ``IOTO_ACCOUNT`` by default.
        builder: base URL of the Builder; ``IOTO_BUILDER`` by default, and without it the vendor's.
        builder_token: BuilderAPI token; ``BUILDER_TOKEN`` by default. Without one, ``builder`` has public operations
            alone.
        environ: where the defaults come from; the environment of the process by default.
        options: see `ClientOptions`.

    Attributes:
        account_id: see above.
        account: accounts, which own devices and users.
        action: automations.
        alert: what automations found worth telling.
        dashboard: pages of widgets.
        device: devices: claim, provision, release.
        file: files of an account.
        generic: items of any database model.
        manager: device managers, which are apps.
        metric: metrics.
        provision: certificates and updates.
        store: values by key.
        test: a sign of life.
        user: users of an account, and their sign-in.
        builder: a `BuilderClient` that shares the pool.

    Raises:
        InvalidArgumentError: an argument or a variable does not fit.
    """

    account: "_Attribute[AccountController]" = _controller("AccountController")
    action: "_Attribute[ActionController]" = _controller("ActionController")
    alert: "_Attribute[AlertController]" = _controller("AlertController")
    dashboard: "_Attribute[DashboardController]" = _controller("DashboardController")
    device: "_Attribute[DeviceController]" = _controller("DeviceController")
    file: "_Attribute[FileController]" = _controller("FileController")
    generic: "_Attribute[GenericController]" = _controller("GenericController")
    manager: "_Attribute[ManagerController]" = _controller("ManagerController")
    metric: "_Attribute[MetricController]" = _controller("MetricController")
    provision: "_Attribute[ProvisionController]" = _controller("ProvisionController")
    store: "_Attribute[StoreController]" = _controller("StoreController")
    test: "_Attribute[TestController]" = _controller("TestController")
    user: "_Attribute[UserController]" = _controller("UserController")
    builder = _Attribute[BuilderClient](lambda: _BuilderSpec, lambda client, _: client._make_builder())

    account_id: str | None = None

    _instead = "share it, make a clone with with_options(), and make another client in another process"
    _known: ClassVar[Mapping[str, Operation]] = {**MQTT, **IOTO}
    _builder_auth: Auth

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
        builder_token: str | None = None,
        environ: Mapping[str, str] | None = None,
        _parent: "IotoClient | None" = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        # What follows may raise, and tracebacks may show these variables.
        api, token, login, environ = secret(api), secret(token), secret(login), _concealed(environ)
        builder, builder_token = secret(builder), secret(builder_token)
        options = _without_password(options)
        settings = Settings.from_env(environ) if _parent is None else _UNSET
        super().__init__(options, settings, _parent)
        if self._pool.only_plays:
            settings = settings.for_replay()
        self._base = cloud_url(api, settings, allow_http=self._allow_http)
        self._builder_base = builder_url(builder, settings, allow_http=self._allow_http)
        self._origin = origin if origin is not None else settings.origin
        if account_id is not None:
            check_text("account_id", account_id)
        elif settings.account_id is not None:
            account_id = check_text("IOTO_ACCOUNT", settings.account_id)
        self.account_id = self._account = account_id
        if _parent is None and token is None and login is None:
            token = token_of(settings)
            if token is None:
                login = login_of(
                    settings,
                    ssl=options.get("ssl"),
                    proxy=options.get("proxy"),
                    trust_env=options.get("trust_env", False),
                )
        if _parent is not None and token is None and login is None:
            self._auth, self._owns_auth = _parent._auth, False
        else:
            self._owns_auth = True
            if self._pool.cassette is not None and login is not None:
                from .transport.cognito import recorded_login

                login = recorded_login(login, self._pool.cassette)
            self._auth = cloud_auth(token, login, self._origin, bearer=bearer)
            if self._auth.renewable:
                self._logins.add(self._auth)
        if _parent is not None and builder_token is None:
            self._builder_auth = _parent._builder_auth
        else:
            self._builder_auth = builder_auth(builder_token, settings)
        self._connect()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Unpack[ClientOptions]) -> Self:
        """Make a client of the variables in *environ*; see the class for their names.

        Args:
            environ: the variables; those of the process by default.
            options: see `ClientOptions`.

        Raises:
            MissingSettingError: ``IOTO_API`` is not set, or neither ``IOTO_TOKEN`` nor a sign-in is.
            InvalidArgumentError: a variable does not fit.
        """
        environ, options = _concealed(environ), _without_password(options)
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
        builder_token: str | None = None,
        retries: int | None = None,
        **changes: Unpack[CallerOptions],
    ) -> Self:
        """A cheap clone with some things different; it shares the pool and, unless changed, the token cache.

        Closing a clone leaves the pool open: the client that it was made from owns it, and closing that ends the login
        of a clone as well.

        Args:
            api: another device cloud; with credentials of its own.
            token: other credentials, as for the class.
            bearer: as for the class; with *token*.
            login: other credentials, as for the class.
            origin: as for the class; with *login*.
            account_id: another account.
            builder_token: another BuilderAPI token.
            retries: further attempts after the first.
            changes: ``timeout``, ``retry``, ``headers`` (added to the present ones), ``middlewares``, ``observer``,
                ``max_reply``, ``strict``.

        Raises:
            InvalidArgumentError: an argument does not fit.
        """
        api, token, login, builder_token = secret(api), secret(token), secret(login), secret(builder_token)
        check_names(changes, CallerOptions.__annotations__)
        if token is None and login is None and (api is not None or origin is not None or bearer):
            name = "api" if api is not None else "origin" if origin is not None else "bearer"
            raise InvalidArgumentError(f"{name}: goes with credentials of its own: give token or login as well")
        if "headers" in changes:
            changes["headers"] = {**self._options.headers, **check_headers(changes["headers"])}
        if retries is not None:
            changes["retry"] = with_retries(changes.get("retry", self._options.retry), retries)
        given = {
            "api": api,
            "token": token,
            "bearer": bearer or None,
            "login": login,
            "origin": origin,
            "account_id": account_id,
            "builder_token": builder_token,
        }
        arguments = self._arguments()
        arguments.update((name, value) for name, value in given.items() if value is not None)
        arguments.update(changes)
        return type(self)(**arguments)

    def _arguments(self) -> dict[str, Any]:
        """The arguments, by keyword, with which `with_options` calls the constructor to make a clone.

        A subclass whose constructor takes other arguments overrides this to add those, and to leave out those that it
        fixes; the rest it passes on::

            class TenantClient(IotoClient):
                def __init__(self, *args, tenant, **kwargs):
                    super().__init__(*args, **kwargs)
                    self.tenant = tenant

                def _arguments(self):
                    return {**super()._arguments(), "tenant": self.tenant}

        No argument is left to the environment. The credentials are shared if none are given.
        """
        return {
            "api": str(self._base),
            "token": None,
            "login": None,
            "origin": self._origin,
            "account_id": self.account_id,
            "builder": str(self._builder_base),
            "builder_token": None,
            "allow_http": self._allow_http,
            **self._call_options(),
            "_parent": self,
        }

    def _make_builder(self) -> BuilderClient:
        options = self._call_options()
        return BuilderClient(str(self._builder_base), _parent=self, allow_http=self._allow_http, **options)

    def _repr(self) -> str:
        return f"IotoClient({str(self._base)!r}, auth={self._auth!r}, account_id={self.account_id!r})"


def _concealed(environ: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """*environ* in a form in which nothing of it is shown."""
    return None if environ is None else {name: secret(value) for name, value in environ.items()}


def _without_password(options: ClientOptions) -> ClientOptions:
    """*options* whose proxy shows no password."""
    if "proxy" in options:
        options["proxy"] = concealed(options["proxy"])
    return options
