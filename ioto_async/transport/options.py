"""How calls are sent: options of one call, and of all calls of a client."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

import aiohttp
import attrs

from ..errors import InvalidArgumentError
from ..settings import check_headers, must_be
from .attempt import Attempt
from .retry import RetryPolicy

__all__ = ["CallOptions", "TransportOptions", "check_timeout", "with_retries"]


class CallOptions(TypedDict, total=False):
    """The options of one call, which every method takes besides its own arguments; those of the client by default.

    ``timeout``: seconds for one attempt, waiting for a free connection included; None for no limit. ``retries``: how
    many times a failed request is sent again at most. ``headers``: further headers of the request.
    """

    timeout: float | None
    retries: int
    headers: Mapping[str, str]


def check_timeout(value: float | None) -> float | None:
    """Return *value* if it is a time-out: seconds above 0, or None for no limit.

    Raises:
        InvalidArgumentError: it is neither.
    """
    if value is None or (type(value) in (int, float) and 0 < value < float("inf")):
        return value
    raise InvalidArgumentError(f"timeout: expected seconds above 0, or None, got {value!r}")


@attrs.frozen(kw_only=True)
class TransportOptions:
    """How calls are sent; see `ioto_async.client.CallerOptions` for the meaning of each."""

    retry: RetryPolicy = attrs.field(
        factory=RetryPolicy, validator=must_be("a RetryPolicy", lambda value: isinstance(value, RetryPolicy))
    )
    timeout: float | None = attrs.field(default=30.0, converter=check_timeout)
    headers: dict[str, str] = attrs.field(factory=dict, converter=check_headers)
    middlewares: Sequence[aiohttp.ClientMiddlewareType] = attrs.field(
        default=(),
        validator=must_be(
            "aiohttp client middlewares", lambda value: isinstance(value, (list, tuple)) and all(map(callable, value))
        ),
    )
    observer: Callable[[Attempt], None] | None = attrs.field(
        default=None, validator=must_be("a callable", lambda value: value is None or callable(value))
    )
    max_reply: int = attrs.field(
        default=16 << 20, validator=must_be("bytes above 0", lambda value: type(value) is int and value > 0)
    )


def with_retries(retry: RetryPolicy, retries: int) -> RetryPolicy:
    """*retry* with *retries* further attempts after the first.

    Raises:
        InvalidArgumentError: *retries* is no whole number from 0.
    """
    if type(retries) is not int or retries < 0:
        raise InvalidArgumentError(f"retries: expected a whole number from 0, got {retries!r}")
    return attrs.evolve(retry, attempts=retries + 1)
