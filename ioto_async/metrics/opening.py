"""A writer by the name of its sink."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError
from ..settings import check_names
from ..transport.transport import Transport
from .automation import AutomationSink
from .link import LinkSink
from .model import ModelSink
from .options import WriterOptions
from .writer import Writer

if TYPE_CHECKING:
    from .sinks import Sink

__all__ = ["writer_via"]


def writer_via(transport: Transport, account_id: str | None, via: str, arguments: Mapping[str, Any]) -> Writer:
    """Make a writer.

    Args:
        transport: the client's.
        account_id: the client's.
        via: the name of the sink.
        arguments: those of the sink, and the options of the writer.

    Raises:
        InvalidArgumentError: there is no such sink, or an argument does not fit.
    """
    sinks: dict[str, Callable[..., Sink]] = {
        "automation": partial(AutomationSink, transport),
        "model": partial(ModelSink, transport, account_id),
        "mqtt": LinkSink,
    }
    sink = sinks.get(via)
    if sink is None:
        raise InvalidArgumentError(f"writer: via: expected one of {', '.join(sinks)}, got {via!r}")
    signature = inspect.signature(sink)
    own = [name for name, parameter in signature.parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    check_names(arguments, [*own, *WriterOptions.__annotations__], of=f"writer: via {via}")
    given = {name: arguments[name] for name in own if name in arguments}
    try:
        signature.bind(**given)
    except TypeError as error:
        raise InvalidArgumentError(f"writer: via {via}: {error}") from None
    return Writer(sink(**given), **{name: value for name, value in arguments.items() if name not in given})
