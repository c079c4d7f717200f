"""Options: each is documented and typed in a TypedDict, and has its default and check in the attrs class beside it."""

import inspect
import re
from typing import Any, get_type_hints

import attrs
import pytest

from ioto_async import InvalidArgumentError
from ioto_async.bulk import options as bulk
from ioto_async.metrics import options as writer
from ioto_async.mqtt import options as link
from ioto_async.settings import (
    Check,
    check_names,
    check_options,
    flag,
    function,
    instance_of,
    must_be,
    or_none,
    seconds,
    whole_number,
)
from ioto_async.transport import options as transport
from ioto_async.transport.pool import Pool

PAIRS: list[tuple[Any, Any]] = [
    (transport.CallerOptions, transport.TransportOptions),
    (bulk.RunOptions, bulk.BaseOptions),
    (bulk.BulkOptions, bulk.Options),
    (writer.WriterOptions, writer.Options),
    (link.LinkOptions, link.Options),
]
CONVERTED = {"headers", "journal"}
"""Options that the attrs class holds as another type than they are given in."""


EXTENDED: dict[Any, Any] = {bulk.BulkOptions: bulk.RunOptions, transport.ClientOptions: transport.CallerOptions}


def _documented(options: Any) -> list[str]:
    """The names under "Attributes" in the docstring of a TypedDict."""
    return re.findall(r"^ {4}(\w+): ", (inspect.getdoc(options) or "").partition("Attributes:")[2], re.MULTILINE)


def test_options_are_those_of_the_class_that_checks_them() -> None:
    wrong = []
    for options, checked in PAIRS:
        hints = get_type_hints(options)
        fields = {field.name: field for field in attrs.fields(checked)}
        types = get_type_hints(checked)
        if list(hints) != list(fields):
            wrong.append(f"{options.__name__}: {list(hints)} != {list(fields)}")
        wrong += [
            f"{options.__name__}.{name}: {hints[name]} != {types[name]}"
            for name in hints.keys() & fields.keys() - CONVERTED
            if hints[name] != types[name]
        ]
        wrong += [
            f"{options.__name__}.{name}: no default" for name, field in fields.items() if field.default is attrs.NOTHING
        ]
        wrong += [
            f"{options.__name__}.{name}: no check"
            for name, field in fields.items()
            if field.validator is None and field.converter is None
        ]
    assert wrong == []


def test_options_of_a_client_are_those_of_its_calls_and_of_its_pool() -> None:
    pool = ["session" if field.name == "borrowed" else field.name for field in attrs.fields(Pool) if field.init]
    calls = [field.name for field in attrs.fields(transport.TransportOptions)]
    assert sorted(get_type_hints(transport.ClientOptions)) == sorted(pool + calls)


def test_every_option_is_documented_once_and_in_its_order() -> None:
    every: list[Any] = [options for options, _ in PAIRS] + [transport.CallOptions, transport.ClientOptions]
    own = {
        options: [*get_type_hints(options)][len(get_type_hints(EXTENDED.get(options, object))) :] for options in every
    }
    assert {options.__name__: _documented(options) for options in every} == {
        options.__name__: names for options, names in own.items()
    }


# Checks -----------------------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


def test_checks_accept_what_they_say_and_nothing_else() -> None:
    rows: list[tuple[Check, list[Any], list[Any], str]] = [
        (whole_number(1), [1, 10**30], [0, -1, 1.0, True, "1", None], "a whole number from 1"),
        (whole_number(1, 5), [1, 5], [0, 6, 2.0, False], "a whole number from 1 to 5"),
        (seconds(), [0, 0.0, 2.5], [-1, -0.1, NAN, INF, True, "1", None], "seconds from 0"),
        (seconds(above_zero=True), [1, 0.1], [0, 0.0, -1, NAN, INF, True, None], "seconds above 0"),
        (or_none(seconds()), [None, 0], [-1, "1"], "seconds from 0, or None"),
        (flag(), [True, False], [0, 1, None, "yes"], "True or False"),
        (function(), [print, int], [None, "print", 5], "a callable"),
        (instance_of(int), [5, True], [5.0, None], "an instance of int"),
        (must_be("a vowel", lambda value: value in ("a", "e")), ["a"], ["b", None], "a vowel"),
    ]
    wrong = []
    for check, good, bad, expected in rows:
        for value in good:
            try:
                check.check("x", value)
            except InvalidArgumentError as error:
                wrong.append(f"{expected}: {value!r} is refused: {error}")
        for value in bad:
            try:
                check.check("x", value)
            except InvalidArgumentError as error:
                if str(error) != f"x: expected {expected}, got {value!r}":
                    wrong.append(f"{expected}: {value!r}: {error}")
            else:
                wrong.append(f"{expected}: {value!r} is accepted")
    assert wrong == []


def test_a_check_names_what_the_argument_belongs_to() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^Limits: rate: expected seconds from 0, or None, got -1$"):
        or_none(seconds(of="Limits")).check("rate", -1)


def test_a_field_is_checked_by_the_name_that_the_caller_gives_it() -> None:
    @attrs.frozen
    class Sized:
        _size: int = attrs.field(alias="size", validator=whole_number(1))

    with pytest.raises(InvalidArgumentError, match=r"^size: expected a whole number from 1, got 0$"):
        Sized(size=0)


def test_options_are_made_of_what_is_given_and_the_defaults() -> None:
    assert check_options(writer.Options, {"count": 5}) == writer.Options(count=5)
    assert check_options(writer.Options, {}) == writer.Options()


def test_an_unknown_option_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^unknown option 'counts': expected one of count, bytes, seconds,"):
        check_options(writer.Options, {"counts": 5})
    with pytest.raises(InvalidArgumentError, match=r"^file/upload: unknown option 'c': expected one of a, b$"):
        check_names(["a", "c"], ("a", "b"), of="file/upload")
