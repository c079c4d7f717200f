"""A table of cases as one test: every row is tried, and every row that fails is reported."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from textwrap import indent
from types import TracebackType
from typing import Any

import attrs
import pytest

__all__ = ["over"]

Test = Callable[..., Any]


@attrs.frozen
class _Row:
    """Notes how what is within ``with`` fails, and goes on."""

    number: int
    values: Mapping[str, object]
    failed: list[str]

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        # What pytest.fail and pytest.raises raise is no Exception.
        if not isinstance(error, (Exception, pytest.fail.Exception)):
            return False
        shown = ", ".join(ascii(value)[:60] for value in self.values.values() if not callable(value))
        self.failed.append(indent(f"- {self.number} {shown}: {type(error).__name__}: {error}", "  ").lstrip())
        return True


def over(names: str, rows: Iterable[Any]) -> Callable[[Test], Test]:
    """Decorate a test, so that it is tried with each of *rows*, and fails with a list of those that fail.

    It is written as ``pytest.mark.parametrize`` is. But it is one test, and all rows share its fixtures.

    Args:
        names: the arguments of the test that come from a row, with commas between.
        rows: the values of the argument; tuples of values if there are several arguments.
    """
    arguments = [name.strip() for name in names.split(",")]
    table = [dict(zip(arguments, row if len(arguments) > 1 else (row,), strict=True)) for row in rows]
    assert table, "the table is empty"

    def decorate(test: Test) -> Test:
        def run(**fixtures: Any) -> None:
            failed: list[str] = []
            for number, values in enumerate(table):
                with _Row(number, values, failed):
                    test(**fixtures, **values)
            _report(failed, len(table))

        async def run_async(**fixtures: Any) -> None:
            failed: list[str] = []
            for number, values in enumerate(table):
                with _Row(number, values, failed):
                    await test(**fixtures, **values)
            _report(failed, len(table))

        signature = inspect.signature(test)
        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in arguments]
        decorated = wraps(test)(run_async if inspect.iscoroutinefunction(test) else run)
        # What pytest takes for the fixtures that it has to give.
        vars(decorated)["__signature__"] = signature.replace(parameters=fixtures)
        return decorated

    return decorate


def _report(failed: Sequence[str], tried: int) -> None:
    if failed:
        lines = "\n".join(failed)
        pytest.fail(f"{len(failed)} of {tried} rows failed:\n{lines}", pytrace=False)
