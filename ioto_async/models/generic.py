"""Items of the device database, as ``generic/*`` shows them (reference, section 8)."""

from datetime import datetime
from typing import Any, ClassVar

import attrs

from .record import Record

__all__ = ["Item"]


@attrs.define(kw_only=True)
class Item(Record):
    """An item of any database model.

    The members that most models share are attributes; those of the model itself are in ``extra``, named as on the
    wire and readable as ``item["name"]``. So are those of the former that have another type in the model: the attribute
    is what the value plainly means, or None.
    """

    any_type: ClassVar = True
    """For the converter: a model is its user's own, so that no type of a member is a mistake."""

    type: str | None = attrs.field(default=None, metadata={"wire": "_type"})
    """Name of the model."""
    account_id: str | None = None
    device_id: str | None = None
    created: datetime | None = None
    updated: datetime | None = None
    expires: datetime | None = None
    extra: dict[str, Any] = attrs.field(factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.extra[name]
