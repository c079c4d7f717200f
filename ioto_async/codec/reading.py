"""How replies are read: what the decoders have in common, and whoever calls them has to know."""

import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Generic, Protocol, TypeVar

import attrs

from ..operations import Operation

__all__ = [
    "LARGE",
    "LENIENT",
    "NOT_SENT",
    "Decoder",
    "Path",
    "Reading",
    "Steps",
    "Stepwise",
    "done",
    "in_steps",
    "json_path",
    "sort_of",
]

logger = logging.getLogger("ioto_async")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Path = tuple[str | int, ...]
"""The steps from the whole reply to a part of it, outermost first."""


def json_path(steps: Iterable[str | int]) -> str:
    """The JSON path of *steps*, outermost first; an empty one stands for any position."""
    return "$" + "".join(f".{step}" if isinstance(step, str) and step else f"[{step}]" for step in steps)


def sort_of(path: Path) -> str:
    """The JSON path of all that differs from what is at *path* by a position."""
    return json_path("" if isinstance(step, int) else step for step in path)


@attrs.frozen
class Reading:
    """How a client reads replies, and what it has noticed in them."""

    strict: bool = False
    """Whether a member that does not fit raises a `DecodeError`, instead of being read as far as it goes."""
    noticed: set[tuple[str, str]] = attrs.field(factory=set)
    """The operation and the JSON path, without positions, of each sort of odd member that was logged."""

    def tell(self, operation: Operation, odd: Sequence[tuple[Path, str]]) -> None:
        """Log what was *odd* in a reply, each sort of it once."""
        for path, text in odd:
            sort = operation.name, sort_of(path)
            if sort not in self.noticed:
                self.noticed.add(sort)
                logger.warning(
                    "%s: reply at %s: %s; the rest is read, and this is logged once",
                    operation.name,
                    json_path(path),
                    text,
                )


LENIENT: Final = Reading()
NOT_SENT: Final[Mapping[str, object]] = MappingProxyType({})


class Decoder(Protocol[T_co]):
    """Turns the body of a successful reply into what the call returns.

    Raises `DecodeError`, `InBandError` or `NotFoundError`.
    """

    def __call__(
        self, operation: Operation, data: bytes, reading: Reading = ..., sent: Mapping[str, object] = ..., /
    ) -> T_co:
        """Decode *data*, the body of the reply to *operation*, of which *sent* was the body by wire name."""


LARGE: Final = 1 << 20
"""Bytes of a reply that is better read by `in_steps`, as reading it takes longer than a loop should be held up."""

Steps = Generator[None, None, T]
"""Reads a reply: each yield is a good moment for something else, and the result is returned."""


@attrs.frozen
class Stepwise(Generic[T]):
    """A `Decoder` that can be asked for its steps."""

    steps: Callable[[Operation, bytes, Reading], Steps[T]]
    at_once: Callable[[Operation, bytes, Reading], T]

    def __call__(
        self, operation: Operation, data: bytes, reading: Reading = LENIENT, sent: Mapping[str, object] = NOT_SENT, /
    ) -> T:
        """Decode without a pause."""
        return self.at_once(operation, data, reading)


def done(steps: Steps[T]) -> T:
    """Do all *steps* without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found


def in_steps(
    decode: Decoder[T], operation: Operation, data: bytes, reading: Reading, sent: Mapping[str, object]
) -> Steps[T]:
    """Decode a large reply with pauses, as far as *decode* has some; the arguments are those of a `Decoder`."""
    if isinstance(decode, Stepwise):
        found: T = yield from decode.steps(operation, data, reading)
        return found
    return decode(operation, data, reading, sent)
