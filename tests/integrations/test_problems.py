"""Which answer of a web service each error becomes."""

import inspect
from typing import Any

from ioto_async import errors
from ioto_async.errors import (
    AuthenticationError,
    BadRequestError,
    CallTimeoutError,
    ClientStateError,
    ConnectionFailedError,
    ConnectionLostError,
    DecodeError,
    DeviceBlockedError,
    InBandError,
    InvalidArgumentError,
    IotoError,
    MqttOnlyError,
    NotFoundError,
    OutcomeUnknownError,
    PoolTimeoutError,
    RateLimitedError,
    ServiceError,
    TokenProviderError,
    UnexpectedStatusError,
)
from ioto_async.integrations import problem_of
from tests.rows import each_row

TEXT = "the cloud at https://xyz.ioto.example says no"


def of(cls: Any, **members: Any) -> IotoError:
    error: IotoError = cls(TEXT, operation="device/get", **members)
    return error


@each_row(
    "error, status, shows, headers",
    [
        (of(NotFoundError, status=400), 404, True, {}),
        (of(BadRequestError, status=400), 400, True, {}),
        (of(InBandError, status=200), 400, True, {}),
        (InvalidArgumentError(TEXT), 400, True, {}),
        (MqttOnlyError(TEXT), 500, False, {}),
        (of(AuthenticationError, status=403), 502, False, {}),
        (of(RateLimitedError, status=429, retry_after=1.2), 503, False, {"Retry-After": "2"}),
        (of(RateLimitedError, status=429), 503, False, {}),
        (of(DeviceBlockedError, delay=30), 503, False, {"Retry-After": "30"}),
        (of(PoolTimeoutError, sent=False), 503, False, {}),
        (of(CallTimeoutError), 504, False, {}),
        (of(ServiceError, status=500), 502, False, {}),
        (of(ServiceError, status=503, retry_after=5), 503, False, {"Retry-After": "5"}),
        (of(UnexpectedStatusError, status=302), 502, False, {}),
        (of(ConnectionFailedError, sent=False), 502, False, {}),
        (of(ConnectionLostError), 502, False, {}),
        (of(TokenProviderError, sent=False), 502, False, {}),
        (of(DecodeError), 502, False, {}),
        (ClientStateError(TEXT), 503, False, {}),
        (IotoError(TEXT), 500, False, {}),
    ],
)
def test_an_error_has_its_status(error: IotoError, status: int, shows: bool, headers: dict[str, str]) -> None:
    problem = problem_of(error)
    assert (problem.status, dict(problem.headers), problem.outcome_unknown) == (status, headers, False)
    assert (TEXT in problem.detail) is shows
    assert problem.body()["status"] == status
    assert "outcome_unknown" not in problem.body()


def test_every_error_has_an_answer() -> None:
    found = [cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, IotoError)]
    assert len(found) > 20
    for cls in found:
        error = cls.__new__(cls)  # each has arguments of its own
        IotoError.__init__(error, TEXT)
        vars(error).update(message=TEXT, retry_after=None, status=None, delay=1.0)
        assert 400 <= problem_of(error).status < 600


@each_row("status", [401, 403])
def test_a_refusal_of_the_callers_own_token_is_passed_on(status: int) -> None:
    assert problem_of(of(AuthenticationError, status=status), own_token=True).status == status


def test_what_may_have_been_done_is_said() -> None:
    problem = problem_of(of(OutcomeUnknownError, status=500, outcome_unknown=True))
    assert problem.body() == {
        "title": "Bad Gateway",
        "status": 502,
        "detail": "The device cloud could not be asked, or its answer could not be used.",
        "outcome_unknown": True,
    }
