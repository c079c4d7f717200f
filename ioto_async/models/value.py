"""Values that JSON can hold."""

import json
from typing import TypeAlias

import orjson

__all__ = ["JSON", "json_text"]

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"
"""Any JSON value, as it comes off the wire."""


def json_text(value: JSON, *, indent: bool = False, sort: bool = False) -> str:
    """JSON of a value that a service sent, for people and for comparisons.

    orjson reads more levels than it writes, and Python's own writer has a limit as well: beyond, the text says only
    that it is nested too deep.

    Args:
        value: the value.
        indent: on several lines.
        sort: the members of objects by name.
    """
    option = (orjson.OPT_INDENT_2 if indent else 0) | (orjson.OPT_SORT_KEYS if sort else 0)
    try:
        return orjson.dumps(value, option=option).decode()
    except orjson.JSONEncodeError:
        pass
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=sort, separators=(",", ":"))
    except RecursionError:
        return '"nested too deep to be shown"'
