"""A table of cases as one test: every row is tried, and every row that fails is reported with its traceback."""

import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from types import TracebackType
from typing import Any

import attrs
import pytest
from hypothesis import currently_in_test_context

__all__ = ["each_row"]

Test = Callable[..., Any]


def each_row(
    names: str,
    rows: Mapping[str, Any] | Iterable[Any],
    *,
    begin: Callable[[pytest.FixtureRequest], object] | None = None,
) -> Callable[[Test], Test]:
    """Decorate a test, so that it is called with each row and fails with the report of all rows that fail.

    It is written as ``pytest.mark.parametrize`` is, but it is one test, whose fixtures all rows share::

        @each_row("status, error", [(404, NotFoundError), (429, RateLimitError)])
        async def test_a_status_has_its_error(client: IotoClient, status: int, error: type[StatusError]) -> None: ...

    A function within a test is decorated where the rows need what the test has made, and is called without them.

    Args:
        names: the arguments of the test that come from a row, with commas between.
        rows: the values of the argument, or tuples of values if there are several arguments. A mapping has them by the
            name of the row.
        begin: is called before each row with the ``request`` of the test.
    """
    columns = [name.strip() for name in names.split(",")]
    named = rows.items() if isinstance(rows, Mapping) else ((None, row) for row in rows)
    table = [(name, dict(zip(columns, row if len(columns) > 1 else (row,), strict=True))) for name, row in named]
    assert table, "the table is empty"

    def decorate(test: Test) -> Test:
        def shared(args: tuple[Any, ...], given: dict[str, Any]) -> dict[str, Any]:
            given = dict(zip(asked, args, strict=False)) | given  # Hypothesis gives its values by position
            if begin is not None:
                begin(given["request"])
            return {name: value for name, value in given.items() if name in parameters}

        def run(*args: Any, **given: Any) -> None:
            failed: list[str] = []
            for number, (name, values) in enumerate(table, 1):
                with _Row(number, name, values, failed):
                    test(**shared(args, given), **values)
            _report(failed, len(table))

        async def run_async(*args: Any, **given: Any) -> None:
            failed: list[str] = []
            for number, (name, values) in enumerate(table, 1):
                with _Row(number, name, values, failed):
                    await test(**shared(args, given), **values)
            _report(failed, len(table))

        signature = inspect.signature(test)
        parameters = {name: parameter for name, parameter in signature.parameters.items() if name not in columns}
        asked = dict(parameters)
        if begin is not None:
            asked.setdefault("request", inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD))
        decorated = wraps(test)(run_async if inspect.iscoroutinefunction(test) else run)
        # What pytest takes for the fixtures that it has to give.
        vars(decorated)["__signature__"] = signature.replace(parameters=list(asked.values()))
        return decorated

    return decorate


def _shown(values: Mapping[str, object]) -> str:
    """The values of a row without functions, which have no name that tells."""
    shown = (value.__qualname__ if isinstance(value, type) else value for value in values.values())
    return ", ".join(ascii(value)[:60] for value in shown if not callable(value))


@attrs.frozen
class _Row:
    """Notes how what is within ``with`` fails, and goes on."""

    number: int
    name: str | None
    values: Mapping[str, object]
    failed: list[str]

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        # What pytest.fail and pytest.raises raise is no Exception.
        if not isinstance(error, (Exception, pytest.fail.Exception)):
            return False
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        text = "".join(traceback.format_exception(type(error), error, trace))  # with its notes
        name = _shown(self.values) if self.name is None else self.name
        self.failed.append(f"row {self.number}: {name}\n{text}")
        return True


def _report(failed: list[str], tried: int) -> None:
    if failed:
        # Hypothesis notes its falsifying example on the error; pytest shows notes with the traceback only.
        trace = currently_in_test_context()
        pytest.fail("\n".join([f"{len(failed)} of {tried} rows failed", *failed]), pytrace=trace)
