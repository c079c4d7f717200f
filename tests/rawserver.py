"""A scripted HTTP/1.1 server on a raw socket, for what no well-behaved server does; and clients that talk to it."""

import asyncio
import contextlib
import json
import ssl
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from ioto_async import IotoClient, RetryPolicy

TOKEN = "cloud-token-0123456789"
GUARD = 180.0
"""Seconds after which a test that waits for something hangs; on a busy machine nothing that works takes so long."""


@dataclass
class Request:
    """What the server received."""

    connection: int
    """1 for the first connection."""
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True, strict_parsing=True))

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def all(self, name: str) -> list[str]:
        return [value for header, value in self.headers if header.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} was sent twice"
        return values[0] if values else None


@dataclass
class Step:
    """What happens to one request.

    Attributes:
        data: the bytes that are sent.
        close: whether the connection is closed after them.
        abort: whether it is reset instead.
        hold: an event to wait for before anything is sent.
        unread: whether the connection is closed before a request is read from it.
    """

    data: bytes = b""
    close: bool = False
    abort: bool = False
    hold: asyncio.Event | None = None
    unread: bool = False


def reply(
    status: int = 200,
    body: bytes | str | Mapping[str, Any] | list[Any] = b"{}",
    *,
    headers: Mapping[str, str] | None = None,
    chunked: bool = False,
    length: int | None = None,
    close: bool = False,
    hold: asyncio.Event | None = None,
) -> Step:
    """A reply; *length* announces another number of bytes than there are."""
    if isinstance(body, (Mapping, list)):
        body = json.dumps(body).encode()
    data = body.encode() if isinstance(body, str) else body
    head = dict(headers or {})
    head.setdefault("Content-Type", "application/json" if status < 300 else "text/plain")
    if chunked:
        head["Transfer-Encoding"] = "chunked"
        data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
    elif status in (204, 304):
        data = b""
    else:
        head["Content-Length"] = str(len(data) if length is None else length)
    if close:
        head["Connection"] = "close"
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return Step(f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode() + data, close=close, hold=hold)


def drop() -> Step:
    """Read the request, then close without an answer."""
    return Step(close=True)


def reset() -> Step:
    """Read the request, then reset the connection."""
    return Step(abort=True)


def unread() -> Step:
    """Close the connection as soon as it is there."""
    return Step(unread=True)


def silent() -> Step:
    """Read the request and never answer; ends when the client goes away."""
    return Step()


Handler = Callable[[Request], Step]


@dataclass
class RawServer:
    """Serves one step after another, or what *handler* says; a request beyond the script gets a 418."""

    steps: deque[Step] = field(default_factory=deque)
    handler: Handler | None = None
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    """Connections that are open now."""
    loop: asyncio.AbstractEventLoop = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Condition()
        self.port = 0

    @classmethod
    def of(cls, *steps: Step) -> Self:
        return cls(deque(steps))

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds; looked at when a request comes or a connection opens or ends."""
        async with asyncio.timeout(GUARD), self._changed:
            await self._changed.wait_for(condition)

    async def received(self, count: int) -> None:
        await self.until(lambda: len(self.requests) >= count)

    async def close_connections(self) -> None:
        """Close every open connection, as a server does with idle ones."""
        for writer in self._writers:
            writer.close()
        await self.until(lambda: self.open == 0)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        self.open += 1
        try:
            await self._notify()
            await self._connection(self.connections, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self.open -= 1
            await self._notify()

    async def _connection(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            if self.steps and self.steps[0].unread:
                self.steps.popleft()
                return
            request = await _read(number, reader, writer)
            self.requests.append(request)
            if self.handler is not None:
                step = self.handler(request)
            else:
                step = self.steps.popleft() if self.steps else reply(418, "beyond the script")
            await self._notify()
            if step.hold is not None:
                await step.hold.wait()
            if step.abort:
                writer.transport.abort()
                return
            if step.data:
                writer.write(step.data)
                await writer.drain()
            elif not step.close:
                await reader.read()  # never answers
                return
            if step.close:
                return


async def _read(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    if ("Expect", "100-continue") in headers:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Request(number, method, target, headers, await reader.readexactly(length))


@contextlib.contextmanager
def in_thread(*steps: Step) -> Iterator[RawServer]:
    """A server in a thread and loop of its own."""
    ready = threading.Event()
    box: list[tuple[RawServer, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        async with RawServer.of(*steps) as server:
            end = asyncio.Event()
            box.append((server, asyncio.get_running_loop(), end))
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(GUARD)
    server, loop, end = box[0]
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()


def client_of(server: RawServer | str, **options: Any) -> IotoClient:
    """A client of *server* that waits for nothing between attempts and knows nothing of the real environment."""
    options.setdefault("environ", {})
    options.setdefault("retry", RetryPolicy(base=0))
    options.setdefault("timeout", GUARD)
    if "token" not in options and "login" not in options and not options["environ"]:
        options["token"] = TOKEN
    return IotoClient(server if isinstance(server, str) else server.url, **options)


@contextlib.asynccontextmanager
async def served(
    *steps: Step, handler: Handler | None = None, **options: Any
) -> AsyncIterator[tuple[RawServer, IotoClient]]:
    """A server with a script, and a client of it."""
    async with RawServer(deque(steps), handler) as server, client_of(server, **options) as client:
        yield server, client


async def leftover_tasks() -> set[asyncio.Task[Any]]:
    """Tasks besides the current one that still run once the loop has had its turns."""
    for _ in range(10):
        await asyncio.sleep(0)
    current = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current and not task.done()}
