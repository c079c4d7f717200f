"""Sends the samples of a request until the service has them, or may have them."""

import asyncio
import logging
from collections.abc import Hashable, Sequence
from typing import Final

import attrs

from ..errors import (
    CallError,
    CallTimeoutError,
    ConnectionFailedError,
    ConnectionLostError,
    IotoError,
    RateLimitedError,
    ServiceError,
    TokenProviderError,
    copy_of,
)
from ..transport.effects import EFFECTS, Effects, waiting
from ..transport.retry import Failure, failure_of_status
from .model import ModelSink
from .outage import Outage
from .sample import Sample
from .sinks import Sink

__all__ = ["Delivery", "JointDelivery"]

logger = logging.getLogger("ioto_async")

_PASSING: Final = (ConnectionFailedError, RateLimitedError, ServiceError, TokenProviderError)
"""What may be different the next time, as long as nothing was done."""
_AWAY: Final = (ConnectionFailedError, ConnectionLostError, CallTimeoutError, TokenProviderError)
"""What says that the service is away, whatever was done until then."""


def _effects() -> Effects:
    effects = EFFECTS.get()
    assert effects is not None  # a bulk run has set it
    return effects


class Delivery:
    """Sends requests through a sink, and while the service is away has one of them try and the others wait.

    Args:
        sink: how samples get to the cloud.
        outage: knows whether the service takes requests.
    """

    def __init__(self, sink: Sink, outage: Outage) -> None:
        self._sink = sink
        self._outage = outage

    async def send(self, samples: Sequence[Sample]) -> None:
        """Send the *samples* of one request as often as it takes, unless the service may have taken them before.

        It is called by a bulk run; what was done is noted in the effects of the task.

        Raises:
            Exception: what the sink has raised last. The samples may be in the cloud if the effects are in doubt, else
                they are not.
        """
        effects, is_in_doubt = _effects(), False
        while True:
            if not self._outage.enter_now():
                with waiting(effects):
                    await self._outage.enter()
            try:
                await self._sink.send(samples)
            except asyncio.CancelledError:
                if not self._sink.reports:
                    effects.doubt()
                raise
            except Exception as error:
                # Whoever has raised something else does not say what was done.
                is_unknown = (
                    effects.in_doubt or getattr(error, "outcome_unknown", False) or not isinstance(error, IotoError)
                )
                is_in_doubt = is_in_doubt or is_unknown
                if is_in_doubt:
                    effects.doubt()
                if not isinstance(error, CallError) or not self._passes(error, is_unknown=is_unknown):
                    if not is_unknown:
                        self._outage.answered()
                    raise
                effects.in_doubt = False  # of the next attempt
                wait = self._outage.refused(error)
                if wait is not None:
                    logger.info("metrics: samples wait for the service, next try in %.2f s: %s", wait, error)
            else:
                self._outage.answered()
                return
            finally:
                self._outage.leave()
            effects.retries += 1

    def _passes(self, error: CallError, *, is_unknown: bool) -> bool:
        """Whether an *error* is of a service that is away, and the samples are to be sent again."""
        if not is_unknown:
            return isinstance(error, _PASSING)
        if not self._sink.repeats:
            return False
        return isinstance(error, _AWAY) or (
            error.status is not None and failure_of_status(error.status, error.retry_after) is Failure.REFUSED
        )


@attrs.define(eq=False)
class _Request:
    """Samples of one item that travel together."""

    samples: dict[str, Sample]
    """By the fields that they are written to."""
    ended: asyncio.Event = attrs.field(factory=asyncio.Event)
    error: BaseException | None = None
    changed: bool = False
    in_doubt: bool = False


class JointDelivery:
    """Sends samples one by one, and those for fields of one item that come at the same time in one request.

    The task of the first of them sends the request; what it has done, it has done for all of them.

    Args:
        sink: tells the items.
        delivery: sends the requests.
    """

    def __init__(self, sink: ModelSink, delivery: Delivery) -> None:
        self._sink = sink
        self._delivery = delivery
        self._open: dict[Hashable, _Request] = {}
        """By their items, requests that are not sent yet."""
        self._begun = 0
        """Samples that have come."""

    def sequence_key(self, sample: Sample) -> Hashable:
        """As for a sink, but other fields of its item do not wait for a *sample*."""
        return None if self._sink.sequence_key((sample,)) is None else self._sink.target(sample)

    async def send(self, sample: Sample) -> None:
        """Send a *sample*; effects and errors are those of the request that it travels in (see `Delivery.send`)."""
        self._begun += 1
        effects = _effects()
        item, field = self._sink.target(sample)
        request = self._open.get(item)
        if request is None or field in request.samples:
            request = self._open[item] = _Request({field: sample})
            await self._send(item, request, effects)
            return
        request.samples[field] = sample
        cancelled: asyncio.CancelledError | None = None
        while not request.ended.is_set():  # only then is it known whether the sample was sent
            try:
                await request.ended.wait()
            except asyncio.CancelledError as error:
                cancelled = error
        effects.changed, effects.in_doubt = request.changed, request.in_doubt
        if cancelled is not None:
            raise cancelled
        if request.error is not None:
            raise copy_of(request.error)

    async def _send(self, item: Hashable, request: _Request, effects: Effects) -> None:
        try:
            await self._all_begun()
            self._close(item, request)
            await self._delivery.send(tuple(request.samples.values()))
        except BaseException as error:
            request.error = error
            raise
        finally:
            self._close(item, request)
            request.changed, request.in_doubt = effects.changed, effects.in_doubt
            request.ended.set()

    async def _all_begun(self) -> None:
        """Wait until a turn of the loop has brought no further sample: workers begin one after the other."""
        begun = 0
        while begun != self._begun:
            begun = self._begun
            await asyncio.sleep(0)

    def _close(self, item: Hashable, request: _Request) -> None:
        """Let no further sample travel in a *request*."""
        if self._open.get(item) is request:
            del self._open[item]
