"""The embedded cloud as a server: in the caller's loop, or in a thread of its own. Imports the emulator's parts."""

import asyncio
import ssl
import tempfile
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from .app import Door, Received
from .cloud import Cloud
from .faults import Faults
from .pki import Authority
from .storage import connect

__all__ = ["Emulator", "EmulatorThread"]

_KEPT_REQUESTS: Final = 1000
_SERVER_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
# How long to wait at the end, seconds, for answers under way; a fault may hold one back for hours.
_SHUTDOWN_TIMEOUT: Final = 0.1


class _Server:
    """What both forms share: how to start and stop, and what may be asked in between.

    Attributes:
        faults: what is to go wrong.
        requests: the last 1000 requests that were received, the newest at the end.
    """

    def __init__(
        self, *, db: str | Path | None = None, host: str = "127.0.0.1", port: int = 0, tls: bool = False
    ) -> None:
        """Prepare an emulator.

        Args:
            db: the file that keeps its state and identity; None for one in memory that is new each time.
            host: the name or address to listen at.
            port: the port; 0 for a free one.
            tls: whether to serve HTTPS, with a certificate issued by the CA in the file ``ca``.
        """
        self._db = None if db is None else Path(db)
        self._host = host
        self._port = port
        self._tls = tls
        self._cloud: Cloud | None = None
        self._ca: Path | None = None
        self._stack = AsyncExitStack()
        self.faults = Faults()
        self.requests: deque[Received] = deque(maxlen=_KEPT_REQUESTS)

    async def _start(self) -> None:
        async with AsyncExitStack() as stack:
            db = connect(None if self._db is None else str(self._db))
            stack.callback(db.close)
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ioto-emulator-")))
            cloud = Cloud(db)
            stack.callback(cloud.close)
            ca = directory / "ca.pem" if self._db is None else self._db.with_name(self._db.name + ".ca.pem")
            ca.write_text(cloud.authority.certificate)
            context = _context(cloud.authority, directory, self._host) if self._tls else None
            app = Door(cloud, self.faults, self.requests).application()
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.TCPSite(runner, self._host, self._port, ssl_context=context).start()
            # Where it listens at every address, clients are told the one that leads here.
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
            host = f"[{host}]" if ":" in host else host
            cloud.api = f"{'https' if self._tls else 'http'}://{host}:{runner.addresses[0][1]}"
            self._cloud, self._ca = cloud, ca
            self._stack = stack.pop_all()

    async def _stop(self) -> None:
        self._cloud = self._ca = None
        await self._stack.aclose()

    @property
    def cloud(self) -> Cloud:
        """The state; its methods may be called from any thread.

        Raises:
            RuntimeError: the emulator is not running.
        """
        if self._cloud is None:
            raise RuntimeError("The emulator is not running")
        return self._cloud

    @property
    def api(self) -> str:
        """The base URL of the device cloud."""
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
    def ca(self) -> str:
        """The file with the CA certificate, PEM: for HTTPS, and for the devices' certificates."""
        if self._ca is None:
            raise RuntimeError("The emulator is not running")
        return str(self._ca)

    @property
    def env(self) -> dict[str, str]:
        """The vendor's environment variables for this cloud (wire examples, section 2)."""
        return {
            "IOTO_API": self.api,
            "IOTO_TOKEN": self.token,
            "IOTO_ACCOUNT": self.account_id,
            "IOTO_BUILDER": self.builder,
            "IOTO_HOST": self.origin,
        }

    def info(self) -> dict[str, str]:
        """Return all that a client needs to know, tokens included."""
        return {
            "api": self.api,
            "builder": self.builder,
            "token": self.token,
            "login_token": self.login_token,
            "origin": self.origin,
            "account_id": self.account_id,
            "cloud_id": self.cloud_id,
            "product_token": self.product_token,
            "ca": self.ca,
        }

    def reset(self) -> None:
        """Return to the state after the first start: the same keys and tokens, no devices, faults or requests."""
        self.cloud.reset()
        self.faults.clear()
        self.requests.clear()


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
            # An impatient Ctrl-C: nobody will leave this block, so the server ends as soon as it runs.
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
