"""The reply to one call as it came, kept where `with_raw_response` asks for it."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from types import MethodType
from typing import TYPE_CHECKING, Final, TypeVar

from multidict import CIMultiDict

from ..operations import OPERATION
from ..settings import secret

if TYPE_CHECKING:
    from .attempt import Response, attempt

__all__ = ["CAPTURE", "Capture", "makes_one_request", "one_request", "take_capture"]

F = TypeVar("F", bound=Callable[..., object])


class Capture:
    """The last reply to a call.

    Attributes:
        status: HTTP status; None as long as there is no reply.
        headers: as they came; a value that holds a token of the client is a `Secret`.
        body: the body, without its content encoding.
        attempts: number of the attempt that it answers, from 1.
        elapsed: seconds that this attempt has taken.
    """

    __slots__ = ("attempts", "body", "elapsed", "headers", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.body = b""
        self.attempts = 0
        self.elapsed = 0.0

    def keep(self, response: "Response", body: bytes, trying: "attempt", mask: Callable[[str], str]) -> None:
        """Keep a *response*.

        Args:
            response: the reply, which has been read.
            body: its body.
            trying: the attempt that it ends.
            mask: takes the tokens of the client out of a text.
        """
        self.status, self.body, self.attempts = response.status, body, trying.number
        self.elapsed = time.monotonic() - trying.started
        for name, value in response.headers.items():
            self.headers.add(name, value if mask(value) == value else secret(value))


CAPTURE: Final[ContextVar[Capture | None]] = ContextVar("ioto_async_capture", default=None)
"""Where the reply to the next call of the present task is kept."""


def take_capture() -> Capture | None:
    """Take what `CAPTURE` holds for one call, so that none that is made meanwhile, as by a token provider, finds it."""
    capture = CAPTURE.get()
    CAPTURE.set(None)
    return capture


_ONE_REQUEST: Final = "__makes_one_request__"


def one_request(method: F) -> F:
    """Mark a *method* that makes exactly one request, though no operation is named like it."""
    setattr(method, _ONE_REQUEST, True)
    return method


def makes_one_request(method: Callable[..., object]) -> bool:
    """Whether *method* is a bound method of a client that makes exactly one request."""
    is_marked = getattr(method, OPERATION, None) is not None or getattr(method, _ONE_REQUEST, False) is True
    return isinstance(method, MethodType) and is_marked
