"""``ioto-async device``: the claimed devices of an account."""

from typing import Final

from cyclopts import App

from ..errors import NotFoundError
from ..models import Device
from .members import check_encoding, split_member, value_of, without_duplicates
from .records import CloudOptions, ListOptions, RecordOptions, print_done

__all__ = ["device", "get", "list_all", "send_command"]

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


async def send_command(id: str, /, *members: str, automation: str = "DeviceCommand", api: str | None = None) -> None:
    """Send a command to a device, by an automation of the cloud.

    The automation decides what the device gets. Its variables are deviceId and the members, as in the vendor's script
    device-command.sh. What the device makes of the command is not reported. For instance:

        ioto-async device command M72DANY8BZ program=date parameters=-u

    Args:
        id: claim ID of the device.
        members: variables of the automation, as key=text or key:=json.
        automation: name of the automation.
        api: base URL of the device cloud; IOTO_API by default.
    """
    check_encoding((id, *members))
    context = without_duplicates("", [("deviceId", id), *(_variable(text) for text in members)])
    async with CloudOptions(api=api).client() as client:
        await client.action.invoke(automation, context=context)
    print_done(f"{automation} has run for {id}")


def _variable(text: str) -> tuple[str, object]:
    name, sign, value = split_member(text)
    return name, value_of(name, sign, value)


device = App(name="device", help="List the claimed devices of an account, show one, or send it a command.")
device.command(list_all, name="list")
device.command(get)
device.command(send_command, name="command")
