"""``ioto-async device``: the claimed devices of an account."""

from typing import Final

from cyclopts import App

from ..errors import NotFoundError
from ..models import Device
from .records import ListOptions, RecordOptions

__all__ = ["device", "get", "list_all"]

_LIST: Final = ListOptions()
_RECORD: Final = RecordOptions()
_SHOWN: Final = ("id", "product", "version", "accessed", "test")


async def list_all(*, product_id: str | None = None, options: ListOptions = _LIST) -> None:
    """List the claimed devices of an account.

    For instance, the first 20, and the IDs of all:

        ioto-async device list --limit 20
        ioto-async device list --output jsonl | jq -r .id

    Args:
        product_id: only devices of the product with this key.
        options: of the list.
    """
    async with options.client() as client:
        found = client.device.find(product_id=product_id, limit=options.page)
        await options.print(Device, found, _SHOWN, "no devices: ioto-async fleet claim FILE claims some")


async def get(id: str, /, *, options: RecordOptions = _RECORD) -> None:
    """Show a claimed device.

    For instance, for people, and its version alone:

        ioto-async device get M72DANY8BZ
        ioto-async device get M72DANY8BZ --output json | jq -r .version

    Args:
        id: claim ID of the device.
        options: of the record.
    """
    async with options.client() as client:
        try:
            options.print(await client.device.get(id))
        except NotFoundError as error:
            error.add_note("ioto-async device list shows those of the account")
            raise


device = App(name="device", help="List the claimed devices of an account, or show one.")
device.command(list_all, name="list")
device.command(get)
