"""``ioto-async alert``: what automations found worth telling."""

from typing import Annotated, Final

from cyclopts import App, Parameter

from ..models import Alert
from .members import check_encoding
from .records import CloudOptions, ListOptions, for_each

__all__ = ["acknowledge", "alert", "list_all"]

_CLOUD: Final = CloudOptions()
_LIST: Final = ListOptions()
_SHOWN: Final = ("id", "timestamp", "severity", "message")


async def list_all(
    *,
    include_resolved: Annotated[bool, Parameter(name="--all", negative=(), show_default=False)] = False,
    options: ListOptions = _LIST,
) -> None:
    """List the alerts of an account that nobody has dealt with, or all.

    For instance, for people, and all of them with their variables:

        ioto-async alert list
        ioto-async alert list --all --output json

    Args:
        include_resolved: list the resolved ones as well.
        options: of the list.
    """
    async with options.client() as client:
        await options.print(
            Alert,
            client.alert.find(limit=options.page),
            (*_SHOWN, "resolved") if include_resolved else _SHOWN,
            "no alerts" if include_resolved else "no alerts: --all lists the resolved ones as well",
            only=lambda found: include_resolved or not found.resolved,
        )


async def acknowledge(id: str, /, *more: str, options: CloudOptions = _CLOUD) -> None:
    """Acknowledge alerts: mark them as resolved.

    For instance:

        ioto-async alert ack 01HZX3C8Q0V5T6W7Y8Z9A0B1C2

    Args:
        id: key of the alert.
        more: the same.
        options: of the cloud.
    """
    ids = (id, *more)
    check_encoding(ids)
    async with options.client() as client:
        await for_each(ids, lambda key: client.alert.update(key, resolved=True), "resolved {}".format)


alert = App(name="alert", help="List alerts, or mark them as resolved.")
alert.command(list_all, name="list")
alert.command(acknowledge, name="ack")
