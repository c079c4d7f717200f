"""A sample of a metric, and what makes one fit to be written."""

import math
from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from numbers import Real
from types import MappingProxyType
from typing import Final

import attrs
import orjson

from ..bulk.outcome import Outcome
from ..codec.records import epoch_ms
from ..errors import InvalidArgumentError, IotoError
from ..operations import Operation

__all__ = [
    "DIMENSIONS",
    "BufferFullError",
    "Checker",
    "Dimension",
    "Sample",
    "UnwrittenError",
    "check_flag",
    "check_members",
    "check_names",
    "key_of",
]


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
        if type(dimensions) is not dict and not isinstance(dimensions, Mapping):
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


class BufferFullError(IotoError):
    """A sample was refused, as there has been no room for it for too long; the others in the buffer are kept.

    ``__cause__`` is the last failure of a request, if the service is away.

    Attributes:
        samples: how many there are in the buffer, and on their way.
        bytes: how large these are.
    """

    def __init__(self, message: str, *, samples: int, bytes: int) -> None:
        super().__init__(message)
        self.samples = samples
        self.bytes = bytes


class UnwrittenError(IotoError):
    """A writer was closed, and not all samples that it had accepted are written.

    Attributes:
        failed: how many are not in the cloud.
        unknown: how many may be there.
        outcomes: what became of those that had no outcome before the end, and of the first 100 others.
    """

    def __init__(self, message: str, *, failed: int, unknown: int, outcomes: Sequence[Outcome[Sample, None]]) -> None:
        super().__init__(message)
        self.failed = failed
        self.unknown = unknown
        self.outcomes = outcomes


DIMENSIONS: Final[Mapping[str, str]] = MappingProxyType({"Device": "deviceId"})
"""What the documents call the dimension of a device, and the member that has it."""


def check_names(operation: Operation, argument: str, names: Mapping[str, str]) -> dict[str, str]:
    """A copy of the *names* that the *argument* has for something of a sample.

    Raises:
        InvalidArgumentError: they are no names, or two things have the same.
    """
    if not isinstance(names, Mapping) or not all(
        isinstance(name, str) and name for pair in names.items() for name in pair
    ):
        raise InvalidArgumentError(f"{operation.name}: {argument}: expected a mapping of names to names, got {names!r}")
    if len(set(names.values())) < len(names):
        raise InvalidArgumentError(f"{operation.name}: {argument}: two of them have the same name: {dict(names)!r}")
    return dict(names)


def check_members(operation: Operation, argument: str, members: Mapping[str, object] | None) -> dict[str, object]:
    """A copy of what the *argument* has for all samples, empty for None.

    Raises:
        InvalidArgumentError: it is no mapping.
    """
    if members is None:
        return {}
    if not isinstance(members, Mapping):
        raise InvalidArgumentError(f"{operation.name}: {argument}: expected a mapping, got {type(members).__name__}")
    return dict(members)


def check_flag(operation: Operation, argument: str, value: bool) -> bool:
    """The *value* of an *argument* that is true or false.

    Raises:
        InvalidArgumentError: it is neither.
    """
    if not isinstance(value, bool):
        raise InvalidArgumentError(f"{operation.name}: {argument}: expected true or false, got {value!r}")
    return value
