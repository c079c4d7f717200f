"""Samples of a device over MQTT (reference, section 10)."""

from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Protocol

from ..codec import encoding
from ..errors import InvalidArgumentError
from ..models.metric import in_buffer
from ..operations import MQTT
from ..transport.effects import reports_effects
from .sample import Sample, check_members

__all__ = ["LinkSink", "MetricLink"]

_SET: Final = MQTT["metric/set"]


class MetricLink(Protocol):
    """What sends samples over MQTT, such as a `DeviceLink`."""

    async def set_metric(
        self,
        metric: str,
        value: float,
        *,
        dimensions: Sequence[Mapping[str, object]] | None = None,
        buffer: Mapping[str, object] | None = None,
    ) -> None:
        """Send a sample, and return when the service has it.

        Raises:
            IotoError: with ``outcome_unknown`` set if the service may have it, else it has not.
        """


class LinkSink:
    """One ``metric/set`` for each sample; see `MetricController.writer` for the arguments."""

    # As many as the service has unacknowledged on a connection.
    concurrency: ClassVar[int | None] = 100
    pool: ClassVar[None] = None
    repeats: ClassVar[bool] = False  # the link has done so before it gives up

    def __init__(self, *, link: MetricLink, buffer: Mapping[str, object] | None = None) -> None:
        if not callable(getattr(link, "set_metric", None)):
            raise InvalidArgumentError(f"link: expected a DeviceLink, got {type(link).__name__}")
        self._link = link
        self.reports = reports_effects(link.set_metric)
        self._buffer = None if buffer is None else in_buffer(_SET.name, check_members(_SET, "buffer", buffer))
        encoding.body(_SET, {"buffer": self._buffer})

    def check(self, sample: Sample) -> None:
        """Look whether a *sample* has no more than a message can say."""
        if sample.timestamp is not None:
            raise InvalidArgumentError(
                f"write: timestamp of {sample.metric!r}: over MQTT the cloud dates samples when they come,"
                f" got {sample.timestamp}"
            )

    def requests(self, samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
        """One for each."""
        return ((sample,) for sample in samples)

    def sequence_key(self, samples: Sequence[Sample]) -> None:
        """The connection keeps the order."""

    def send(self, samples: Sequence[Sample]) -> Coroutine[Any, Any, None]:
        """Publish a sample."""
        (sample,) = samples
        return self._link.set_metric(sample.metric, sample.value, dimensions=[sample.dimensions], buffer=self._buffer)
