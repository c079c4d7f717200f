"""``ioto-async store``: the key-value store of a device."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Final

from cyclopts import App

from ..errors import InvalidArgumentError, NotFoundError
from ..models import StoreItem
from .asking import YesFlag, is_confirmed
from .listing import text_of
from .members import check_encoding, split_member, value_of, without_duplicates
from .options import RecordFormat
from .records import CloudOptions, ListOptions, RecordOptions, for_each

__all__ = ["get", "list_all", "remove", "set_all", "store"]

_CLOUD: Final = CloudOptions()
_LIST: Final = ListOptions()
_SHOWN: Final = ("key", "value", "type", "updated", "expires")


async def get(device: str, key: str, /, *, output: RecordFormat | None = None, options: CloudOptions = _CLOUD) -> None:
    """Print the value of a key: text as it is, all else as JSON.

    For instance, the value alone, and with its dates:

        ioto-async store get M72DANY8BZ speed
        ioto-async store get M72DANY8BZ speed --output json

    Args:
        device: claim ID of the device.
        key: the key.
        output: print the whole item, in this format.
        options: of the cloud.
    """
    async with options.client() as client:
        try:
            item = await client.store.get(device, key)
        except NotFoundError as error:
            error.add_note(f"ioto-async store list {device} shows its keys")
            raise
    if output is None:
        sys.stdout.write(text_of(item.value) + "\n")
    else:
        RecordOptions(output=output).print(item)


async def set_all(device: str, item: str, /, *more: str, options: CloudOptions = _CLOUD) -> None:
    """Set keys, whether they are new or not.

    For instance, a text, a number and an object:

        ioto-async store set M72DANY8BZ mode=eco speed:=3 'range:={"low": 1, "high": 5}'

    Args:
        device: claim ID of the device.
        item: what is set, as key=text or key:=json.
        more: the same.
        options: of the cloud.
    """
    check_encoding((device, item, *more))
    values = without_duplicates("", map(_item, (item, *more)))
    async with options.client() as client:
        await for_each(
            values, lambda key: client.store.set(device, key, values[key]), lambda key: f"set {key} of {device}"
        )


def _item(text: str) -> tuple[str, object]:
    name, sign, text = split_member(text)
    value = value_of(name, sign, text)
    if value is None:
        raise InvalidArgumentError(f"{name}: null is not stored: ioto-async store rm removes a key")
    return name, value


async def list_all(device: str, /, *, options: ListOptions = _LIST) -> None:
    """List the keys of a device with their values.

    For instance, for people, and for a spreadsheet:

        ioto-async store list M72DANY8BZ
        ioto-async store list M72DANY8BZ --output csv > store.csv

    Args:
        device: claim ID of the device.
        options: of the list.
    """
    async with options.client() as client:
        found = client.store.find(device, limit=options.page)
        await options.print(StoreItem, found, _SHOWN, f"{device} has no keys: ioto-async store set {device} key=text")


def remove(device: str, key: str, /, *more: str, yes: YesFlag = False, options: CloudOptions = _CLOUD) -> int:
    """Remove keys; one that is not there is no error.

    On a terminal it asks first; elsewhere it needs --yes. For instance:

        ioto-async store rm M72DANY8BZ speed mode --yes

    Args:
        device: claim ID of the device.
        key: what is removed.
        more: the same.
        yes: do not ask.
        options: of the cloud.
    """
    keys = (key, *more)
    check_encoding((device, *keys))
    if not is_confirmed(f"Remove {', '.join(keys)} of {device}?", yes=yes):
        return 1
    asyncio.run(_remove(device, keys, options))
    return 0


async def _remove(device: str, keys: Sequence[str], options: CloudOptions) -> None:
    async with options.client() as client:
        await for_each(keys, lambda key: client.store.remove(device, key), lambda key: f"removed {key} of {device}")


store = App(name="store", help="Get, set, list or remove the values that a device keeps by key.")
store.command(get)
store.command(set_all, name="set")
store.command(list_all, name="list")
store.command(remove, name="rm")
