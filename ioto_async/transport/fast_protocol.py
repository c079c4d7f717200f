"""A connection that reads plain replies by itself, and leaves all others to aiohttp.

With a reply that is not plain, and with the end of the connection, aiohttp's parser gets the same bytes, so that what
is unusual comes out as it always does.
"""

import asyncio
import re
from typing import Any, Final

from aiohttp.client_proto import ResponseHandler

__all__ = ["FastProtocol", "closed_before"]

_LONGEST_HEAD: Final = 4096
_SENT_AT_ONCE: Final = 4096
"""Bytes that the system takes in any case from a connection on which nothing is under way."""

_FIELD: Final = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]++:[ -~]*+\r\n"
_FRAMING: Final = rb"(?i:content-length|content-encoding|transfer-encoding|connection|proxy-connection|upgrade):"
"""Names of fields that say where a body ends, how it is coded, or what becomes of the connection."""
_FIELDS: Final = (
    rb"(?:(?![CcPpTtUu])" + _FIELD + rb"|(?!" + _FRAMING + rb")" + _FIELD + rb"|(?i:connection: keep-alive)\r\n){0,60}+"
)
_PLAIN: Final = re.compile(
    rb"HTTP/1\.1 200 [ -~]*+\r\n" + _FIELDS + rb"(?i:content-length): ?([0-9]{1,7})\r\n" + _FIELDS + rb"\r\n"
).match
"""The head of a plain reply: of what aiohttp accepts a strict part, whose body is as long as its one length says."""


class FastProtocol(ResponseHandler):
    """aiohttp's protocol of a connection; while a `FastPath` waits for a reply, it reads that if it is plain."""

    fast_waiter: asyncio.Future[bytes | None] | None = None
    """Waits for the body of a plain reply, or for None, which says that aiohttp reads it."""
    _fast_held: list[bytes]
    """The beginning of the reply, in the pieces in which it came."""
    _fast_begin = _fast_end = _fast_size = _fast_largest = 0
    _fast_is_long = _fast_is_idle = False

    def check_open(self) -> None:
        """Make sure that what is sent reaches the socket, and that what comes is the reply to it.

        Raises:
            ConnectionResetError: the connection has ended, or something has come that nobody asked for.
        """
        if self.should_close or not self.is_connected():
            raise closed_before()

    def exchange(self, request: bytes, *, largest: int) -> asyncio.Future[bytes | None]:
        """Send a *request*, after `check_open`.

        Returns:
            The body of a plain reply, status 200, of at most *largest* bytes; None where aiohttp reads the reply, or
            how the connection has ended.
        """
        assert self.transport is not None  # for mypy
        self._fast_largest = largest
        self._fast_is_long = len(request) > _SENT_AT_ONCE
        self.fast_waiter = waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return waiter

    def data_received(self, data: bytes) -> None:
        """Read *data* if it is of a plain reply, or let aiohttp do so."""
        waiter = self.fast_waiter
        if waiter is None:
            if not self._fast_is_idle:
                super().data_received(data)
            elif data.strip(b"\r\n") and self.transport is not None:  # aiohttp's parser skips empty lines
                self.transport.close()  # nobody has asked for it, and it must not be taken for the next reply
        elif self._fast_size:
            self._fast_held.append(data)
            self._fast_size += len(data)
            self._go_on(waiter)
        elif (plain := _PLAIN(data, 0, _LONGEST_HEAD)) is None:  # nor is one whose head comes in parts
            self._hand_over(waiter, [data])
        else:
            begin = plain.end()
            end = begin + int(plain[1])
            if len(data) == end and end - begin <= self._fast_largest:
                self._complete(waiter, data[begin:])
            else:
                self._fast_held, self._fast_size = [data], len(data)
                self._fast_begin, self._fast_end = begin, end
                self._go_on(waiter)

    def _go_on(self, waiter: asyncio.Future[bytes | None]) -> None:
        """Look whether the body is complete."""
        if self._fast_size > self._fast_end or self._fast_end - self._fast_begin > self._fast_largest:
            self._hand_over(waiter, self._fast_held)
        elif self._fast_size == self._fast_end:
            body = b"".join(self._fast_held)[self._fast_begin :]
            self._fast_held, self._fast_size = [], 0
            self._complete(waiter, body)

    def _complete(self, waiter: asyncio.Future[bytes | None], body: bytes) -> None:
        self.fast_waiter, self._fast_is_idle = None, True
        self._check_sent()
        if not waiter.done():
            waiter.set_result(body)

    def _check_sent(self) -> None:
        """Give the connection up if a reply is there before all was sent: another request would follow in its midst."""
        if self._fast_is_long and self.transport is not None and self.transport.get_write_buffer_size():
            self.force_close()

    def _hand_over(self, waiter: asyncio.Future[bytes | None], held: list[bytes]) -> None:
        """Let aiohttp read what has come, in the same pieces, and what comes."""
        self.fast_waiter = None
        self._fast_held, self._fast_size = [], 0
        self._check_sent()
        self.set_response_params(read_until_eof=True)
        for piece in held:
            super().data_received(piece)
        if not waiter.done():
            waiter.set_result(None)

    def set_response_params(self, **params: Any) -> None:
        """Note that aiohttp reads what comes."""
        self._fast_is_idle = False
        super().set_response_params(**params)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let aiohttp tell whoever waits for a reply."""
        if self.fast_waiter is not None:
            self._hand_over(self.fast_waiter, self._fast_held if self._fast_size else [])
        super().connection_lost(exc)


def closed_before() -> ConnectionResetError:
    """What to raise where a connection has ended before anything was sent, as a server ends idle ones."""
    return ConnectionResetError("the connection was closed before the request could be sent")
