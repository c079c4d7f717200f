"""What all controllers share."""

import sys
import warnings
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from inspect import isfunction
from typing import Any, ClassVar, Final, Literal, ParamSpec, TypeVar

from ..codec.encoding import given
from ..codec.reading import Decoder
from ..errors import InvalidArgumentError, MqttOnlyError
from ..models import Cursor, Page
from ..operations import BUILDER, IOTO, OPERATION, Operation
from ..transport.effects import reporting
from ..transport.options import CallOptions
from ..transport.shared import Shared
from ..transport.transport import Transport
from .asyncio_private import IS_COROUTINE
from .paging import Paged

__all__ = [
    "Command",
    "Controller",
    "legacy",
    "merged",
    "mqtt_only",
    "need_one",
    "replacement",
    "warn_of_legacy",
]

P = ParamSpec("P")
T = TypeVar("T")

Command = Literal["get", "put", "delete"]
"""What a signed URL is for."""


class Controller(Shared):
    """A namespace of a client: methods named as the actions of one controller of the API.

    Every method also takes the options of a call, ``timeout``, ``retries`` and ``headers`` (see `CallOptions`); where
    it makes several requests, they apply to each. It raises `InvalidArgumentError` before, or a `CallError` after a
    request was made.
    """

    _instead = "share its client, and make another client in another process"
    _operations: ClassVar[Mapping[str, Operation]] = IOTO
    """The table that has the operations of the controller."""
    _is_coroutine: ClassVar[object] = IS_COROUTINE
    """So ``AsyncMock(spec=IotoClient).device`` has methods to await."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.__module__.startswith(f"{__package__}."):
            return  # what a method does that somebody else has written, only they know
        controller = cls.__name__.removeprefix("Builder").removesuffix("Controller").lower()
        for name, method in vars(cls).items():
            if not name.startswith("_") and isfunction(method):
                first, *words = name.split("_")
                action = first + "".join(map(str.capitalize, words))
                setattr(reporting(method), OPERATION, cls._operations.get(f"{controller}/{action}"))

    def __init__(self, transport: Transport, account_id: str | None) -> None:
        self._transport = transport
        self._account_id = account_id

    def _account(self, account_id: str | None) -> str | None:
        """The account of a call: its own, or the client's."""
        return self._account_id if account_id is None else account_id

    def _update(
        self,
        operation: Operation,
        decode: Decoder[T],
        named: Mapping[str, object],
        changes: Mapping[str, object],
        options: CallOptions,
    ) -> Coroutine[Any, Any, T]:
        """Change a record.

        Args:
            operation: what is called.
            decode: turns the reply's body into the result.
            named: what tells the record, by wire name; None leaves a member out.
            changes: what is to become of it, by wire name; `OMIT` leaves a member as it is, and None clears it.
            options: options of this call.
        """
        body = {name: value for name, value in named.items() if value is not None}
        return self._transport.call(operation, decode, body | given(changes), options, nulls=True)

    def _find(
        self,
        operation: Operation,
        decode: Decoder[Page[T]],
        body: Mapping[str, object],
        options: CallOptions,
        *,
        index: str | None = None,
        limit: int | None = None,
        next: Cursor | None = None,
        prev: Cursor | None = None,
    ) -> Paged[T]:
        async def fetch(cursor: dict[str, Cursor]) -> Page[T]:
            query: dict[str, object] = {"index": index, "limit": limit, **cursor}
            return await self._transport.call(operation, decode, body, options, query)

        return Paged(operation.name, fetch, next=next, prev=prev)


def merged(
    operation: Operation, members: Mapping[str, object], name: str, more: Mapping[str, object] | None
) -> Mapping[str, object]:
    """Return *members* together with *more*, the open part of a body, which is the argument *name* of the caller.

    Raises:
        InvalidArgumentError: *more* is no mapping, or has a member that was given as an argument as well.
    """
    if more is None:
        return members
    if not isinstance(more, Mapping):
        raise InvalidArgumentError(f"{operation.name}: {name}: expected a mapping, got {type(more).__name__}")
    more = given(more)
    if twice := {member for member, value in members.items() if value is not None} & more.keys():
        raise InvalidArgumentError(f"{operation.name}: {name}: {min(twice)} was given as an argument as well")
    return {**members, **more}


def need_one(operation: Operation, *, left_out: object = None, **members: object) -> None:
    """Refuse a call that names none of *members*, where the table requires none of them.

    Raises:
        InvalidArgumentError: all of them are *left_out*; the text names them.
    """
    if all(value is left_out for value in members.values()):
        raise InvalidArgumentError(f"{operation.name}: {' or '.join(members)} is required")


def mqtt_only(operation: Operation) -> MqttOnlyError:
    """What to raise where *operation*, a row of `MQTT`, is called over HTTP."""
    return MqttOnlyError(f"{operation.name}: devices call it over MQTT, it has no HTTP form; use {operation.instead}")


def replacement(operation: Operation) -> str:
    """Return the sentence that says what to call instead of a legacy *operation*."""
    where = " of the Builder" if operation in BUILDER.values() else ""
    return f"{operation.name}{where} is a legacy operation: use {operation.instead}"


_AWAITING: Final = ("asyncio.", "ioto_async.transport.raw")
"""Beginnings of the names of modules that await what others have called."""
_warned: Final[set[Operation]] = set()
"""The legacy operations that were warned of: many calls of one should not fill a log."""


def warn_of_legacy(operation: Operation) -> None:
    """Warn whoever awaits the coroutine that calls this, once in a process, that *operation* has been replaced.

    A task is awaited by its loop, and whoever runs that is warned; `with_raw_response` awaits it for somebody else.
    """
    if operation in _warned:
        return
    _warned.add(operation)
    level, frame = 3, sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_AWAITING):
        level, frame = level + 1, frame.f_back
    warnings.warn(replacement(operation), DeprecationWarning, stacklevel=level)


Method = Callable[P, Coroutine[Any, Any, T]]


def legacy(operation: Operation) -> Callable[[Method[P, T]], Method[P, T]]:
    """Decorate the method of an *operation* that has been replaced: its first call warns."""

    def decorate(method: Method[P, T]) -> Method[P, T]:
        @wraps(method)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            warn_of_legacy(operation)
            return await method(*args, **kwargs)

        return call

    return decorate
