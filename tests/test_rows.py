"""A table of cases as one test."""

import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rows import each_row


def test_every_row_is_tried_and_every_row_that_fails_is_reported_with_its_traceback() -> None:
    tried: list[tuple[int, str]] = []

    @each_row("number, text", [(1, "1"), (2, "3"), (3, "3"), (4, "x")])
    def numbers(number: int, text: str) -> None:
        tried.append((number, text))
        assert number == int(text)

    with pytest.raises(pytest.fail.Exception) as failed:
        numbers()
    assert tried == [(1, "1"), (2, "3"), (3, "3"), (4, "x")]
    report = str(failed.value)
    assert report.startswith("2 of 4 rows failed\nrow 2: 2, '3'\nTraceback (most recent call last):\n")
    assert report.count("in numbers\n    assert number == int(text)\n") == 2
    assert "\nrow 4: 4, 'x'\n" in report
    assert "\nValueError: invalid literal" in report
    assert "in run" not in report


def test_a_row_of_a_mapping_is_reported_by_its_name() -> None:
    @each_row("number, text", {"equal": (1, "1"), "unequal": (1, "2")})
    def numbers(number: int, text: str) -> None:
        assert number == int(text)

    with pytest.raises(pytest.fail.Exception, match=r"^1 of 2 rows failed\nrow 2: unequal\n"):
        numbers()


def test_a_type_is_shown_by_its_name_and_a_function_is_not_shown() -> None:
    @each_row("cls, make, value", [(ValueError, lambda: None, 1)])
    def fails(cls: type[Exception], make: object, value: int) -> None:
        raise cls

    with pytest.raises(pytest.fail.Exception, match=r"\nrow 1: 'ValueError', 1\n"):
        fails()


async def test_rows_of_a_coroutine_share_its_fixtures() -> None:
    seen: list[str] = []

    @each_row("number", [1, 2])
    @each_row("letter", "ab")
    async def pairs(fixture: list[str], letter: str, number: int) -> None:
        fixture.append(f"{letter}{number}")

    assert list(inspect.signature(pairs).parameters) == ["fixture"]
    await pairs(fixture=seen)
    assert seen == ["a1", "b1", "a2", "b2"]


@pytest.fixture
def begun() -> list[str]:
    return []


def begin(request: pytest.FixtureRequest) -> None:
    begun: list[str] = request.getfixturevalue("begun")
    begun.append("begin")


@each_row("last", [False, True], begin=begin)
def test_what_begins_a_row_is_called_with_the_request_before_each(begun: list[str], last: bool) -> None:
    assert begun == (["begin", "row", "begin"] if last else ["begin"])
    begun.append("row")


async def test_a_row_that_cannot_begin_fails(request: pytest.FixtureRequest) -> None:
    def no(request: pytest.FixtureRequest) -> None:
        raise OSError("no such cloud")

    @each_row("number", [1, 2], begin=no)
    async def never(request: pytest.FixtureRequest, number: int) -> None:
        raise AssertionError

    with pytest.raises(pytest.fail.Exception, match=r"^2 of 2 rows failed\n") as failed:
        await never(request=request)
    assert str(failed.value).count("OSError: no such cloud") == 2


def test_what_is_raised_within_a_row_is_a_failure_unless_it_ends_the_run() -> None:
    @each_row("error", [pytest.fail.Exception("no"), OSError("gone")])
    def raises(error: BaseException) -> None:
        raise error

    with pytest.raises(pytest.fail.Exception, match="2 of 2 rows failed"):
        raises()

    @each_row("error", [KeyboardInterrupt()])
    def interrupted(error: BaseException) -> None:
        raise error

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def test_a_row_that_does_not_raise_what_it_should_fails() -> None:
    @each_row("text", ["x", "1"])
    def refused(text: str) -> None:
        with pytest.raises(ValueError):
            int(text)

    with pytest.raises(pytest.fail.Exception, match=r"^1 of 2 rows failed\nrow 2: '1'\n"):
        refused()


def test_the_falsifying_example_of_a_property_that_is_tried_with_each_row_is_reported() -> None:
    @each_row("bound", [3, 20])
    @settings(database=None)
    @given(number=st.integers(0, 10))
    def below(bound: int, number: int) -> None:
        assert number < bound

    with pytest.raises(pytest.fail.Exception, match=r"^1 of 2 rows failed\nrow 1: 3\n") as failed:
        below()
    assert "number=3" in str(failed.value)


def test_the_falsifying_example_of_a_property_of_a_table_is_shrunk_and_noted() -> None:
    @settings(database=None)
    @given(number=st.integers(0, 10))
    @each_row("bound", [3, 20])
    def below(number: int, bound: int) -> None:
        assert number < bound

    with pytest.raises(pytest.fail.Exception, match=r"^1 of 2 rows failed\nrow 1: 3\n") as failed:
        below()
    assert any("number=3" in note for note in failed.value.__notes__)


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(AssertionError, match="empty"):
        each_row("row", [])
