"""What all controllers share. Imports floors 0 to 2."""

from collections.abc import Mapping
from typing import TypeVar

from ..decoding import Decoder
from ..errors import InvalidArgumentError
from ..models import Cursor, Page
from ..operations import Operation
from ..paging import Paged
from ..transport import CallOptions, Transport

__all__ = ["Controller", "joined"]

T = TypeVar("T")


class Controller:
    """A namespace of a client: methods named as the actions of one controller of the API.

    Every method also takes the options ``timeout``, ``retries`` and ``headers`` (see `CallOptions`) and raises
    `InvalidArgumentError` before, or a `CallError` after the request was made.
    """

    __slots__ = ("_account_id", "_transport")

    def __init__(self, transport: Transport, account_id: str | None) -> None:
        self._transport = transport
        self._account_id = account_id

    def _account(self, account_id: str | None) -> str | None:
        """The account of a call: its own, or the client's."""
        return self._account_id if account_id is None else account_id

    def _find(
        self,
        operation: Operation,
        decode: Decoder[Page[T]],
        body: Mapping[str, object],
        options: CallOptions,
        *,
        index: str | None = None,
        limit: int | None,
        next: Cursor | None,
        prev: Cursor | None,
    ) -> Paged[T]:
        async def fetch(cursor: dict[str, Cursor]) -> Page[T]:
            query: dict[str, object] = {"index": index, "limit": limit, **cursor}
            return await self._transport.call(operation, decode, body, options, query)

        return Paged(operation.name, fetch, next=next, prev=prev)


def joined(
    operation: Operation, members: Mapping[str, object], name: str, more: Mapping[str, object] | None
) -> Mapping[str, object]:
    """*members* and the open part of a body, the argument *name*, in one.

    Raises:
        InvalidArgumentError: *more* is no mapping, or has a member that was given as an argument as well.
    """
    if more is None:
        return members
    if not isinstance(more, Mapping):
        raise InvalidArgumentError(f"{operation.name}: {name}: expected a mapping, got {type(more).__name__}")
    if twice := {member for member, value in members.items() if value is not None} & more.keys():
        raise InvalidArgumentError(f"{operation.name}: {name}: {min(twice)} was given as an argument as well")
    return {**members, **more}
