"""The least that answers HTTP/1.1: ready-made replies with the headers of an API Gateway, over bare epoll.

It has to be much faster than every client. So there is no asyncio in it: one process, one loop, one read and one write
for a request. It reads requests with a Content-Length, and those only.
"""

import os
import re
import select
import socket
import ssl
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import attrs
import orjson

from benchmarks import machine
from ioto_async.emulator.state.pki import Authority

from .beside import Beside, spawn
from .request import ACCOUNT_ID, DEVICE_ID

__all__ = [
    "LATENCY",
    "PHASES",
    "Where",
    "limited_responder",
    "metric_responder",
    "responder",
    "slow_responder",
]

LATENCY: Final = 0.02
"""Seconds that the slow responders take for a reply."""
PHASES: Final = ((500, 12.0), (1000, 12.0), (200, 12.0))
"""Requests a second that the limited responder serves, and for how many seconds after its first request."""
_BURST: Final = 0.05
"""Seconds of its rate that it serves at once after a pause."""
_CHUNK: Final = 1 << 14
_KNOWN: Final = 1000
"""Requests that are kept with their replies."""

_BODY: Final = orjson.dumps(
    {
        "accessed": "2025-11-20T17:45:01.987Z",
        "accountId": ACCOUNT_ID,
        "checked": "1.4.1",
        "created": "2025-10-01T08:15:30.123Z",
        "id": DEVICE_ID,
        "product": "Thermostat",
        "productId": "01K1B6Q8D4W0H2K5N7R9T3V6YC",
        "version": "1.4.2",
        # What a product adds of its own; the model keeps these apart.
        "name": "Kitchen",
        "serial": "TH-2025-000417",
    }
)


def _reply_of(body: bytes) -> bytes:
    return b"\r\n".join(
        (
            b"HTTP/1.1 200 OK",
            b"Date: Thu, 20 Nov 2025 17:45:02 GMT",
            b"Content-Type: application/json",
            b"Content-Length: %d" % len(body),
            b"Connection: keep-alive",
            b"x-amzn-RequestId: 0c7c1c0e-93a4-4d6b-8a0d-3f6f2f0b9e71",
            b"Access-Control-Allow-Origin: *",
            b"x-amz-apigw-id: UdQpXHZ3oAMEb2w=",
            b"X-Amzn-Trace-Id: Root=1-691f54ae-3c1d7e5b2f9a4c6810d2e7f4",
            b"",
            body,
        )
    )


_REPLY: Final = _reply_of(_BODY)
_REFUSAL: Final = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nContent-Length: 17\r\n\r\nToo Many Requests"
)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

Reply = bytes | Callable[[bytes], bytes]
"""The whole reply to every request, or what makes that of the body of one."""


@attrs.frozen
class Where:
    """Where the responder is: the ports of HTTP and of HTTPS, and who signed the certificate, as PEM."""

    port: int
    tls_port: int
    ca: str

    def base(self, scheme: str) -> str:
        """The base URL of *scheme*; the certificate is for ``localhost``."""
        port = self.tls_port if scheme == "https" else self.port
        return f"{scheme}://localhost:{port}"


# Connections --------------------------------------------------------------------------------------------------------


class _Connection:
    """A connection in clear text; read and write are system calls, with nothing of `socket` before them."""

    __slots__ = ("data", "read", "socket", "write")

    def __init__(self, sock: socket.socket) -> None:
        self.socket: socket.socket | None = sock
        self.read: Callable[[int], bytes] = partial(os.read, sock.fileno())
        self.write: Callable[[bytes], int] = partial(os.write, sock.fileno())
        self.data = b""

    def close(self) -> None:
        """Close it, and forget it: its number may soon be another's."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class _Secure(_Connection):
    """A connection over TLS."""

    __slots__ = ("_secure",)

    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__(sock)
        self._secure = sock
        self.read = self._begin

    def _begin(self, size: int) -> bytes:
        """Shake hands, and read once that is done; until then it raises that it has to wait."""
        self._secure.do_handshake()
        self.read, self.write = self._secure.read, self._secure.write
        return self._secure.read(size)


# The loop -----------------------------------------------------------------------------------------------------------


class _Responder:
    def __init__(self, reply: Reply, latency: float) -> None:
        self._reply = reply
        self._latency = latency
        self._known: dict[bytes, bytes] = {}
        """Whole requests and their replies: whoever sends the same again is answered at once."""
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._listeners: dict[int, tuple[socket.socket, ssl.SSLContext | None]] = {}
        self._due: deque[tuple[float, _Connection, bytes]] = deque()
        """Replies that wait; the first of them is the next."""

    def listen(self, context: ssl.SSLContext | None) -> int:
        """Accept connections on a free port of this machine; the result is the port."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        listener.setblocking(False)
        self._listeners[listener.fileno()] = listener, context
        self._epoll.register(listener.fileno(), select.EPOLLIN)
        return int(listener.getsockname()[1])

    def run(self, pipe: Connection) -> None:
        """Answer until *pipe* ends; what it sends is answered with this process's CPU time."""
        asked = pipe.fileno()
        self._epoll.register(asked, select.EPOLLIN)
        connections, known, due, poll = self._connections, self._known, self._due, self._epoll.poll
        while True:
            for number, _ in poll(self._answer_due() if due else None):
                connection = connections.get(number)
                if connection is not None:
                    try:
                        data = connection.read(_CHUNK)
                        reply = known.get(data)
                        if reply is None or connection.data:
                            self._answer(connection, data)
                        else:
                            _write(connection, reply)
                    except (ssl.SSLWantReadError, BlockingIOError):
                        pass
                    except OSError:
                        self._lose(number)
                elif number == asked:
                    try:
                        pipe.recv()
                    except EOFError:
                        return
                    pipe.send(time.process_time())
                else:
                    self._accept(*self._listeners[number])

    def _accept(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except BlockingIOError:
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is None:
                connection = _Connection(accepted)
            else:
                connection = _Secure(context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False))
            assert connection.socket is not None
            number = connection.socket.fileno()
            self._connections[number] = connection
            self._epoll.register(number, select.EPOLLIN)

    def _answer(self, connection: _Connection, data: bytes) -> None:
        if not data:
            raise ConnectionResetError
        if connection.data:
            data = connection.data + data
        while (head := data.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(data, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(data) < end:
                break
            same = isinstance(self._reply, bytes)
            reply = self._reply if isinstance(self._reply, bytes) else self._reply(data[head + 4 : end])
            if self._latency:
                self._due.append((time.monotonic() + self._latency, connection, reply))
            else:
                if same and len(data) == end and len(self._known) < _KNOWN:
                    self._known[data] = reply
                _write(connection, reply)
            data = data[end:]
        connection.data = data

    def _answer_due(self) -> float | None:
        """Send the replies that are due; the result is for how long to wait for requests, None for ever."""
        while self._due:
            due, connection, reply = self._due[0]
            left = due - time.monotonic()
            if left > 0:
                # epoll counts whole milliseconds, and would round up: the last of them is spent turning.
                return int(left * 1000) / 1000
            self._due.popleft()
            if connection.socket is not None:
                try:
                    _write(connection, reply)
                except OSError:
                    self._lose(connection.socket.fileno())
        return None

    def _lose(self, number: int) -> None:
        self._epoll.unregister(number)
        self._connections.pop(number).close()


def _write(connection: _Connection, reply: bytes) -> None:
    """Write all of *reply*; few replies are so large that the client has to read some of them first."""
    while True:
        try:
            written = connection.write(reply)
        except (BlockingIOError, ssl.SSLWantWriteError):
            written = 0
        if written == len(reply):
            return
        reply = reply[written:]
        assert connection.socket is not None
        writable = select.poll()
        writable.register(connection.socket.fileno(), select.POLLOUT)
        writable.poll()


# What is served -----------------------------------------------------------------------------------------------------


class _Quota:
    """Serves so many requests a second, and refuses the others."""

    def __init__(self) -> None:
        self._began = self._now = 0.0
        self._tokens = PHASES[0][0] * _BURST

    def __call__(self, _: bytes) -> bytes:
        now = time.monotonic()
        if not self._began:
            self._began = self._now = now
        rate = self._rate(now - self._began)
        self._tokens = min(self._tokens + (now - self._now) * rate, rate * _BURST)
        self._now = now
        if self._tokens < 1:
            return _REFUSAL
        self._tokens -= 1
        return _REPLY

    def _rate(self, elapsed: float) -> int:
        for rate, seconds in PHASES:
            if elapsed < seconds:
                return rate
            elapsed -= seconds
        return PHASES[-1][0]


def _metrics(body: bytes) -> bytes:
    """Answer ``metric/fetch``: a point for every item."""
    answers = [
        {
            "dimensions": item["dimensions"],
            "metric": item["metric"],
            "namespace": item["namespace"],
            "owner": ACCOUNT_ID,
            "period": 300,
            "points": [{"value": 21.5, "timestamp": 1763660702, "count": 3}],
            "samples": 10,
            **({"id": item["id"]} if "id" in item else {}),
        }
        for item in orjson.loads(body)["items"]
    ]
    return _reply_of(orjson.dumps({"data": answers, "paged": True}))


def _run(reply: Reply, latency: float, pipe: Connection) -> None:
    authority = Authority.create()
    certificate, key = authority.issue_server(["localhost", "127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        # The ssl module reads certificates from files only.
        path = Path(folder) / "server.pem"
        path.write_text(certificate + key)
        context.load_cert_chain(path)
    made = _Responder(reply, latency)
    pipe.send(Where(made.listen(None), made.listen(context), authority.certificate))
    made.run(pipe)


@contextmanager
def _responding(reply: Reply, latency: float) -> Iterator[Beside[Where]]:
    with spawn(partial(_run, reply, latency), machine.server_core()) as pipe:
        yield Beside(pipe.recv(), pipe)


def responder() -> AbstractContextManager[Beside[Where]]:
    """Answer at once with a device, beside this process."""
    return _responding(_REPLY, 0.0)


def slow_responder() -> AbstractContextManager[Beside[Where]]:
    """The same after `LATENCY`."""
    return _responding(_REPLY, LATENCY)


def limited_responder() -> AbstractContextManager[Beside[Where]]:
    """The same as `PHASES` says, with 429 for what is too much."""
    return _responding(_Quota(), LATENCY)


def metric_responder() -> AbstractContextManager[Beside[Where]]:
    """Answer requests for metrics at once, each item with one value."""
    return _responding(_metrics, 0.0)
