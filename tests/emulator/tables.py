"""Tables of cases for a cloud that begins anew with each row."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from ioto_async.emulator import Emulator
from tests.rows import each_row

__all__ = ["each_row_after_reset"]


def each_row_after_reset(
    names: str, rows: Mapping[str, Any] | Iterable[Any], *, before: Callable[[Emulator], object] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``each_row`` that resets ``emu`` and clears ``caplog`` before each row.

    Args:
        names: see ``each_row``.
        rows: see ``each_row``.
        before: what brings an emulator that was reset to the state in which rows begin.
    """

    def begin(request: pytest.FixtureRequest) -> None:
        emu = request.getfixturevalue("emu")
        emu.reset()
        if before is not None:
            before(emu)
        if "caplog" in request.fixturenames:
            request.getfixturevalue("caplog").clear()

    return each_row(names, rows, begin=begin)
