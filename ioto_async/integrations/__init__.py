"""Web backends: an error of a call as the answer of a web service, and what each framework needs for that.

Nothing here needs a framework; those are in `ioto_async.integrations.starlette` (FastAPI as well) and
`ioto_async.integrations.aiohttp_web`.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import attrs

from ..errors import (
    AuthenticationError,
    BadRequestError,
    CallError,
    CallTimeoutError,
    ClientStateError,
    DeviceBlockedError,
    InBandError,
    InvalidArgumentError,
    IotoError,
    MqttOnlyError,
    NotFoundError,
    PoolTimeoutError,
    RateLimitedError,
    ServiceError,
)

__all__ = ["PROBLEM_TYPE", "Problem", "problem_of"]

PROBLEM_TYPE: Final = "application/problem+json"
"""The media type of `Problem.body` (RFC 9457)."""


_ANSWERS: Final[tuple[tuple[type[IotoError] | tuple[type[IotoError], ...], int, str], ...]] = (
    (NotFoundError, 404, ""),
    (MqttOnlyError, 500, "This service failed."),
    (InvalidArgumentError, 400, ""),
    (
        (RateLimitedError, DeviceBlockedError),
        503,
        "The device cloud limits how much it is asked. Try again later.",
    ),
    ((BadRequestError, InBandError), 400, ""),
    (AuthenticationError, 502, "The device cloud refused this service."),
    (PoolTimeoutError, 503, "This service has too much to do. Try again later."),
    (ClientStateError, 503, "This service is about to end. Try again."),
    (CallTimeoutError, 504, "The device cloud did not answer in time."),
    (CallError, 502, "The device cloud could not be asked, or its answer could not be used."),
    (IotoError, 500, "This service failed."),
)
"""What the first class that fits is answered with; without a sentence, the error's own text."""


@attrs.frozen
class Problem:
    """The answer of a web service to a request that a call of the device cloud has failed for.

    Attributes:
        status: of the answer, 4xx or 5xx.
        detail: a sentence for whoever sent the request. It names neither the device cloud nor the credentials.
        headers: ``Retry-After`` in whole seconds, where the device cloud asked to wait.
        outcome_unknown: whether the work may have been done, so that the request must not just be sent again.
    """

    status: int
    detail: str
    headers: Mapping[str, str] = attrs.field(factory=dict)
    outcome_unknown: bool = False

    def body(self) -> dict[str, Any]:
        """The problem as RFC 9457 has it: ``title``, ``status`` and ``detail``, and ``outcome_unknown`` if it is."""
        problem: dict[str, Any] = {
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        return problem | ({"outcome_unknown": True} if self.outcome_unknown else {})


def problem_of(error: IotoError, *, own_token: bool = False) -> Problem:
    """Return what to answer when a call has raised *error*.

    =======================================  ======  ===============================================
    error                                    status  why
    =======================================  ======  ===============================================
    NotFoundError                            404     with the text of the device cloud
    BadRequestError, InBandError             400     with the text of the device cloud
    InvalidArgumentError                     400     with the text, which names the argument
    AuthenticationError                      502     with *own_token* 401 or 403, as it came
    RateLimitedError, DeviceBlockedError     503     the limit is that of all callers of this service
    PoolTimeoutError, ClientStateError       503     this service has too much to do, or ends
    ServiceError with a time to wait         503     the device cloud says when it is back
    CallTimeoutError                         504
    any other CallError                      502
    MqttOnlyError and any other IotoError    500     a fault of this service
    =======================================  ======  ===============================================

    Args:
        error: what the call raised.
        own_token: whether the call was made with a token of whoever sent the request, not with one of this service;
            a refusal then concerns them.
    """
    status, detail = _status(error, own_token=own_token)
    wait = error.delay if isinstance(error, DeviceBlockedError) else getattr(error, "retry_after", None)
    headers = {"Retry-After": str(math.ceil(wait))} if status == HTTPStatus.SERVICE_UNAVAILABLE and wait else {}
    return Problem(status, detail, headers, bool(getattr(error, "outcome_unknown", False)))


def _status(error: IotoError, *, own_token: bool) -> tuple[int, str]:
    if isinstance(error, AuthenticationError) and own_token:
        return error.status or 403, error.message
    if isinstance(error, ServiceError) and error.retry_after is not None:
        return 503, "The device cloud is not available. Try again later."
    status, detail = next((status, detail) for classes, status, detail in _ANSWERS if isinstance(error, classes))
    return status, detail or (error.message if isinstance(error, CallError) else str(error))
