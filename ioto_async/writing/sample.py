"""A sample of a metric, and what makes one fit to be written. Imports floors 0 and 1."""

import math
from collections.abc import Hashable, Mapping
from datetime import datetime
from numbers import Real
from typing import Final

import attrs
import orjson

from ..converter import epoch_ms
from ..errors import InvalidArgumentError

__all__ = ["Checker", "Dimension", "Sample", "key_of"]

Dimension = str | int | float | bool
"""The value of a dimension; the service reads all of them back as text."""

_NONE: Final[Mapping[str, Dimension]] = {}
_DIMENSION: Final = (str, int, float, bool)
_KNOWN: Final = 10_000
"""Dimension maps that are kept."""


@attrs.define(eq=False)
class Sample:
    """A value of a metric; do not change it."""

    # Not frozen, which would take three times as long to make.
    metric: str
    value: float
    dimensions: Mapping[str, Dimension]
    """Empty for none."""
    timestamp: datetime | None
    """When it was taken; None for when it arrives."""
    key: str
    """What the caller calls it, or else its number: 0 for the first of its writer."""
    size: int
    """Bytes of its name, value and dimensions as JSON, which a buffer counts."""


def key_of(members: Mapping[str, object]) -> Hashable:
    """What tells *members* from others."""
    # With their types: 1 and True are equal, but not the same dimension.
    return frozenset((name, type(value), value) for name, value in members.items())


class Checker:
    """Makes samples of what fits. Those of the same dimensions share one map: most writers have few."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[str, Dimension], ...], Mapping[str, Dimension]] = {}

    def sample(
        self,
        metric: str,
        value: float,
        dimensions: Mapping[str, Dimension] | None,
        timestamp: datetime | None,
        key: str,
    ) -> Sample:
        """A sample of these.

        Raises:
            InvalidArgumentError: one of them does not fit; the text names it and its value.
        """
        if type(metric) is not str or not metric:
            raise InvalidArgumentError(f"write: metric: expected a text that is not empty, got {metric!r}")
        if type(value) is not float and type(value) is not int:
            value = _number(metric, value)
        if type(value) is float and not math.isfinite(value):
            raise InvalidArgumentError(f"write: value of {metric!r}: expected a finite number, got {value!r}")
        members = _NONE if dimensions is None else self._shared(dimensions)
        if timestamp is not None:
            try:
                epoch_ms(timestamp)
            except InvalidArgumentError as error:
                raise InvalidArgumentError(f"write: timestamp of {metric!r}: {error}") from None
        try:
            size = len(orjson.dumps((metric, value, members)))
        except orjson.JSONEncodeError as error:
            shown = f"metric={metric!r}, value={_shown(value)}, dimensions={_shown(members)}"
            raise InvalidArgumentError(f"write: no JSON: {error}: {shown}") from None
        return Sample(metric, value, members, timestamp, key, size)

    def _shared(self, dimensions: Mapping[str, Dimension]) -> Mapping[str, Dimension]:
        if not isinstance(dimensions, Mapping):
            raise InvalidArgumentError(f"write: dimensions: expected a mapping of names to values, got {dimensions!r}")
        items = tuple(dimensions.items())
        try:
            known = self._known.get(items)
        except TypeError:
            known = None  # there is something in it that has no place there
        if known is not None:
            return known
        is_text = True
        for name, value in items:
            _check(name, value)
            is_text = is_text and type(value) is str
        copied = dict(items)
        if is_text:  # 1 and True are equal
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[items] = copied
        return copied


def _number(metric: str, value: object) -> float:
    # What numpy and pandas hold are numbers as well, but not for JSON.
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise InvalidArgumentError(
                f"write: value of {metric!r}: expected a number that a float can hold, got {_shown(value)}"
            ) from None
    raise InvalidArgumentError(f"write: value of {metric!r}: expected a number, got {value!r}")


def _shown(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # it has more digits than Python prints
        return f"a {type(value).__name__} that is too long to be shown"


def _check(name: object, value: object) -> None:
    if not isinstance(name, str) or not name:
        raise InvalidArgumentError(f"write: dimensions: expected names that are not empty, got {name!r}")
    if not isinstance(value, _DIMENSION) or value == "":
        raise InvalidArgumentError(f"write: dimensions: {name}: expected a text or a number, got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidArgumentError(f"write: dimensions: {name}: expected a finite number, got {value!r}")
