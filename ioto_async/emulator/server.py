"""The embedded clouds as a server: in the caller's loop, or in a thread of its own."""

import asyncio
import secrets
import ssl
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NotRequired, Self, TypedDict

from aiohttp import hdrs, web

from .bodies import find_bodies
from .control import PREFIX, ControlApp
from .faults import Faults
from .mqtt.broker import Broker, Message
from .mqtt.service import CloudService
from .otherwise import check_otherwise
from .recent import Dated, Recent
from .rest.app import Received, RestApp
from .rest.bucket import Bucket
from .rest.plain import Front, Plain, http_date
from .state.builder import Builder
from .state.clock import Clock
from .state.cloud import Cloud
from .state.pki import Authority
from .state.seeds import seed_devices
from .state.snapshots import dump, restore
from .state.storage import connect
from .wire import iso

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Emulator", "EmulatorThread", "Info"]

_KEPT: Final = 1000
_SERVER_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
# Where clients on this machine say localhost; the last two mean every address.
_LOOPBACK: Final = (*_SERVER_HOSTS, "0.0.0.0", "::")  # noqa: S104
# Seconds to wait at the end for answers under way; a fault may delay one for hours.
_SHUTDOWN_TIMEOUT: Final = 0.1
_BACKLOG: Final = 128
# X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python has no name for.
_NO_CHECK_TIME: Final = 0x200000
# What clients of AWS IoT Core at port 443 ask for (reference, section 10); one that asks for nothing is served too.
_ALPN: Final = ("x-amzn-mqtt-ca", "mqtt")


class Info(TypedDict):
    """What a client needs to know of a cloud, tokens and password included; in the first one's, of ``clouds`` too."""

    api: str
    builder: str
    token: str
    login_token: str
    origin: str
    account_id: str
    cloud_id: str
    product_token: str
    ca: str
    cognito: str
    user_pool: str
    client_id: str
    username: str
    password: str
    builder_token: str
    mqtt_host: str | None
    mqtt_port: int | None
    control: str
    console: str
    control_token: str
    clouds: NotRequired[list["Info"]]


class _Server:
    """What both forms share: how to start and stop, and what may be asked in between.

    Attributes:
        faults: what is to go wrong.
        requests: the last 1000 requests that were received, the newest at the end.
        messages: the last 1000 messages that devices published over MQTT, the newest at the end.
        run: another text after each start, for who has to know of it.
    """

    def __init__(
        self,
        *,
        db: str | Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: bool = False,
        clouds: int = 1,
        mqtt: bool = True,
        mqtt_port: int = 0,
        local_origins: bool = False,
        otherwise: Iterable[str] = (),
    ) -> None:
        """Prepare an emulator.

        Args:
            db: the file that keeps its state and identity; None for one in memory that is new each time. Further
                clouds have files of their own in its folder: ``cloud-2.db`` for the second, if this is ``cloud.db``.
            host: the name or address to listen at.
            port: the port of the first cloud; 0 for a free one, as the further ones have.
            tls: whether to serve HTTPS, with certificates issued by the CAs in the file ``ca``.
            clouds: how many clouds to serve.
            mqtt: whether to serve MQTT, over TLS for devices with the certificate that device/provision gave them.
            mqtt_port: its port for the first cloud; 0 for a free one, as the further ones have.
            local_origins: whether pages of this machine (of ``localhost`` or a loopback address, at any port) may call
                it, besides those of the device app.
            otherwise: numbers of assumptions, such as A18, that the clouds do not keep to: what they do instead is in
                `ioto_async.emulator.otherwise`.

        Raises:
            ValueError: *clouds* is less than 1, or *otherwise* has something else.
        """
        if clouds < 1:
            raise ValueError(f"clouds is {clouds}; there must be one at least")
        self._db = None if db is None else Path(db)
        self._host = host
        self._port = port
        self._tls = tls
        self._count = clouds
        self._mqtt = mqtt
        self._mqtt_port = mqtt_port
        self._local_origins = local_origins
        self._differences = check_otherwise(otherwise)
        self._clouds: list[Cloud] = []
        self._dbs: list[sqlite3.Connection] = []
        self._ca: Path | None = None
        self._stack = AsyncExitStack()
        self.run = ""
        self.faults = Faults()
        self.requests: Recent[Received] = Recent(maxlen=_KEPT)
        self.messages: Dated[Message] = Dated(maxlen=_KEPT)

    async def _start(self) -> None:
        async with AsyncExitStack() as stack:
            clouds = self._open(stack)
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ioto-emulator-")))
            ca = directory / "ca.pem" if self._db is None else self._db.with_name(self._db.name + ".ca.pem")
            ca.write_text("".join(cloud.authority.certificate for cloud in clouds))
            for number, cloud in enumerate(clouds):
                context = _context(cloud.authority, directory, self._host) if self._tls else None
                shared = cloud, self.faults, self.requests
                rest = RestApp(*shared, local_origins=self._local_origins)
                port = 0 if number else self._port
                cloud.api = await self._serve_rest(stack, rest, cloud, port, context)
                bucket = Bucket(*shared, local_origins=self._local_origins)
                cloud.files.url = await self._serve_files(stack, bucket, cloud.clock, context)
                if self._mqtt:
                    await self._serve_mqtt(stack, cloud, directory, 0 if number else self._mqtt_port)
            # Absolute, as whoever is told of it may be in another folder.
            self._clouds, self._ca = clouds, ca.absolute()
            self.run = secrets.token_hex(4)
            self._stack = stack.pop_all()

    def _open(self, stack: AsyncExitStack) -> list[Cloud]:
        """Open the databases, to be closed by *stack*, and return the clouds in them."""
        builder: Builder | None = None
        clouds: list[Cloud] = []
        self._dbs = []
        for number in range(1, self._count + 1):
            path = self._db
            if path is not None and number > 1:
                path = path.with_stem(f"{path.stem}-{number}")
            db = connect(None if path is None else str(path))
            stack.callback(db.close)
            self._dbs.append(db)
            if builder is None:
                builder = Builder(db)
                stack.callback(builder.close)
            cloud = Cloud(db, builder)
            cloud.differences = self._differences
            stack.callback(cloud.close)
            clouds.append(cloud)
        return clouds

    async def _serve_rest(
        self, stack: AsyncExitStack, rest: RestApp, cloud: Cloud, port: int, context: ssl.SSLContext | None
    ) -> str:
        """Serve the operations until *stack* ends, and return their base URL."""
        app = rest.application()
        ControlApp(self, cloud.builder.control_token).add_to(app)
        runner = await _runner(stack, app, cloud.clock)
        assert runner.server is not None  # it is set up
        # What is answered at once is answered as assumed.
        answer: Callable[[Plain], bytes | None] = (lambda _: None) if cloud.differences else rest.answer
        front = Front(answer, runner.server)
        stack.callback(front.close)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(front, self._host, port, ssl=context, backlog=_BACKLOG)
        stack.callback(server.close)
        return _url(self._host, server.sockets[0].getsockname()[1], tls=context is not None)

    async def _serve_files(
        self, stack: AsyncExitStack, bucket: Bucket, clock: Clock, context: ssl.SSLContext | None
    ) -> str:
        """Serve signed URLs until *stack* ends, and return their base URL."""
        runner = await _runner(stack, bucket.application(), clock)
        await web.TCPSite(runner, self._host, 0, ssl_context=context).start()
        return _url(self._host, runner.addresses[0][1], tls=context is not None)

    async def _serve_mqtt(self, stack: AsyncExitStack, cloud: Cloud, directory: Path, port: int) -> None:
        context = _context(cloud.authority, directory, self._host)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=cloud.authority.certificate)
        # Whether a certificate is still valid is for the clock of the cloud to say.
        context.verify_flags |= _NO_CHECK_TIME
        context.set_alpn_protocols(list(_ALPN))
        service = CloudService(cloud, self.faults, self.messages)
        service.forget_presence()
        broker = Broker(service, asyncio.get_running_loop().time, cloud.mqtt_sessions, service.note_presence)
        stack.push_async_callback(broker.stop)
        cloud.clock.moved.append(broker.advance)
        stack.callback(cloud.clock.moved.remove, broker.advance)
        cloud.mqtt_port = await broker.start(self._host, port, context)
        # Not every TLS library finds an address in a certificate, so devices are given the name where there is one.
        cloud.endpoint = "localhost" if self._host in _LOOPBACK else self._host
        cloud.publisher = broker

    async def _stop(self) -> None:
        self._clouds, self._ca = [], None
        await self._stack.aclose()

    @property
    def clouds(self) -> list[Cloud]:
        """The state of each cloud; its methods may be called from any thread.

        Raises:
            RuntimeError: the emulator is not running.
        """
        if not self._clouds:
            raise RuntimeError("The emulator is not running")
        return list(self._clouds)

    @property
    def cloud(self) -> Cloud:
        """The state of the first cloud, and of the Builder as its ``builder``."""
        return self.clouds[0]

    @property
    def api(self) -> str:
        """The base URL of the first device cloud."""
        return self.cloud.api

    @property
    def builder(self) -> str:
        """The base URL of the Builder, on the same server."""
        return f"{self.api}/api"

    @property
    def token(self) -> str:
        """A CloudAPI token."""
        return self.cloud.token

    @property
    def login_token(self) -> str:
        """A login token of the owner of ``account_id``, to be sent with ``origin``."""
        return self.cloud.login_token

    @property
    def origin(self) -> str:
        """The host of the device app."""
        return self.cloud.origin

    @property
    def account_id(self) -> str:
        """The account that claims go to unless another is named."""
        return self.cloud.account_id

    @property
    def cloud_id(self) -> str:
        """The key of the cloud."""
        return self.cloud.id

    @property
    def product_token(self) -> str:
        """The token and key of the product."""
        return self.cloud.product_token

    @property
    def cognito(self) -> str:
        """The URL for sign-ins."""
        return self.cloud.cognito

    @property
    def mqtt_host(self) -> str:
        """The host of MQTT for the first cloud, as device/provision tells it."""
        return self._served_mqtt().endpoint

    @property
    def mqtt_port(self) -> int:
        """The port of MQTT for the first cloud.

        Raises:
            RuntimeError: the emulator is not running, or serves no MQTT.
        """
        return self._served_mqtt().mqtt_port

    def _served_mqtt(self) -> Cloud:
        if not self._mqtt:
            raise RuntimeError("The emulator serves no MQTT")
        return self.cloud

    @property
    def ca(self) -> str:
        """The file with the CA certificate of each cloud, PEM: for HTTPS, and for the devices' certificates."""
        if self._ca is None:
            raise RuntimeError("The emulator is not running")
        return str(self._ca)

    @property
    def env(self) -> dict[str, str]:
        """The environment variables of the first cloud: the vendor's as its scripts and documents name them, and ours.

        ``IOTO_EMULATOR`` is the URL of the control API, ``IOTO_MQTT_HOST`` and ``IOTO_MQTT_PORT`` are where MQTT is.
        """
        cloud = self.cloud
        return {
            "IOTO_API": cloud.api,
            "IOTO_TOKEN": cloud.token,
            "IOTO_ACCOUNT": cloud.account_id,
            "IOTO_BUILDER": self.builder,
            "IOTO_HOST": cloud.origin,
            "IOTO_CLOUD": cloud.id,
            "IOTO_PRODUCT": cloud.product_token,
            "IOTO_COGNITO": cloud.cognito,
            "IOTO_CLIENT_ID": cloud.client_id,
            "IOTO_USERNAME": cloud.username,
            "IOTO_PASSWORD": cloud.password,
            "BUILDER_TOKEN": cloud.builder.token,
            "IOTO_EMULATOR": self.control,
            "IOTO_EMULATOR_TOKEN": self.control_token,
            **({"IOTO_MQTT_HOST": cloud.endpoint, "IOTO_MQTT_PORT": str(cloud.mqtt_port)} if self._mqtt else {}),
        }

    def info(self) -> Info:
        """Return all that a client needs to know of the first cloud, and of further ones in ``clouds``."""
        info, *others = map(self._info, self.clouds)
        if others:
            info["clouds"] = others
        return info

    def _info(self, cloud: Cloud) -> Info:
        return {
            "api": cloud.api,
            "builder": f"{cloud.api}/api",
            "token": cloud.token,
            "login_token": cloud.login_token,
            "origin": cloud.origin,
            "account_id": cloud.account_id,
            "cloud_id": cloud.id,
            "product_token": cloud.product_token,
            "ca": self.ca,
            "cognito": cloud.cognito,
            "user_pool": cloud.user_pool,
            "client_id": cloud.client_id,
            "username": cloud.username,
            "password": cloud.password,
            "builder_token": cloud.builder.token,
            "mqtt_host": cloud.endpoint if self._mqtt else None,
            "mqtt_port": cloud.mqtt_port if self._mqtt else None,
            "control": self.control,
            "console": self.console,
            "control_token": self.control_token,
        }

    @property
    def control(self) -> str:
        """The base URL of the control API, which does for programs in any language what this object does."""
        return f"{self.api}{PREFIX}"

    @property
    def console(self) -> str:
        """The URL of the console, the page for browsers."""
        return f"{self.control}/"

    @property
    def control_token(self) -> str:
        """What requests to the control API bring that do not come from this machine."""
        return self.cloud.builder.control_token

    @property
    def time(self) -> datetime:
        """The time of the clouds, in UTC."""
        return datetime.fromtimestamp(self.cloud.clock(), UTC)

    def status(self) -> dict[str, object]:
        """Return how it goes, as JSON: the time of the clouds, and how many devices, requests and the like there are.

        Nothing in it is secret.
        """
        with self.cloud.lock:
            clouds = [
                {"id": cloud.id, "name": cloud.name, "api": cloud.api, "devices": cloud.devices.count()}
                for cloud in self.clouds
            ]
            registered = self.cloud.builder.registry.count()
        return {
            "time": iso(self.cloud.now()),
            "ahead": self.cloud.clock.ahead,
            "registered": registered,
            "clouds": clouds,
            "faults": len(self.faults.left()),
            "requests": len(self.requests),
            "messages": len(self.messages),
        }

    def advance(self, span: float | timedelta) -> None:
        """Let time pass for all clouds; see `Cloud.advance`."""
        self.cloud.advance(span)

    def seed(self, devices: int | Iterable[Mapping[str, Any]], *, claim: bool = False, cloud: int = 1) -> list[str]:
        """Register devices, unless they are, and return their claim IDs; all of them, or none if one is refused.

        Args:
            devices: how many, to be called DEV0000001 and so on; or for each an object with its ``id``, a ``product``
                token if it is another than the Builder's own, an ``account_id`` to claim it for, and all else that is
                known of it.
            claim: whether to claim them, in the account of the cloud unless they have one.
            cloud: the number of the cloud to claim them in, from 1.

        Raises:
            Refused: a claim ID is malformed, another product's or another account's, or there is no such account.
            ValueError: *devices* is none of this, or there is no such cloud.
        """
        if not 1 <= cloud <= len(self.clouds):
            raise ValueError(f"cloud: expected a number from 1 to {len(self.clouds)}, got {cloud}")
        return seed_devices(self.clouds[cloud - 1], devices, claim=claim)

    def bodies(self, operation: str) -> list[Any]:
        """Return the bodies of the kept requests of an operation, the newest at the end; see ``requests``.

        Args:
            operation: the name, such as ``device/claim``; or that of what devices publish, such as ``mqtt/metric/set``.

        Returns:
            What their JSON says; bytes as they are where they are not JSON. Those of ``files`` are empty: the content
            of files is not kept with the requests.

        Raises:
            ValueError: there is no such operation.
        """
        return find_bodies(operation, list(self.requests), list(self.messages))

    def snapshot(self) -> list[bytes]:
        """Return all that the clouds hold; each is what is in a database file, for `restore` or the argument *db*."""
        with self.cloud.lock:
            return [dump(db) for db in self._dbs]

    def restore(self, snapshot: list[bytes]) -> None:
        """Return to a `snapshot` of these very clouds. Connections over MQTT end, and their sessions.

        Raises:
            ValueError: *snapshot* is none, or is that of other clouds.
        """
        with self.cloud.lock:
            restore(self._dbs, snapshot)
            self.cloud.builder.renew()

    def reset(self) -> None:
        """Return to the state after the first start: the same keys and tokens; no devices, faults or requests."""
        self.cloud.reset()
        self.faults.clear()
        self.requests.clear()
        self.messages.clear()
        self.faults.injected.clear()


class Emulator(_Server):
    """An embedded device cloud in the running loop: ``async with Emulator() as emu: ...``.

    Raises:
        OSError: at the start, if the address cannot be had.
    """

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()


_Ready = Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]


def _finish(ready: _Ready) -> None:
    loop, end = ready.result()
    loop.call_soon_threadsafe(end.set)


class EmulatorThread(_Server):
    """An embedded device cloud in a thread and loop of its own: ``with EmulatorThread() as emu: ...``.

    Raises:
        OSError: at the start, if the address cannot be had.
    """

    def __enter__(self) -> Self:
        ready: _Ready = Future()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="ioto-emulator")
        self._done = self._executor.submit(asyncio.run, self._serve(ready))
        either: list[Future[Any]] = [ready, self._done]
        try:
            wait(either, return_when=FIRST_COMPLETED)
        except BaseException:
            # Ctrl-C during the start: __exit__ will not be called, so the server ends as soon as it runs.
            ready.add_done_callback(_finish)
            self._executor.shutdown()
            raise
        if not ready.done():
            self._executor.shutdown()
            self._done.result()
        self._ready = ready
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _finish(self._ready)
        self._executor.shutdown()
        self._done.result()

    async def _serve(self, ready: _Ready) -> None:
        await self._start()
        end = asyncio.Event()
        ready.set_result((asyncio.get_running_loop(), end))
        await end.wait()
        await self._stop()


async def _runner(stack: AsyncExitStack, app: web.Application, clock: Clock) -> web.AppRunner:
    """What runs *app* until *stack* ends; its replies are dated by *clock*."""

    async def set_date(request: web.Request, response: web.StreamResponse) -> None:
        response.headers[hdrs.DATE] = http_date(int(clock()))

    app.on_response_prepare.append(set_date)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT)
    stack.push_async_callback(runner.cleanup)
    await runner.setup()
    return runner


def _url(host: str, port: int, *, tls: bool) -> str:
    """The base URL of a server: by name under TLS, as not every TLS library finds an address in a certificate."""
    if tls and host in _LOOPBACK:
        host = "localhost"
    # A wildcard address is not one that clients can connect to.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}"
    # The vendor's updater takes none but a bare host from a URL.
    return url if port == (443 if tls else 80) else f"{url}:{port}"


def _context(authority: Authority, directory: Path, host: str) -> ssl.SSLContext:
    certificate, key = authority.issue_server(dict.fromkeys((*_SERVER_HOSTS, host)))
    # The ssl module reads certificates from files only.
    path = directory / "server.pem"
    path.touch(mode=0o600)
    path.write_text(certificate + key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    path.unlink()
    return context
