"""What came in last, and how much came in before it."""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice, repeat
from typing import TypeVar

__all__ = ["Dated", "Recent"]

_T = TypeVar("_T")
# Each request is added by it; super() would take three times as long.
_append = deque.append


class Recent(deque[_T]):
    """The last *maxlen* of what came in, all of it without, the newest at the end.

    Attributes:
        total: how many came in so far, those included that are not kept any more.
    """

    __slots__ = ("total",)

    def __init__(self, items: Iterable[_T] = (), maxlen: int | None = None) -> None:
        super().__init__(items, maxlen)
        self.total = len(self)

    def append(self, item: _T, /) -> None:
        """Add one."""
        _append(self, item)
        self.total += 1

    def since(self, number: int) -> list[_T]:
        """Return those that came after the first *number*, as far as they are kept."""
        return list(islice(self, max(0, len(self) - max(0, self.total - number)), None))


class Dated(Recent[_T]):
    """The same, each with the time at which it came."""

    __slots__ = ("_times",)

    def __init__(self, items: Iterable[_T] = (), maxlen: int | None = None) -> None:
        super().__init__(items, maxlen)
        self._times: deque[float] = deque(repeat(0.0, len(self)), maxlen)

    def record(self, items: Sequence[_T], time: float) -> None:
        """Add *items* that came at *time*, in epoch seconds."""
        self.extend(items)
        self._times.extend(repeat(time, len(items)))
        self.total += len(items)

    def dated_since(self, number: int) -> list[tuple[float, _T]]:
        """Return those that came after the first *number*, as far as they are kept, each with its time."""
        items = self.since(number)
        return list(zip(islice(self._times, len(self._times) - len(items), None), items, strict=False))

    def clear(self) -> None:
        """Forget all."""
        super().clear()
        self._times.clear()
