"""Tables of cases in one test: every row is tried, and every row that fails is reported."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

import attrs
import pytest

__all__ = ["Row", "each_row"]


@attrs.frozen
class Row:
    """A row that is tried within ``with``; how it fails is noted, not raised."""

    label: str
    failed: dict[str, str]

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        # What pytest.fail and pytest.raises raise is no Exception.
        if not isinstance(error, (Exception, pytest.fail.Exception)):
            return False
        self.failed[self.label] = "".join(traceback.format_exception_only(error)).strip()  # with its notes
        return True


@contextmanager
def each_row() -> Iterator[Callable[[object], Row]]:
    """Give a function that begins a row by its name, and fail at the end if a row has failed, or if there was none.

    ::

        with each_row() as row:
            for number, text in TABLE.items():
                with row(number):
                    assert str(number) == text
    """
    tried: set[str] = set()
    failed: dict[str, str] = {}

    def row(name: object) -> Row:
        label = name if isinstance(name, str) else ascii(name)
        assert label not in tried, f"two rows are named {label}"
        tried.add(label)
        return Row(label, failed)

    yield row
    assert tried, "the table is empty"
    if failed:
        lines = "\n".join(f"- {label}: {text}" for label, text in failed.items())
        pytest.fail(f"{len(failed)} of {len(tried)} rows failed:\n{lines}", pytrace=False)
