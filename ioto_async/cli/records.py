"""What the commands for records of the cloud share: options, lists by pages, and how records are printed."""

import json
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar, cast, get_args

import attrs
from cyclopts import Parameter

from ..client import IotoClient
from ..controllers.paging import Paged
from ..errors import CallError
from ..models.record import Record
from .listing import Listing, print_record
from .options import RecordFormat, check_account, use_api

__all__ = ["CloudOptions", "ListOptions", "RecordOptions", "for_each", "print_done"]

R = TypeVar("R", bound=Record)

_PAGE: Final = 100
"""Records of a page, unless fewer are wanted."""


def _check_limit(_: object, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError("Must be 1 or more.")


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class CloudOptions:
    """Which cloud and account a command is for."""

    api: str | None = None
    """Base URL of the device cloud; IOTO_API by default."""
    account: str | None = None
    """Account that owns what is asked for; IOTO_ACCOUNT by default."""

    def client(self) -> IotoClient:
        """A client for them.

        Raises:
            InvalidArgumentError: the URL or the account cannot be one.
        """
        use_api(self.api)
        return IotoClient(account_id=check_account(self.account), trust_env=True)


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class RecordOptions(CloudOptions):
    """How one record is printed."""

    output: RecordFormat = "table"
    """Format; json and jsonl have all members, the table those that are known."""

    def print(self, record: Record) -> None:
        """Print a *record*."""
        print_record(_members(record), self.output)


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class ListOptions(CloudOptions):
    """How a list is printed."""

    output: RecordFormat = "table"
    """Format; the table has the main members, the others have all."""
    limit: Annotated[int | None, Parameter(validator=_check_limit)] = None
    """Most records to print; all by default."""

    @property
    def page(self) -> int:
        """How many records a page is to have."""
        return _PAGE if self.limit is None else min(self.limit, _PAGE)

    async def print(
        self,
        kind: type[R],
        found: Paged[R],
        shown: Iterable[str],
        nothing: str,
        *,
        only: Callable[[R], bool] = lambda _: True,
    ) -> None:
        """Print what a find finds, page by page.

        Args:
            kind: class of the records.
            found: the find.
            shown: members that a table has.
            nothing: what is said on stderr if there are none.
            only: which of the records are printed.

        Raises:
            CallError: a page could not be read.
        """
        fields = attrs.fields(cast("type[attrs.AttrsInstance]", kind))
        columns = [field.name for field in fields if field.name != "extra"]
        dates = [field.name for field in fields if datetime in get_args(field.type)]
        listing = Listing(self.output, columns, shown=[*shown], dates=dates)
        left, rejected = self.limit, 0
        async with aclosing(found.pages()) as pages:
            async for page in pages:
                rejected += len(page.rejected)
                for record in filter(only, page.items):
                    if left == 0:
                        break
                    listing.add(_members(record))
                    left = None if left is None else left - 1
                if left == 0:
                    break
        listing.finish(nothing)
        if rejected:
            sys.stderr.write(
                f"ioto-async: {rejected} more could not be read: ioto-async call shows them as they came\n"
            )


def _members(record: Record) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(record.to_json())
    return members


async def for_each(
    things: Collection[str], call: Callable[[str], Awaitable[object]], done: Callable[[str], str]
) -> None:
    """Call for one thing after the other, and say on stderr what is done.

    Args:
        things: keys or IDs.
        call: what is called with each.
        done: returns what is said of one.

    Raises:
        CallError: of the first that failed; a note names it.
    """
    for place, thing in enumerate(things, 1):
        try:
            await call(thing)
        except CallError as error:
            error.add_note(f"for {thing}" + "; those after it were not tried" * (place < len(things)))
            raise
        print_done(done(thing))


def print_done(text: str) -> None:
    """Say on stderr that something is done."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
