"""Arguments such as ``key=text`` and ``key:=json``."""

import json
import re
from collections.abc import Iterable
from typing import Final, TypeVar

from ..errors import InvalidArgumentError

__all__ = ["check_encoding", "split_member", "value_of", "without_duplicates"]

T = TypeVar("T")

_MEMBER: Final = re.compile(r"([^:=]+)(:?=)(.*)", re.DOTALL)


def check_encoding(arguments: Iterable[str]) -> None:
    """Check that *arguments* are UTF-8.

    Raises:
        InvalidArgumentError: one is not; the text names it.
    """
    for position, argument in enumerate(arguments, 1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            # Without the value, which may be a secret.
            name = re.split("[:=]", argument)[0] if "=" in argument else f"argument {position}"
            raise InvalidArgumentError(f"{ascii(name)[1:-1]}: the text is not UTF-8") from None


def without_duplicates(prefix: str, members: Iterable[tuple[str, T]]) -> dict[str, T]:
    """The *members* by name; *prefix* is put in front of a name in an error.

    Raises:
        InvalidArgumentError: one is given twice.
    """
    found: dict[str, T] = {}
    for name, value in members:
        if name in found:
            raise InvalidArgumentError(f"{prefix}{name}: given twice")
        found[name] = value
    return found


def split_member(text: str) -> tuple[str, str, str]:
    """The name of a member, its sign (``=`` for text, ``:=`` for JSON), and the text of its value.

    Raises:
        InvalidArgumentError: *text* is no member.
    """
    match = _MEMBER.fullmatch(text)
    if match is None:
        raise InvalidArgumentError(f"{text}: expected key=text or key:=json")
    name, sign, value = match.groups()
    return name, sign, value


def value_of(name: str, sign: str, text: str) -> object:
    """The value of a member that `split_member` has split.

    Raises:
        InvalidArgumentError: it is to be JSON, and is not.
    """
    if sign == "=":
        return text
    try:
        # Not by orjson, which converts integers of more than 64 bits to floats.
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidArgumentError(f"{name}: not JSON: {error.msg} at character {error.pos}") from None
    except (RecursionError, ValueError):  # Python reads no number of more than 4300 digits
        raise InvalidArgumentError(f"{name}: nested too deep, or a number that is too large") from None
