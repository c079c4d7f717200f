"""A writer by the name of its way."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError
from ..transport.transport import Transport
from .automation import AutomationSink
from .link import LinkSink
from .model import ModelSink
from .writer import Writer, WriterOptions

if TYPE_CHECKING:
    from .sinks import Sink

__all__ = ["writer_via"]


def writer_via(transport: Transport, account_id: str | None, via: str, arguments: Mapping[str, Any]) -> Writer:
    """Make a writer.

    Args:
        transport: the client's.
        account_id: the client's.
        via: the name of the way.
        arguments: those of the way, and the options of the writer.

    Raises:
        InvalidArgumentError: there is no such way, or an argument does not fit.
    """
    ways: dict[str, Callable[..., Sink]] = {
        "automation": partial(AutomationSink, transport),
        "model": partial(ModelSink, transport, account_id),
        "mqtt": LinkSink,
    }
    way = ways.get(via)
    if way is None:
        raise InvalidArgumentError(f"writer: via: expected one of {', '.join(ways)}, got {via!r}")
    options = {name: value for name, value in arguments.items() if name in WriterOptions.__annotations__}
    own = {name: value for name, value in arguments.items() if name not in options}
    try:
        inspect.signature(way).bind(**own)
    except TypeError as error:
        raise InvalidArgumentError(f"writer: via {via}: {error}") from None
    return Writer(way(**own), **options)
