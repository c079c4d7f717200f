"""Every error that the client raises.

::

    IotoError
    ├── InvalidArgumentError        an argument, setting or token was refused; nothing was sent    (ValueError)
    │   ├── MissingSettingError     a setting is given neither as an argument nor by the environment
    │   └── MqttOnlyError           the operation is for devices over MQTT, and has no HTTP form
    ├── ClientStateError            closed client, or a second running event loop                  (RuntimeError)
    ├── CassetteError               a cassette cannot be read, or has no reply for a request
    └── CallError                   a call failed: operation, status, attempts, sent, …
        ├── ConnectionFailedError   never delivered: refused, DNS, TLS, not sent in time
        ├── ConnectionLostError     the connection broke after the request was sent
        ├── CallTimeoutError        no complete reply in time                                      (TimeoutError)
        ├── PoolTimeoutError        no turn within ``pool_timeout``; nothing was sent              (TimeoutError)
        ├── OutcomeUnknownError     a request that must not be repeated may or may not have worked
        ├── TokenProviderError      the provider of login tokens failed
        ├── StatusError             the service answered with another status than 2xx
        │   ├── BadRequestError     400, 422
        │   │   └── NotFoundError   4xx that says so, or an empty 200: a record is not there       (LookupError)
        │   ├── AuthenticationError 401, 403: token missing, refused, expired, or of too low a role
        │   ├── RateLimitedError    429
        │   ├── ServiceError        5xx
        │   └── UnexpectedStatusError   anything else, redirects among them
        ├── InBandError             a 200 that carries an ``error`` member
        │   └── DeviceBlockedError  device/provision answered with a ``delay``
        ├── TransferError           what was transferred is not what was announced: expected, actual
        ├── DecodeError             the reply is not what the operation answers: JSON path, expectation
        └── PagingError             the service repeated a cursor

Errors can be pickled. Their texts never hold a token or a key.
"""

import copy
from typing import ClassVar, TypeVar

__all__ = [
    "AuthenticationError",
    "BadRequestError",
    "CallError",
    "CallTimeoutError",
    "CassetteError",
    "ClientStateError",
    "ConnectionFailedError",
    "ConnectionLostError",
    "DecodeError",
    "DeviceBlockedError",
    "InBandError",
    "InvalidArgumentError",
    "IotoError",
    "MissingSettingError",
    "MqttOnlyError",
    "NotFoundError",
    "OutcomeUnknownError",
    "PagingError",
    "PoolTimeoutError",
    "RateLimitedError",
    "ServiceError",
    "StatusError",
    "TokenProviderError",
    "TransferError",
    "UnexpectedStatusError",
]


E = TypeVar("E", bound=BaseException)


def one_line(text: str) -> str:
    """*text* of a service as errors show it: printable, in one line, at most 500 characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:500]


def _rebuild(cls: "type[IotoError]", args: tuple[object, ...], state: dict[str, object]) -> "IotoError":
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class IotoError(Exception):
    """Root of all errors of this package."""

    def __reduce__(self) -> tuple[object, ...]:
        # The constructors take keywords, which Exception's own pickling does not know.
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def copy_of(error: E) -> E:
    """An *error* for one caller alone: tracebacks and notes of others would get into one that is shared.

    Those that are not of this package come as they are: not all can be copied, or not into the same.
    """
    if not isinstance(error, IotoError):
        return error
    own = copy.copy(error)
    if hasattr(error, "__notes__"):
        own.__notes__ = [*error.__notes__]
    own.__cause__, own.__suppress_context__ = error.__cause__, error.__suppress_context__
    return own.with_traceback(error.__traceback__)


class InvalidArgumentError(IotoError, ValueError):
    """An argument, a setting or a token was refused before anything was sent; the text names it."""


class MissingSettingError(InvalidArgumentError):
    """A setting is needed that is given neither as an argument nor by the environment.

    Attributes:
        what: what is missing, such as ``credentials``.
        argument: what to give it as, such as ``token or login``.
        variable: what to set instead, such as ``IOTO_TOKEN``.
    """

    def __init__(self, what: str, *, argument: str, variable: str) -> None:
        super().__init__(f"{argument.partition(' ')[0]}: no {what}: give {argument}, or set {variable}")
        self.what = what
        self.argument = argument
        self.variable = variable


class MqttOnlyError(InvalidArgumentError):
    """The operation is one that devices call over MQTT; the text says what does the same over HTTP."""


class ClientStateError(IotoError, RuntimeError):
    """The client is closed, or it is used from a second event loop while its own still runs.

    Attributes:
        outcome_unknown: whether a request had been sent, so that its work may have been done.
    """

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class CassetteError(IotoError):
    """A cassette is damaged, or what is played does not fit it: a request that was not recorded, or is not its turn.

    The text names the file and the line, and what differs from the nearest request there.
    """


class CallError(IotoError):
    """A call failed.

    Attributes:
        operation: ``controller/action``; of a transfer through a signed URL ``controller/upload`` or the like.
        status: HTTP status of the last reply, or None where there was none.
        message: the service's own text (one line, at most 500 characters), or what happened.
        attempts: how many times the request was tried.
        sent: whether the last attempt had begun to write the request.
        outcome_unknown: whether the work may have been done although the call failed. Never set for an
            operation that only reads.
        retry_after: seconds that the service asked to wait, or None.
    """

    _tells_status: ClassVar = True

    def __init__(
        self,
        message: str,
        *,
        operation: str,
        status: int | None = None,
        attempts: int = 1,
        sent: bool = True,
        outcome_unknown: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.status = status
        self.attempts = attempts
        self.sent = sent
        self.outcome_unknown = outcome_unknown
        self.retry_after = retry_after

    def amend(self, *, operation: str, attempts: int, message: str, outcome_unknown: bool) -> None:
        """Add what only the sender of the request knows."""
        self.operation, self.attempts, self.outcome_unknown = operation, attempts, outcome_unknown
        self.message = message
        self.args = (message,)

    def __str__(self) -> str:
        parts = [f"{self.operation}: "]
        if self.status is not None and self._tells_status:
            parts.append(f"{self.status} ")
        parts.append(self.message)
        if self.attempts > 1:
            parts.append(f" ({self.attempts} attempts)")
        if self.retry_after is not None:
            parts.append(f" (retry after {self.retry_after:g} s)")
        return "".join(parts)


class ConnectionFailedError(CallError):
    """The request was never delivered: connection refused, DNS, TLS, a proxy, or no connection within ``timeout``."""


class ConnectionLostError(CallError):
    """The connection broke after the request was sent, or the reply was cut off."""


class CallTimeoutError(CallError, TimeoutError):
    """There was no complete reply within the call's ``timeout``, or a large one could not be read in time."""


class PoolTimeoutError(CallError, TimeoutError):
    """The call had no turn within ``pool_timeout``: others had all connections, or the limits; nothing was sent."""


class OutcomeUnknownError(CallError):
    """A request that must not be repeated was sent, and whether it worked is not known.

    ``__cause__`` is the failure itself. Ask the service what became of it before doing it again.
    """


class TokenProviderError(CallError):
    """The provider of login tokens raised, or returned something that is no token; see ``__cause__``."""


class StatusError(CallError):
    """The service answered with a status other than 2xx; ``message`` is its text."""


class BadRequestError(StatusError):
    """400, or 422: the service refuses the request as it is."""


class NotFoundError(BadRequestError, LookupError):
    """The record or file that the call is about is not there, or not the caller's.

    The service says so in words such as "Cannot find device" and a status of 4xx that is not about access, or by an
    empty reply; or a signed URL answers 404.
    """


class AuthenticationError(StatusError):
    """401 or 403: the token is missing, refused or expired, or its role does not allow the operation.

    403 from a signed URL: it has expired or was not made for this request. Over MQTT, without a status: the broker does
    not take the certificate, or the device.
    """


class RateLimitedError(StatusError):
    """429: refused without work; ``retry_after`` says for how long, if the service said so.

    Over MQTT, without a status: the cloud has closed the connection of the device for too much traffic.
    """


class ServiceError(StatusError):
    """5xx: the service failed."""


class UnexpectedStatusError(StatusError):
    """A status that the API does not have, such as a redirect."""


class InBandError(CallError):
    """The reply is a 200 with an ``error`` member, whose text is ``message``."""


class DeviceBlockedError(InBandError):
    """The device is blocked for excess traffic; ``delay`` is the number of seconds until the block ends."""

    def __init__(self, message: str, *, operation: str, delay: float) -> None:
        super().__init__(message, operation=operation, status=200)
        self.delay = delay

    def __str__(self) -> str:
        return f"{super().__str__()} (blocked for {self.delay:g} s)"


class TransferError(CallError):
    """The bytes of a file are not the ones that were announced; the file of a download was not touched.

    Attributes:
        expected: the number of bytes (the largest allowed, where there is a limit), or the SHA-256 checksum in hex.
        actual: the same of what came; None where it was not told.
    """

    _tells_status = False  # it is that of a success

    def __init__(
        self,
        message: str,
        *,
        operation: str,
        expected: int | str,
        actual: int | str | None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, operation=operation, status=status)
        self.expected = expected
        self.actual = actual


class DecodeError(CallError):
    """The reply is not what the operation answers.

    Attributes:
        path: JSON path of the first member that does not fit, ``$`` for the whole reply.
    """

    def __init__(self, message: str, *, operation: str, path: str = "$", status: int | None = 200) -> None:
        super().__init__(message, operation=operation, status=status)
        self.path = path

    def __str__(self) -> str:
        return f"{self.operation}: reply at {self.path}: {self.message}"


class PagingError(CallError):
    """The service sent a cursor that it had sent before, so that walking on would never end."""
