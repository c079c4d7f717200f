"""What the service sent beside the record: `with_raw_response`, and the `RawResponse` that it gives."""

from collections.abc import Callable, Coroutine, Mapping
from functools import partial, wraps
from types import MethodType
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast

import attrs
from multidict import CIMultiDict, CIMultiDictProxy

from ..errors import InvalidArgumentError
from ..settings import secret
from .capture import CAPTURE, Capture, makes_one_request
from .masking import is_secret

__all__ = ["RawResponse", "with_raw_response"]

P = ParamSpec("P")
T = TypeVar("T")

_REQUEST_IDS: Final = ("x-amzn-requestid", "apigw-requestid")
"""The headers in which AWS names a request: Lambda and REST APIs the first, HTTP APIs the second."""


def _read_only(headers: Mapping[str, str]) -> CIMultiDictProxy[str]:
    """A copy of *headers* in which what is secret by its name is a `Secret`."""
    own = [(name, secret(value) if is_secret(name) else value) for name, value in headers.items()]
    return CIMultiDictProxy(CIMultiDict(own))


@attrs.frozen(kw_only=True)
class RawResponse(Generic[T]):
    """The response to one call: the record, and what came with it."""

    status: int
    """HTTP status, a 2xx: with any other one the call raises an error that has it."""
    headers: CIMultiDictProxy[str] = attrs.field(converter=_read_only)
    """The headers, by name, whatever the case; ``getall`` gives all of those that came several times.

    The value of ``Set-Cookie``, and of others that are secret, is a `Secret`, whose repr is masked.
    """
    elapsed: float
    """Seconds from sending the request to the end of the reply, in the last attempt."""
    attempts: int
    """How many attempts were made, the successful one included."""
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")
    """The body as it came, without its content encoding. It may hold secrets; the repr shows its length alone."""
    record: T
    """What the method itself returns: a record, a page, text, or None."""

    @property
    def request_id(self) -> str | None:
        """The ID by which the service's own log knows the request (``x-amzn-requestid``); None if it sent none."""
        return next((self.headers[name] for name in _REQUEST_IDS if name in self.headers), None)

    def __reduce__(self) -> tuple[object, ...]:
        # Read-only headers cannot be pickled.
        members = {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}
        return partial(type(self), **{**members, "headers": CIMultiDict(self.headers)}), ()


def with_raw_response(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, RawResponse[T]]]:
    """Have a *method* return its `RawResponse`: status, headers and timing beside the record.

    ::

        response = await with_raw_response(client.device.get)("M72DANY8BZ")
        print(response.status, response.headers["Content-Type"], response.record.name)

    What it returns takes the arguments of the method, raises the same errors, and can be used in its place: called many
    times, by many tasks, and in a bulk run. A find gives its first page; further ones are had with ``next``.

    Its requests do not take the fast path, which does not read headers.

    Args:
        method: a method of a controller, or `IotoClient.call`, that makes one request.

    Raises:
        InvalidArgumentError: *method* does not make exactly one request, as transfers, updates, writers, and the reads
            of metrics that share requests; or it has sent nothing, when it is called.
    """
    if not makes_one_request(method):
        name = method.__qualname__ if isinstance(method, MethodType) else type(method).__name__
        message = "expected a method that makes one request of its own, such as client.device.get"
        raise InvalidArgumentError(f"with_raw_response: {message}, got {name}")
    bound = cast("MethodType", method)

    @wraps(bound.__func__)
    async def call(_: object, /, *args: P.args, **kwargs: P.kwargs) -> RawResponse[T]:
        capture = Capture()
        before = CAPTURE.set(capture)
        try:
            pending = method(*args, **kwargs)
            del args, kwargs  # tracebacks may show these variables
            record = await pending
        finally:
            CAPTURE.reset(before)
        if capture.status is None:
            raise InvalidArgumentError(f"with_raw_response: {bound.__qualname__} had nothing to send")
        return RawResponse(
            status=capture.status,
            headers=capture.headers,
            elapsed=capture.elapsed,
            attempts=capture.attempts,
            body=capture.body,
            record=record,
        )

    # A bound method as well, so that a bulk run knows what it knows of that one.
    return cast("Callable[P, Coroutine[Any, Any, RawResponse[T]]]", MethodType(call, bound.__self__))
