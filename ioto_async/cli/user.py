"""``ioto-async user``: the users of an account."""

from typing import Final

from cyclopts import App

from ..models import User
from .records import ListOptions

__all__ = ["list_all", "user"]

_LIST: Final = ListOptions()
_SHOWN: Final = ("id", "email", "role", "first", "last")


async def list_all(*, options: ListOptions = _LIST) -> None:
    """List the users of an account.

    For instance, for people, and the addresses of all:

        ioto-async user list
        ioto-async user list --output jsonl | jq -r .email

    Args:
        options: of the list.
    """
    async with options.client() as client:
        await options.print(User, client.user.find(), _SHOWN, "no users: ioto-async whoami shows the account")


user = App(name="user", help="List the users of an account.")
user.command(list_all, name="list")
