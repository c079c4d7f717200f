"""The broker's end of a TLS connection, in which each packet is a record of its own.

The vendor's agent reads wrongly where two packets have come in one TLS record and another record follows. A transport
of asyncio's needs a system call for each record; here all that is written before a `flush` leaves with one.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Final, Protocol, cast

from ..faults import reset

__all__ = ["Tls", "Upper"]

# Seconds; as asyncio has them, or less.
_HANDSHAKE_TIMEOUT: Final = 30.0
_SHUTDOWN_TIMEOUT: Final = 30.0
_RECORD: Final = 2**14


class Upper(Protocol):
    """What is served over TLS; called as an `asyncio.Protocol` is."""

    def connection_made(self, tls: "Tls") -> None:
        """Begin, once the handshake is done."""

    def data_received(self, data: bytes) -> None:
        """Take what was in a record."""

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the connection has ended; not called if the handshake did not come to its end."""


class Tls(asyncio.Protocol):
    """A protocol for the transport below, and what the protocol above writes to.

    Args:
        upper: what is served.
        context: of a server.
    """

    def __init__(self, upper: Upper, context: ssl.SSLContext) -> None:
        self._upper = upper
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._is_shaken = self._is_closing = False

    # From the loop ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        self._abort_after(_HANDSHAKE_TIMEOUT)

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake, or hand up what the records hold."""
        if self._is_closing:
            return
        self._incoming.write(data)
        try:
            if not self._is_shaken:
                self._shake()
            while not self._is_closing:
                data = self._tls.read(_RECORD)
                if not data:
                    self.close()
                    return
                self._upper.data_received(data)
        except ssl.SSLWantReadError:
            self.flush()
        except ssl.SSLError:
            self.flush()  # the alert that says why
            self._is_closing = True
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the connection has ended."""
        self._is_closing = True
        self._stop_timer()
        if self._is_shaken:
            self._upper.connection_lost(error)

    # From above ---------------------------------------------------------------------------------------------------

    def peer_certificate(self) -> bytes:
        """Return the certificate of the client (DER), empty if it has shown none."""
        return self._tls.getpeercert(binary_form=True) or b""

    def write(self, data: bytes) -> None:
        """Make *data* a record, more only if it is larger than a record can be; it leaves with the next `flush`."""
        if not self._is_closing:
            self._tls.write(data)

    def flush(self) -> None:
        """Send what was written."""
        if self._outgoing.pending and not self._transport.is_closing():
            self._transport.write(self._outgoing.read())

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for the client to read."""
        return self._transport.get_write_buffer_size()

    def is_closing(self) -> bool:
        """Say whether the connection has ended or is about to."""
        return self._is_closing

    def close(self) -> None:
        """End the connection after what was written; what comes meanwhile is not read."""
        if self._is_closing:
            return
        with suppress(ssl.SSLError):  # the answer is not waited for
            self._tls.unwrap()
        self.flush()
        self._is_closing = True
        if self._transport.is_closing():
            return
        # A socket that is closed with something unread takes from the peer what it has not read yet.
        self._transport.write_eof()
        self._abort_after(_SHUTDOWN_TIMEOUT)

    def abort(self) -> None:
        """End the connection at once."""
        self._is_closing = True
        self._transport.abort()

    def reset(self) -> None:
        """Reset the connection."""
        self._is_closing = True
        if not self._transport.is_closing():
            reset(self._transport)

    def _shake(self) -> None:
        self._tls.do_handshake()
        self._is_shaken = True
        self._stop_timer()
        self._upper.connection_made(self)

    def _abort_after(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
