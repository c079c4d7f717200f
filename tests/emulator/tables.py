"""One test for a whole table of cases, which reports every row that fails."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from traceback import extract_tb
from types import TracebackType
from typing import Any, TypeVar, cast

import pytest

from ioto_async.emulator import Emulator

__all__ = ["Rows", "table"]

F = TypeVar("F", bound=Callable[..., Any])


class Rows:
    """Collects the failures of rows; to be checked after the last row."""

    def __init__(self) -> None:
        self.count = 0
        self.failures: list[str] = []

    def row(self, what: object) -> "_Row":
        """Return a context that notes the failure of its block as one of this row, and goes on."""
        self.count += 1
        return _Row(self, what)

    def check(self) -> None:
        """Fail with every failure that was noted, or if there was no row."""
        assert self.count, "the table is empty"
        if self.failures:
            report = [f"{len(self.failures)} of {self.count} rows fail", *self.failures]
            pytest.fail("\n".join(report), pytrace=False)


class _Row:
    def __init__(self, rows: Rows, what: object) -> None:
        self._rows = rows
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception | pytest.fail.Exception):
            return False
        places = [f"{frame.name}:{frame.lineno}" for frame in extract_tb(trace) if frame.filename != __file__]
        self._rows.failures.append(f"{self._what!r:.300}\n    {' > '.join(places)}: {type(error).__name__}: {error}")
        return True


def table(
    names: str | Sequence[str],
    rows: Iterable[Any],
    *,
    reset: bool = True,
    before: Callable[[Emulator], object] | None = None,
) -> Callable[[F], F]:
    """Run a test once for each row, in one test that fails with all rows that fail.

    Args:
        names: the parameters of the test that a row has values for; a single name takes the row as it is.
        rows: the values.
        reset: whether a row begins with an emulator that was reset, if the test has the fixture ``emu``.
        before: what brings an emulator that was reset to the state in which rows begin.
    """
    columns = [names] if isinstance(names, str) else list(names)
    values = list(rows)

    def options(row: Any) -> dict[str, Any]:
        cells = (row,) if isinstance(names, str) else row
        return dict(zip(columns, cells, strict=True))

    def begin(request: pytest.FixtureRequest) -> None:
        if "caplog" in request.fixturenames:
            request.getfixturevalue("caplog").clear()
        if reset and "emu" in request.fixturenames:
            emu = request.getfixturevalue("emu")
            emu.reset()
            if before is not None:
                before(emu)

    def decorate(test: F) -> F:
        signature = inspect.signature(test)
        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in columns]
        asks = "request" in signature.parameters

        def split(given: dict[str, Any]) -> tuple[pytest.FixtureRequest, dict[str, Any]]:
            return given["request"], {name: value for name, value in given.items() if asks or name != "request"}

        async def in_loop(**given: Any) -> None:
            request, fixed = split(given)
            table = Rows()
            for row in values:
                with table.row(row):
                    begin(request)
                    await test(**fixed, **options(row))
            table.check()

        def at_once(**given: Any) -> None:
            request, fixed = split(given)
            table = Rows()
            for row in values:
                with table.row(row):
                    begin(request)
                    test(**fixed, **options(row))
            table.check()

        wrapper: Any = in_loop if inspect.iscoroutinefunction(test) else at_once
        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            setattr(wrapper, name, getattr(test, name))
        if not asks:
            request = inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY)
            fixtures = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in fixtures] + [request]
        wrapper.__signature__ = signature.replace(parameters=fixtures)
        return cast("F", wrapper)

    return decorate
