"""What all records have in common: how they leave the process."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

import attrs
import orjson

from ..errors import InvalidArgumentError
from .schemas import Serializer, record_schema
from .wire import iso, wire_name

__all__ = ["Record"]


class Record:
    """A record of the API.

    pydantic and FastAPI take records as they are: as the type of a field, of a parameter, and of what a route returns.
    They write the members of `to_dict` in JSON, with secrets masked unless the serialization context has
    ``{"secrets": True}``, and read the same, or an instance.
    """

    __slots__ = ()

    __pydantic_serializer__ = Serializer()

    def to_dict(self, *, wire: bool = False) -> dict[str, Any]:
        """The members as a new dict, those of records in it as well; secrets are plain text, by their value.

        Args:
            wire: as the service sends it: named in camel case, dates as ISO text, ``extra`` among the other members,
                and no member that is None. By default, all attributes by name, dates as datetimes.

        Raises:
            InvalidArgumentError: a date has no time zone, and *wire* is true.
        """
        fields = attrs.fields(cast("type[attrs.AttrsInstance]", type(self)))
        if not wire:
            return {field.name: _plain(getattr(self, field.name), wire=False) for field in fields}
        sent = (field for field in fields if field.metadata.get("wire", field.name) is not None)
        held = {wire_name(field): _plain(getattr(self, field.name), wire=True) for field in sent}
        extra = held.pop("extra", {})
        return {**extra, **{name: value for name, value in held.items() if value is not None}}

    def to_json(self, *, wire: bool = False) -> str:
        """The members as JSON text: what `to_dict` gives, with dates as ISO text.

        Args:
            wire: see `to_dict`.

        Raises:
            InvalidArgumentError: a date has no time zone, or a member is no JSON.
        """
        members = self.to_dict(wire=wire)
        try:
            return orjson.dumps(members, _default, orjson.OPT_PASSTHROUGH_DATETIME).decode()
        except orjson.JSONEncodeError as error:
            raise InvalidArgumentError(f"{type(self).__name__}: {error.__cause__ or error}") from None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return record_schema(cls, source, handler)


def _plain(value: Any, *, wire: bool) -> Any:
    """A copy of *value* with nothing in it that is of this package."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Record):
        return value.to_dict(wire=wire)
    if isinstance(value, Mapping):
        return {name: _plain(member, wire=wire) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(member, wire=wire) for member in value]
    return iso(value) if wire and isinstance(value, datetime) else value


def _default(value: object) -> str:
    if isinstance(value, datetime):
        return iso(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
