"""The error tree: drawn as it is, and fit to travel between processes."""

import copy
import inspect
import itertools
import pickle
import re
from typing import Any

import pytest

import ioto_async
from ioto_async import errors
from ioto_async.errors import (
    AuthenticationError,
    BadRequestError,
    CallError,
    CallTimeoutError,
    ClientStateError,
    ConnectionFailedError,
    ConnectionLostError,
    DecodeError,
    DeviceBlockedError,
    InBandError,
    InvalidArgumentError,
    IotoError,
    MissingSettingError,
    NotFoundError,
    OutcomeUnknownError,
    PagingError,
    RateLimitedError,
    ServiceError,
    StatusError,
    TokenProviderError,
    TransferError,
    UnexpectedStatusError,
)
from tests.rows import each_row

CLASSES: list[type[IotoError]] = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, IotoError)
]


def test_a_failed_transfer_does_not_tell_of_the_success_of_its_request() -> None:
    error = TransferError("8 bytes or more", operation="file/download", expected=7, actual=8, status=200)
    assert str(error) == "file/download: 8 bytes or more"


def sample(cls: type[IotoError]) -> IotoError:
    """An error of *cls* with a value of its own in every attribute."""
    if issubclass(cls, MissingSettingError):
        return cls("endpoint", argument="api", variable="IOTO_API")
    if not issubclass(cls, CallError):
        return cls("what happened")
    if issubclass(cls, DeviceBlockedError):
        return cls("blocked", operation="device/provision", delay=12.5)
    if issubclass(cls, DecodeError):
        return cls("expected a string", operation="device/get", path="$.data[3].id", status=202)
    if issubclass(cls, TransferError):
        return cls("8 bytes or more", operation="file/download", expected=7, actual=8, status=200)
    return cls(
        "what happened",
        operation="device/get",
        status=599,
        attempts=7,
        sent=False,
        outcome_unknown=True,
        retry_after=1.25,
    )


@each_row("cls, protocol", itertools.product(CLASSES, range(pickle.HIGHEST_PROTOCOL + 1)))
def test_every_error_survives_pickling(cls: type[IotoError], protocol: int) -> None:
    error = sample(cls)
    back = pickle.loads(pickle.dumps(error, protocol))
    assert type(back) is cls
    assert (back.args, vars(back), str(back)) == (error.args, vars(error), str(error))


@each_row("cls", CLASSES)
def test_every_error_can_be_copied(cls: type[IotoError]) -> None:
    error = sample(cls)
    assert (type(copy.copy(error)), vars(copy.deepcopy(error))) == (cls, vars(error))


def test_notes_survive_pickling() -> None:
    error = sample(ServiceError)
    error.add_note("device 7 of 9")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["device 7 of 9"]


def test_the_tree_is_as_it_is_drawn() -> None:
    drawn: dict[str, str] = {}
    branch: list[str] = []
    assert errors.__doc__ is not None
    for line in errors.__doc__.splitlines():
        if match := re.match(r"    ([│ ├└─]*)([A-Z]\w+Error)\b", line):
            depth = len(match[1]) // 4
            branch[depth:] = [match[2]]
            drawn[match[2]] = branch[depth - 1] if depth else "Exception"
    assert drawn == {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES}


@each_row("cls", CLASSES)
def test_every_error_is_public_and_says_what_it_means(cls: type[IotoError]) -> None:
    assert cls.__name__ in errors.__all__
    assert getattr(ioto_async, cls.__name__) is cls
    assert cls.__doc__


@each_row("cls", [cls for cls in CLASSES if issubclass(cls, CallError)])
def test_the_text_of_a_call_error_begins_with_the_operation(cls: type[CallError]) -> None:
    error = sample(cls)
    assert isinstance(error, CallError)
    assert str(error).startswith(f"{error.operation}: ")


@each_row(
    "options, text",
    [
        ({}, "device/get: no"),
        ({"status": 429}, "device/get: 429 no"),
        ({"attempts": 4}, "device/get: no (4 attempts)"),
        ({"retry_after": 90.0}, "device/get: no (retry after 90 s)"),
        ({"status": 503, "attempts": 2, "retry_after": 0.5}, "device/get: 503 no (2 attempts) (retry after 0.5 s)"),
    ],
)
def test_the_text_of_a_call_error_says_what_is_known(options: dict[str, Any], text: str) -> None:
    assert str(CallError("no", operation="device/get", **options)) == text


def test_the_text_of_an_error_names_the_place_in_a_reply_and_the_delay_of_a_device() -> None:
    assert str(sample(DecodeError)) == "device/get: reply at $.data[3].id: expected a string"
    assert str(sample(DeviceBlockedError)).endswith("(blocked for 12.5 s)")


@each_row(
    "cls, parent",
    [
        (InvalidArgumentError, ValueError),
        (MissingSettingError, InvalidArgumentError),
        (ClientStateError, RuntimeError),
        (CallTimeoutError, TimeoutError),
        (NotFoundError, LookupError),
        (AuthenticationError, StatusError),
        (RateLimitedError, StatusError),
        (ServiceError, StatusError),
        (UnexpectedStatusError, StatusError),
        (NotFoundError, BadRequestError),
        (DeviceBlockedError, InBandError),
        (ConnectionFailedError, CallError),
        (ConnectionLostError, CallError),
        (OutcomeUnknownError, CallError),
        (TokenProviderError, CallError),
        (PagingError, CallError),
    ],
)
def test_errors_are_caught_by_their_parents_and_by_the_builtin_ones_that_mean_the_same(
    cls: type[IotoError], parent: type[BaseException]
) -> None:
    with pytest.raises(parent):
        raise sample(cls)
