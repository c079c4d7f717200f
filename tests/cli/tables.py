"""Tables of cases, each of which is one test that reports every failing row."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

__all__ = ["failing"]


def failing(cases: Mapping[str, Any] | Iterable[Any], check: Callable[..., None]) -> dict[str, str]:
    """The cases for which *check* fails, by name or else as they are written, and the error of each.

    Args:
        cases: the arguments of *check*: a tuple, or the only one.
        check: raises an error for a case that fails.
    """
    named = cases.items() if isinstance(cases, Mapping) else ((repr(case), case) for case in cases)
    found: dict[str, str] = {}
    for name, case in named:
        try:
            check(*case) if isinstance(case, tuple) else check(case)
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001  whatever it is, this case fails
            found[name] = f"{type(error).__name__}: {error}"
    return found
