"""One page of a find (reference, section 5)."""

from typing import Any, Generic, TypeVar

import attrs

from .record import Record
from .value import JSON

__all__ = ["Cursor", "Page"]

T = TypeVar("T")

Cursor = str | dict[str, Any]
"""A place in a list, opaque: give it back as it was received."""


@attrs.frozen(kw_only=True)
class Page(Record, Generic[T]):
    """Some of the records that a find matches, in order."""

    items: list[T] = attrs.field(metadata={"wire": "data"})
    next: Cursor | None = None
    """Where the next page begins; None on the last."""
    prev: Cursor | None = None
    """Where the page before begins; the service says so only if the request carried a cursor."""
    rejected: list[JSON] = attrs.field(factory=list, repr=False, metadata={"wire": None})
    """Elements that are no records, or lack their keys, as they came; ``items`` goes without them.

    More than 100 000 of them are a `DecodeError`.
    """
    extra: dict[str, Any] = attrs.field(factory=dict)
