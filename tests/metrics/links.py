"""A link whose acknowledgements come when the test says so, and writers over it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ioto_async import ConnectionFailedError, IotoClient, Outcome, OutcomeUnknownError, Sample, Writer
from tests.bulk.calls import until

Told = list[Outcome[Sample, None]]


class Link:
    """What `DeviceLink` is to a writer.

    Attributes:
        sent: the values of the samples, in the order in which they were sent; what is sent again is there again.
        messages: what was sent, as it was given.
        highest: how many were on their way at once.
        cancelled: the values of those whose sending was cancelled.
        errors: raised by the next samples, one each, before any is held back.
        away: while it is true, nothing is delivered.
    """

    def __init__(self, *, holds: bool = False) -> None:
        self.sent: list[float] = []
        self.messages: list[dict[str, Any]] = []
        self.highest = 0
        self.cancelled: list[float] = []
        self.errors: list[Exception] = []
        self.away = False
        self._holds = holds
        self._held: list[tuple[float, asyncio.Future[None]]] = []

    @property
    def waiting(self) -> list[float]:
        return [value for value, _ in self._held]

    async def set_metric(
        self,
        metric: str,
        value: float,
        *,
        dimensions: Sequence[Mapping[str, object]] | None = None,
        buffer: Mapping[str, object] | None = None,
    ) -> None:
        self.sent.append(value)
        self.messages.append({"metric": metric, "value": value, "dimensions": dimensions, "buffer": buffer})
        if self.errors:
            raise self.errors.pop(0)
        if self.away:
            raise away()
        if not self._holds:
            return
        entry = (value, asyncio.get_running_loop().create_future())
        self._held.append(entry)
        self.highest = max(self.highest, len(self._held))
        try:
            await entry[1]
        except asyncio.CancelledError:
            self.cancelled.append(value)
            raise
        finally:
            self._held.remove(entry)

    def acknowledge(self, count: int | None = None) -> None:
        """Acknowledge the *count* oldest, or all, and hold back no others in the latter case."""
        self._holds = self._holds and count is not None
        for _, future in self._held[:count]:
            if not future.done():
                future.set_result(None)

    async def has(self, count: int) -> None:
        """Wait until as many are on their way."""
        await until(lambda: len(self._held) == count)


def away() -> ConnectionFailedError:
    return ConnectionFailedError("no connection", operation="metric/set", sent=False)


def in_doubt() -> OutcomeUnknownError:
    return OutcomeUnknownError("the connection broke", operation="metric/set", outcome_unknown=True)


def writer(link: Link, **options: Any) -> tuple[Writer, Told]:
    """A writer over *link*, and the outcomes as it tells them."""
    told: Told = []
    client = IotoClient("https://cloud.example", token="token", environ={})
    options = {"count": 1, "on_outcome": told.append, **options}
    return client.metric.writer(via="mqtt", link=link, **options), told


def statuses(told: Told) -> dict[str, str]:
    """The status of each key; a key that comes twice is an error."""
    found: dict[str, str] = {outcome.key: outcome.status for outcome in told}
    assert len(found) == len(told), "a sample has two outcomes"
    return found
