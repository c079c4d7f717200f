"""How a writer buffers and sends. Imports errors, validation and what is beside it."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypedDict

import attrs

from ..bulk.outcome import Outcome
from ..errors import InvalidArgumentError
from ..validation import is_number, must_be
from .sample import Sample

__all__ = ["Options", "WriterOptions"]


class WriterOptions(TypedDict, total=False):
    """How a writer buffers and sends; all of it may be left out.

    ``count``, ``bytes``, ``seconds``: samples are sent as soon as there are so many (500), they have so many bytes of
    names, values and dimensions as JSON (1 MiB), or the oldest is so old (1.0).

    ``capacity``, ``capacity_bytes``: how many samples (100 000) and bytes of them (32 MiB) are held at most, those on
    their way included. `Writer.write` waits while there is no room.

    ``patience``: seconds (30) for which there may be no room. After that `Writer.write` raises `BufferFullError`,
    until there is some.

    ``grace``: seconds (10). The end of the block sends what there is until nothing could be written for so long.

    ``concurrency``: requests in flight at most; by default as many as the client's requests have found out that the
    service can do, and over MQTT 100 samples.

    ``on_outcome``: told the `Outcome` of each sample; must not block, and what it raises is logged. ``ok``: the service
    has it. ``failed``: it is not there. ``unknown``: it was sent, and may be there.
    """

    count: int
    bytes: int
    seconds: float
    capacity: int
    capacity_bytes: int
    patience: float
    grace: float
    concurrency: int | Literal["auto"]
    on_outcome: Callable[[Outcome[Sample, None]], None] | None


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


_count: Final = must_be("a whole number from 1", _is_count)
_seconds: Final = must_be("seconds from 0", lambda value: is_number(value) and 0 <= value < math.inf)


@attrs.frozen(kw_only=True)
class Options:
    """`WriterOptions`, checked.

    Raises:
        InvalidArgumentError: one of them does not fit.
    """

    count: int = attrs.field(default=500, validator=_count)
    bytes: int = attrs.field(default=1 << 20, validator=_count)
    seconds: float = attrs.field(default=1.0, validator=_seconds)
    capacity: int = attrs.field(default=100_000, validator=_count)
    capacity_bytes: int = attrs.field(default=32 << 20, validator=_count)
    patience: float = attrs.field(default=30.0, validator=_seconds)
    grace: float = attrs.field(default=10.0, validator=_seconds)
    concurrency: int | Literal["auto"] = attrs.field(
        default="auto",
        validator=must_be("auto, or a whole number from 1", lambda value: value == "auto" or _is_count(value)),
    )
    on_outcome: Callable[[Outcome[Sample, None]], None] | None = attrs.field(
        default=None, validator=must_be("a callable", lambda value: value is None or callable(value))
    )

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Options":
        """The options *given*, and the defaults of the others."""
        if unknown := given.keys() - WriterOptions.__annotations__.keys():
            expected = ", ".join(WriterOptions.__annotations__)
            raise InvalidArgumentError(f"unknown option {min(unknown)!r}: expected one of {expected}")
        return cls(**given)
