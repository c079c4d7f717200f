"""Options of metric writers."""

from collections.abc import Callable
from typing import Final, Literal, TypedDict

import attrs

from ..bulk.options import CONCURRENCY
from ..bulk.outcome import Outcome
from ..settings import function, or_none, seconds, whole_number
from .sample import Sample

__all__ = ["Options", "WriterOptions"]


class WriterOptions(TypedDict, total=False):
    """How a writer buffers and sends. Each option can be left out.

    Samples are sent as soon as ``count``, ``bytes`` or ``seconds`` is reached.

    Attributes:
        count: samples in the buffer; 500 by default.
        bytes: bytes of their names, values and dimensions as JSON; 1 MiB by default.
        seconds: age of the oldest of them; 1 by default.
        capacity: samples that are held at most, including those that are being sent; 100 000 by default. `Writer.write`
            waits while there is no room.
        capacity_bytes: bytes that are held at most, counted as for ``bytes``; 32 MiB by default.
        patience: seconds for which there may be no room; 30 by default. After that `Writer.write` raises
            `BufferFullError`, until there is room.
        grace: seconds in which nothing could be written, after which the end of the block gives up the samples that are
            left; 10 by default.
        concurrency: requests in flight at most, or ``auto`` (the default): as many as the client's requests have found
            out that the service can handle, and over MQTT 100 samples.
        on_outcome: called with the `Outcome` of each sample; must not block, and what it raises is logged. ``ok``: the
            service has the sample. ``failed``: it has not. ``unknown``: the sample was sent, and may have arrived.
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


_count: Final = whole_number(1)
_seconds: Final = seconds()


@attrs.frozen(kw_only=True)
class Options:
    """`WriterOptions` with their defaults and checks."""

    count: int = attrs.field(default=500, validator=_count)
    bytes: int = attrs.field(default=1 << 20, validator=_count)
    seconds: float = attrs.field(default=1.0, validator=_seconds)
    capacity: int = attrs.field(default=100_000, validator=_count)
    capacity_bytes: int = attrs.field(default=32 << 20, validator=_count)
    patience: float = attrs.field(default=30.0, validator=_seconds)
    grace: float = attrs.field(default=10.0, validator=_seconds)
    concurrency: int | Literal["auto"] = attrs.field(default="auto", validator=CONCURRENCY)
    on_outcome: Callable[[Outcome[Sample, None]], None] | None = attrs.field(
        default=None, validator=or_none(function())
    )
