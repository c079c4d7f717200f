"""What pydantic is told of records; pydantic itself is imported only then."""

import inspect
from typing import Any, Final, ForwardRef, TypeVar, cast, get_args, get_origin

import attrs

from ..settings import Secret, masked, optional_secret

__all__ = ["Serializer", "record_schema"]

_RAW: Final = ("extra", "rejected")
"""Attributes that have what came as it came, with secrets at whatever depth."""


def record_schema(cls: type[Any], source: Any, handler: Any) -> Any:
    """The schema of the record *cls*, for pydantic.

    Args:
        cls: the record.
        source: it, or it with its type arguments.
        handler: pydantic's, which makes the schemas of members.
    """
    from pydantic_core import core_schema

    arguments = get_args(source)
    known = dict(zip(getattr(cls, "__parameters__", ()), arguments, strict=False))
    members = {field.name: _member(field, known, handler) for field in attrs.fields(attrs.resolve_types(cls))}
    record = core_schema.typed_dict_schema(members, cls=cls, cls_name=cls.__name__, extra_behavior="forbid")

    def read(value: Any, handler: Any) -> Any:
        return value if isinstance(value, cls) else cls(**handler(value))

    def held(value: Any) -> dict[str, Any]:
        if not isinstance(value, cls):
            raise TypeError(f"expected {cls.__name__}, got {type(value).__name__}")
        return {name: getattr(value, name) for name in members}

    def describe(schema: Any, generate: Any) -> Any:
        made = generate(schema)
        described = generate.resolve_ref_schema(made)
        described.update(title=_name(cls, arguments), description=inspect.cleandoc(cls.__doc__ or ""))
        return made

    return core_schema.no_info_wrap_validator_function(
        read,
        record,
        serialization=core_schema.plain_serializer_function_ser_schema(held, return_schema=record),
        ref=_reference(cls, arguments),
        metadata={"pydantic_js_functions": [describe]},
    )


class Serializer:
    """What pydantic writes a record with that it meets where anything may be; the attribute of a class."""

    def __init__(self) -> None:
        self._known: dict[type[Any], Any] = {}

    def __get__(self, record: object, owner: type[Any]) -> Any:
        if not attrs.has(owner):  # the base of all records, which has no members
            raise AttributeError("__pydantic_serializer__")
        try:
            from pydantic import TypeAdapter
        except ModuleNotFoundError:
            raise AttributeError("__pydantic_serializer__") from None
        if owner not in self._known:
            self._known[owner] = TypeAdapter(owner).serializer
        return self._known[owner]


def _name(cls: Any, arguments: tuple[Any, ...]) -> str:
    names = ", ".join(getattr(argument, "__name__", str(argument)) for argument in arguments)
    return f"{cls.__name__}[{names}]" if names else str(cls.__name__)


def _reference(cls: Any, arguments: tuple[Any, ...] = ()) -> str:
    """What pydantic tells schemas apart by, and makes their names in a JSON schema of."""
    inner = ",".join(
        _reference(argument) if isinstance(argument, type) else f"{argument}:{id(argument)}" for argument in arguments
    )
    return f"{cls.__module__}.{cls.__qualname__}:{id(cls)}" + (f"[{inner}]" if inner else "")


def _member(field: "attrs.Attribute[Any]", known: dict[Any, Any], handler: Any) -> Any:
    from pydantic_core import core_schema

    is_secret = cast("object", field.converter) is optional_secret
    type_ = Secret | None if is_secret else _with_arguments(field.type, known)
    schema = handler.generate_schema(type_)
    if field.name in _RAW:
        schema["serialization"] = core_schema.plain_serializer_function_ser_schema(
            lambda value, info: _masked(value, info) if info.mode == "json" else value, info_arg=True
        )
    return core_schema.typed_dict_field(schema, required=field.default is attrs.NOTHING)


def _with_arguments(type_: Any, known: dict[Any, Any]) -> Any:
    """*type_* with the arguments of its type variables; one without an argument may be anything."""
    if _refers_to_itself(type_):  # as `JSON` does, which is anything anyway
        return list[Any] if get_origin(type_) is list else Any
    if isinstance(type_, TypeVar):
        return known.get(type_, Any)
    parameters = getattr(type_, "__parameters__", ())
    return type_[tuple(known.get(parameter, Any) for parameter in parameters)] if parameters else type_


def _refers_to_itself(type_: Any) -> bool:
    return isinstance(type_, ForwardRef) or any(map(_refers_to_itself, get_args(type_)))


def _masked(value: Any, info: Any) -> Any:
    """*value* without the secrets in it, unless the context asks for them."""
    if isinstance(value, Secret):
        return masked(value, info.context)
    if isinstance(value, dict):
        return {name: _masked(member, info) for name, member in value.items()}
    if isinstance(value, list):
        return [_masked(member, info) for member in value]
    return value
