"""The least that answers HTTP/1.1: one reply for every request, with the headers of an API Gateway and a device."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import orjson

from benchmarks import machine

__all__ = [
    "ACCOUNT_ID",
    "DEVICE_ID",
    "LATENCY",
    "PHASES",
    "limited_responder",
    "metric_responder",
    "responder",
    "slow_responder",
]

DEVICE_ID: Final = "01K9ZX5V7M3QH2B8D4T6W0R1NE"
ACCOUNT_ID: Final = "01K2C7R9E5Y1J3M6P8S0V4X2ZA"

LATENCY: Final = 0.02
"""Seconds that the slow responders take for a reply."""
PHASES: Final = ((500, 30.0), (1000, 30.0), (200, 30.0))
"""Requests a second that the limited responder serves, and for how many seconds after its first request."""
_BURST: Final = 0.05
"""Seconds of its rate that it serves at once after a pause."""

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


class _Responder(asyncio.Protocol):
    def __init__(self, latency: float, reply: Callable[[bytes], bytes]) -> None:
        self._data = b""
        self._latency = latency
        self._reply = reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._data + data
        while (head := data.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(data, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(data) < end:
                break
            reply = self._reply(data[head + 4 : end])
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._transport.write, reply)
            else:
                self._transport.write(reply)
            data = data[end:]
        self._data = data


class _Quota:
    """Serves so many requests a second, and refuses the others."""

    def __init__(self) -> None:
        self._began = self._now = 0.0
        self._tokens = PHASES[0][0] * _BURST

    def reply(self, _: bytes) -> bytes:
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


@asynccontextmanager
async def _serve(latency: float, reply: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    machine.keep_heap()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Responder(latency, reply), "127.0.0.1", 0, backlog=1024
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def responder() -> AbstractAsyncContextManager[int]:
    """Answer at once, on a free port of this machine, and give the port."""
    return _serve(0.0, lambda _: _REPLY)


def slow_responder() -> AbstractAsyncContextManager[int]:
    """The same after `LATENCY`."""
    return _serve(LATENCY, lambda _: _REPLY)


def limited_responder() -> AbstractAsyncContextManager[int]:
    """The same as `PHASES` says, with 429 for what is too much."""
    return _serve(LATENCY, _Quota().reply)


def metric_responder() -> AbstractAsyncContextManager[int]:
    """Answer requests for metrics at once, each item with one value."""
    return _serve(0.0, _metrics)
