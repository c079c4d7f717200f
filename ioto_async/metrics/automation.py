"""Samples by an automation of type metric (reference, sections 9 and 11)."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import ClassVar, Final

import attrs

from ..codec import decoding, encoding
from ..errors import InvalidArgumentError
from ..models import ActionResult
from ..operations import IOTO, Kind
from ..transport.pool import Pool
from ..transport.transport import Transport
from .sample import DIMENSIONS, Sample, check_flag, check_members, check_names, key_of

__all__ = ["AutomationSink"]

_INVOKE: Final = IOTO["action/invoke"]
_REPEATED: Final = attrs.evolve(_INVOKE, kind=Kind.REPLAYABLE)
_RESULT: Final = decoding.result(ActionResult, may_be_empty=True)


class AutomationSink:
    """One ``action/invoke`` for each sample; see `MetricController.writer` for the arguments.

    Attributes:
        name: of the automation.
    """

    concurrency: ClassVar[int | None] = None
    reports: ClassVar[bool] = True

    def __init__(
        self,
        transport: Transport,
        *,
        name: str,
        metric: str = "metric",
        value: str = "value",
        timestamp: str | None = "timestamp",
        dimensions: Mapping[str, str] = DIMENSIONS,
        context: Mapping[str, object] | None = None,
        at_least_once: bool = False,
    ) -> None:
        self._transport = transport
        self.name = encoding.required_text(_INVOKE, "name", name)
        self._metric = encoding.required_text(_INVOKE, "metric", metric)
        self._value = encoding.required_text(_INVOKE, "value", value)
        self._timestamp = None if timestamp is None else encoding.required_text(_INVOKE, "timestamp", timestamp)
        self._names = check_names(_INVOKE, "dimensions", dimensions)
        self._context = check_members(_INVOKE, "context", context)
        encoding.body(_INVOKE, {"name": name, "context": self._context})
        variables = [self._metric, self._value, *self._context] + ([] if timestamp is None else [timestamp])
        self._taken = frozenset(variables)
        if len(self._taken) < len(variables):
            raise InvalidArgumentError(f"{_INVOKE.name}: two variables have the same name: {', '.join(variables)}")
        self.repeats = check_flag(_INVOKE, "at_least_once", at_least_once)
        self._operation = _REPEATED if at_least_once else _INVOKE

    @property
    def pool(self) -> Pool:
        """The client's."""
        return self._transport.pool

    def check(self, sample: Sample) -> None:
        """Look whether the context has a place for all of a *sample*."""
        if sample.timestamp is not None and self._timestamp is None:
            raise InvalidArgumentError(
                f"write: timestamp of {sample.metric!r}: {self.name} takes none, got {sample.timestamp}"
            )
        variables = self._variables(sample)
        if len(variables) < len(sample.dimensions) or not self._taken.isdisjoint(variables):
            raise InvalidArgumentError(
                f"write: dimensions: {dict(sample.dimensions)!r} set a variable of {self.name} that is set already"
            )

    def requests(self, samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
        """One for each."""
        return ((sample,) for sample in samples)

    def sequence_key(self, samples: Sequence[Sample]) -> Hashable:
        """Samples add up, in whatever order; but of those with a time the service drops what comes too late."""
        (sample,) = samples
        return None if sample.timestamp is None else (sample.metric, key_of(self._variables(sample)))

    async def send(self, samples: Sequence[Sample]) -> None:
        """Run the automation."""
        (sample,) = samples
        context = {**self._context, self._metric: sample.metric, self._value: sample.value, **self._variables(sample)}
        if sample.timestamp is not None and self._timestamp is not None:
            context[self._timestamp] = encoding.timestamp(_INVOKE, "timestamp", sample.timestamp)
        await self._transport.call(self._operation, _RESULT, {"name": self.name, "context": context}, {})

    def _variables(self, sample: Sample) -> dict[str, object]:
        return {self._names.get(dimension, dimension): value for dimension, value in sample.dimensions.items()}
