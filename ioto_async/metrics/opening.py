"""A writer by the name of its way."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError
from ..settings import check_names
from ..transport.transport import Transport
from .automation import AutomationWay
from .link import LinkWay
from .model import ModelWay
from .options import WriterOptions
from .writer import Writer

if TYPE_CHECKING:
    from .sinks import Way

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
    ways: dict[str, Callable[..., Way]] = {
        "automation": partial(AutomationWay, transport),
        "model": partial(ModelWay, transport, account_id),
        "mqtt": LinkWay,
    }
    way = ways.get(via)
    if way is None:
        raise InvalidArgumentError(f"writer: via: expected one of {', '.join(ways)}, got {via!r}")
    signature = inspect.signature(way)
    own = [name for name, parameter in signature.parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    check_names(arguments, [*own, *WriterOptions.__annotations__], of=f"writer: via {via}")
    given = {name: arguments[name] for name in own if name in arguments}
    try:
        signature.bind(**given)
    except TypeError as error:
        raise InvalidArgumentError(f"writer: via {via}: {error}") from None
    return Writer(way(**given), **{name: value for name, value in arguments.items() if name not in given})
