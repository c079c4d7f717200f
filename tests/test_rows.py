"""A table of cases as one test."""

import inspect

import pytest

from tests.rows import over


def test_every_row_is_tried_and_every_row_that_fails_is_reported() -> None:
    tried: list[tuple[int, str]] = []

    @over("number, text", [(1, "1"), (2, "3"), (3, "3"), (4, "x")])
    def numbers(number: int, text: str) -> None:
        tried.append((number, text))
        assert number == int(text)

    with pytest.raises(pytest.fail.Exception) as failed:
        numbers()
    assert tried == [(1, "1"), (2, "3"), (3, "3"), (4, "x")]
    assert str(failed.value).startswith("2 of 4 rows failed:\n- 1 2, '3': AssertionError: ")
    assert "\n- 3 4, 'x': ValueError: invalid literal" in str(failed.value)


async def test_rows_of_a_coroutine_share_its_fixtures() -> None:
    seen: list[str] = []

    @over("number", [1, 2])
    @over("letter", "ab")
    async def pairs(fixture: list[str], letter: str, number: int) -> None:
        fixture.append(f"{letter}{number}")

    assert list(inspect.signature(pairs).parameters) == ["fixture"]
    await pairs(fixture=seen)
    assert seen == ["a1", "b1", "a2", "b2"]


def test_what_is_raised_within_a_row_is_a_failure_unless_it_ends_the_run() -> None:
    @over("error", [pytest.fail.Exception("no"), OSError("gone")])
    def raises(error: BaseException) -> None:
        raise error

    with pytest.raises(pytest.fail.Exception, match="2 of 2 rows failed"):
        raises()

    @over("error", [KeyboardInterrupt()])
    def interrupted(error: BaseException) -> None:
        raise error

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(AssertionError, match="empty"):
        over("row", [])
