from typing import Any

import pytest

from .tables import table


def test_a_table_runs_every_row_and_reports_all_that_fail(request: pytest.FixtureRequest) -> None:
    tried = []

    @table(("number", "even"), [(1, True), (2, True), (3, True)])
    def parity(number: int, even: bool) -> None:
        tried.append(number)
        assert (number % 2 == 0) is even, f"{number} is odd"

    run: Any = parity
    with pytest.raises(pytest.fail.Exception) as caught:
        run(request=request)
    assert tried == [1, 2, 3]
    text = str(caught.value)
    assert text.startswith("2 of 3 rows fail\n(1, True)\n")
    assert "1 is odd" in text
    assert "(3, True)" in text
    assert "(2, True)" not in text


async def test_a_row_that_does_not_raise_what_it_should_fails_its_table(request: pytest.FixtureRequest) -> None:
    @table("text", ["x", "1"])
    async def refused(text: str) -> None:
        with pytest.raises(ValueError):
            int(text)

    run: Any = refused
    with pytest.raises(pytest.fail.Exception, match="1 of 2 rows fail\n'1'"):
        await run(request=request)


def test_a_table_without_rows_fails(request: pytest.FixtureRequest) -> None:
    @table("text", [])
    def never(text: str) -> None: ...

    run: Any = never
    with pytest.raises(AssertionError, match="the table is empty"):
        run(request=request)
