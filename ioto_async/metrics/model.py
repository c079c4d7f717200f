"""Samples by writes of a model with metric rules (reference, sections 8, 9 and 11)."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import ClassVar, Final

import attrs

from ..codec import decoding, encoding
from ..codec.encoding import Exists, exists_query
from ..errors import InvalidArgumentError
from ..models import Item
from ..operations import IOTO, Kind
from ..transport.pool import Pool
from ..transport.transport import Transport
from .sample import DIMENSIONS, Sample, check_flag, check_members, check_names, key_of

__all__ = ["ModelSink"]

# What an update sets is the same after a second one, but each of them adds samples.
_OPERATIONS: Final = {
    (create, again): attrs.evolve(IOTO[name], kind=Kind.REPLAYABLE if again else Kind.ONCE)
    for create, name in ((False, "generic/update"), (True, "generic/create"))
    for again in (False, True)
}
"""By whether they make items, and whether they are sent again when their outcome is unknown."""
_ITEM: Final = decoding.record(Item)


class ModelSink:
    """One ``generic/update`` or ``create`` for several fields; see `MetricController.writer` for the arguments."""

    concurrency: ClassVar[int | None] = None
    reports: ClassVar[bool] = True

    def __init__(
        self,
        transport: Transport,
        account_id: str | None,
        *,
        model: str,
        create: bool = False,
        exists: Exists | None = None,
        fields: Mapping[str, str] | None = None,
        dimensions: Mapping[str, str] = DIMENSIONS,
        item: Mapping[str, object] | None = None,
        at_least_once: bool = False,
    ) -> None:
        operation = _OPERATIONS[check_flag(IOTO["generic/create"], "create", create), False]
        self.repeats = check_flag(operation, "at_least_once", at_least_once)
        self._operation = _OPERATIONS[create, at_least_once]
        self._transport = transport
        self._is_state = not create
        self._query = exists_query(operation, "any" if exists is None and not create else exists)
        self._fields = check_names(operation, "fields", fields or {})
        self._names = check_names(operation, "dimensions", dimensions)
        self._model = encoding.required_text(operation, "model", model)
        account = {} if account_id is None else {"accountId": account_id}
        self._item = {**account, **check_members(operation, "item", item), "_type": model}
        encoding.body(operation, self._item)

    @property
    def pool(self) -> Pool:
        """The client's."""
        return self._transport.pool

    def check(self, sample: Sample) -> None:
        """Look whether an item has a place for all of a *sample*."""
        if sample.timestamp is not None:
            raise InvalidArgumentError(
                f"write: timestamp of {sample.metric!r}: the cloud dates what is made of a write of {self._model} when"
                f" it comes, got {sample.timestamp}"
            )
        members = self._members(sample)
        if len(members) < len(sample.dimensions) or not members.keys().isdisjoint(self._item):
            raise InvalidArgumentError(
                f"write: dimensions: {dict(sample.dimensions)!r} set a member of {self._model} that is set already"
            )
        field = self._field(sample)
        if field in members or field in self._item:
            raise InvalidArgumentError(
                f"write: metric: {sample.metric!r} is the member {field!r} of {self._model}, which tells the item"
            )

    def requests(self, samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
        """One for the fields of an item that follow each other; a field that comes again begins the next one."""
        open_: dict[Hashable, dict[str, Sample]] = {}
        made: list[dict[str, Sample]] = []
        for sample in samples:
            item, field = self.target(sample)
            fields = open_.get(item)
            if fields is None or field in fields:
                fields = open_[item] = {}
                made.append(fields)
            fields[field] = sample
        return (tuple(fields.values()) for fields in made)

    def sequence_key(self, samples: Sequence[Sample]) -> Hashable:
        """An item is left with the values that were written last."""
        return self.target(samples[0])[0] if self._is_state else None

    def target(self, sample: Sample) -> tuple[Hashable, str]:
        """What tells the item that a *sample* is written to from others, and the field."""
        # By what is sent: a member may be written by its own name as well as by that of its dimension.
        return key_of(self._members(sample)), self._field(sample)

    async def send(self, samples: Sequence[Sample]) -> None:
        """Write the item."""
        body = {**self._item, **self._members(samples[0])}
        body.update((self._field(sample), sample.value) for sample in samples)
        await self._transport.call(self._operation, _ITEM, body, {}, self._query)

    def _field(self, sample: Sample) -> str:
        return self._fields.get(sample.metric, sample.metric)

    def _members(self, sample: Sample) -> dict[str, object]:
        return {self._names.get(dimension, dimension): value for dimension, value in sample.dimensions.items()}
