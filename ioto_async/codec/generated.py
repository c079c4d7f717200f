"""Hooks that are made of source, as attrs and cattrs make theirs: straight code for the members of one class."""

import linecache
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import CodeType, FunctionType
from typing import Any, Final

import attrs

from ..models.wire import iso
from ..settings import conceal, secret_names

__all__ = ["Reader", "can_be_generated", "structure_hook", "unstructure_hook"]

Structure = Callable[[Any, Any], Any]

Reader = tuple[str, Any, Structure, Any]
"""How a member is read: its argument, the type that needs no more than a look, the hook for others, and its type."""

_ITSELF: Final = frozenset((str, bool, int, float))
"""Types whose values are the same in JSON."""


def can_be_generated(cls: type[Any]) -> bool:
    """Whether members of *cls* that are not there are None, as `structure_hook` has it, unless they are its keys."""
    fields = (field for field in attrs.fields(cls) if field.name != "extra")
    return all(field.init and (field.default is None or _is_key(field)) for field in fields)


def _is_key(field: "attrs.Attribute[Any]") -> bool:
    return field.default is attrs.NOTHING and field.type is str


def structure_hook(
    cls: type[Any],
    fields: Mapping[str, "attrs.Attribute[Any]"],
    readers: Mapping[str, Reader],
    careful: Structure,
    unfit: type[Exception],
) -> Structure:
    """Make the hook that structures a *cls*.

    Args:
        cls: an attrs class of which `can_be_generated` is true.
        fields: its attributes by wire name, without ``extra``.
        readers: how they are read, by wire name.
        careful: the hook that takes its time. What does not fit goes there, for the path and the text of the error.
        unfit: what hooks raise for a value that does not fit.
    """
    known: dict[str, Any] = {
        "careful": careful,
        "cls": cls,
        "conceal": conceal,
        "from_iso": datetime.fromisoformat,
        "names": frozenset(fields),
        "new": cls.__new__,
        "secret_names": secret_names,
        "unfit": (unfit, ValueError),
        "UTC": UTC,
    }
    body = [
        "def structure(value, type_):",
        " if type(value) is not dict:",
        "  return careful(value, type_)",
        " get = value.get",
        f" found = {len(fields)}",
        " try:",
    ]
    for number, (name, field) in enumerate(fields.items()):
        _, plain, hook, type_ = readers[name]
        known |= {f"hook{number}": hook, f"type{number}": type_}
        body += [f"  {line}".replace("#", str(number)) for line in _reading(name, field, plain, type_)]
    body += [
        # What hooks raise, and what a text raises that is no date.
        " except unfit:",
        "  return careful(value, type_)",
    ]
    keeps_extra = any(field.name == "extra" for field in attrs.fields(cls))
    if keeps_extra:
        body += [
            " extra = {}",
            " if len(value) != found:",
            "  is_plain = True",
            "  for name in value:",
            "   if name not in names:",
            "    extra[name] = item = value[name]",
            "    kind = type(item)",
            # Most of them need no more than this look.
            "    if secret_names[name] or item[:1] == '-' if kind is str else kind is dict or kind is list:",
            "     is_plain = False",
            "  if not is_plain:",
            "   conceal(extra)",
        ]
    values = {field.name: f"value{number}" for number, field in enumerate(fields.values())}
    if keeps_extra:
        values["extra"] = "extra"
    if _only_sets(cls):
        # What its __init__ does as well, without the call of it, which takes most of the time.
        body += [" self = new(cls)", *(f" self.{name} = {value}" for name, value in values.items()), " return self"]
    else:
        aliases = {field.name: field.alias or field.name for field in attrs.fields(cls)}
        body.append(f" return cls({', '.join(f'{aliases[name]}={value}' for name, value in values.items())})")
    return _compiled("structure", cls, body, known)


def _reading(name: str, field: "attrs.Attribute[Any]", plain: Any, type_: Any) -> list[str]:
    """The lines that read a member into ``value#``; ``found`` goes down for one that is not there."""
    get = f"value# = get({name!r})"
    if _is_key(field):
        return [get, "if type(value#) is not str or not value#:", " return careful(value, type_)"]
    if type_ is Any:
        return [get, "if value# is None:", " found -= 1"]
    if type_ is datetime:
        return [
            get,
            "if type(value#) is str:",
            " date = from_iso(value#)",
            " value# = date if date.tzinfo is UTC else hook#(value#, type#)",
            "elif value# is None:",
            " found -= 1",
            "else:",
            " value# = hook#(value#, type#)",
        ]
    odd = ["if value# is None:", " found -= 1", "else:", " value# = hook#(value#, type#)"]
    if plain is None:
        return [get, *odd]
    look = "if type(value#) is not float and type(value#) is not int:" if plain is float else None
    return [get, look or f"if type(value#) is not {plain.__name__}:", *(f" {line}" for line in odd)]


def _only_sets(cls: Any) -> bool:
    """Whether making a *cls* is no more than setting its attributes to the arguments."""
    return (
        cls.__setattr__ is object.__setattr__
        and cls.__new__ is object.__new__
        and not any(hasattr(cls, f"__attrs_{name}__") for name in ("init", "pre_init", "post_init"))
        and all(field.converter is None and field.validator is None for field in attrs.fields(cls))
    )


def unstructure_hook(
    cls: type[Any], fields: Mapping[str, "attrs.Attribute[Any]"], unstructure: Callable[[Any], Any]
) -> Callable[[Any], dict[str, Any]]:
    """Make the hook that unstructures a *cls*; None leaves a member out.

    Args:
        cls: an attrs class.
        fields: its attributes by wire name, without ``extra``.
        unstructure: does it to values that are not the same in JSON, or no dates.
    """
    keeps_extra = any(field.name == "extra" for field in attrs.fields(cls))
    body = ["def unstructure(value):", f" data = {'{**value.extra}' if keeps_extra else '{}'}"]
    for name, field in fields.items():
        body += [
            f" item = value.{field.name}",
            " kind = type(item)",
            " if kind in itself:",
            f"  data[{name!r}] = item",
            " elif item is not None:",
            "  item = iso(item) if kind is datetime else unstructure(item)",
            "  if item is not None:",
            f"   data[{name!r}] = item",
        ]
    body.append(" return data")
    known = {"datetime": datetime, "iso": iso, "itself": _ITSELF, "unstructure": unstructure}
    return _compiled("unstructure", cls, body, known)


def _compiled(name: str, cls: type[Any], body: list[str], known: dict[str, Any]) -> Callable[..., Any]:
    """The function *name* of which *body* is the source, which tracebacks show; *known* are its globals."""
    source = "".join(f"{line}\n" for line in body)
    file = f"<{name} {cls.__module__}.{cls.__qualname__}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    (code,) = (each for each in compile(source, file, "exec").co_consts if isinstance(each, CodeType))
    return FunctionType(code, known, name)
