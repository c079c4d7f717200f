"""The cloud, the account and the devices that a call acts on."""

from typing import Any

from ..request import CANNOT_FIND_ACCOUNT, CANNOT_FIND_DEVICE, Call, Refused
from ..state.cloud import Cloud
from ..state.devices import Device

__all__ = ["account_of", "check_cloud", "identified", "named_account", "own_device", "scope"]


def check_cloud(cloud: Cloud, call: Call) -> None:
    """Refuse a call that names another cloud."""
    if call.body.get("cloudId") not in (None, cloud.id):
        raise Refused("Cannot find cloud")


def account_of(call: Call) -> str | None:
    """Return the account whose devices the call may see; None for all, which a CloudAPI token may."""
    if call.caller.account_id is not None:
        return call.caller.account_id
    account_id: str | None = call.body.get("accountId")
    return account_id


def named_account(cloud: Cloud, call: Call) -> str | None:
    """Return the account that the caller acts for; None if a CloudAPI token names none.

    Raises:
        Refused: there is no such account.
    """
    account_id = account_of(call)
    if account_id and not cloud.has_account(account_id):
        raise Refused(CANNOT_FIND_ACCOUNT)
    return account_id or None


def own_device(cloud: Cloud, call: Call, id: str) -> Device:
    """Return the claimed device *id*.

    Raises:
        Refused: 400 if the caller may not see such a device; a device token sees its own device alone.
    """
    if call.caller.device_id not in (None, id):
        raise Refused(CANNOT_FIND_DEVICE)
    return cloud.devices.claimed(id, account_of(call))


def scope(cloud: Cloud, call: Call) -> dict[str, Any]:
    """Return the body's members with the account and the device that the caller acts for, where they are known.

    Raises:
        Refused: there is no such account, or the device is not claimed by it.
    """
    members = dict(call.body)
    account_id = named_account(cloud, call)
    if account_id is None and cloud.otherwise("A35"):
        account_id = cloud.account_id
    if account_id:
        members["accountId"] = account_id
    device_id = members.get("deviceId") or call.caller.device_id
    if device_id:
        members["deviceId"] = own_device(cloud, call, device_id).id
    return members


def identified(model: str, members: dict[str, Any]) -> dict[str, Any]:
    """Return *members* with the ``id`` of a Device, if they have a ``deviceId`` alone."""
    # A vendor's example gets a Device by `deviceId`; the key of the model calls it `id` (reference, section 8).
    if model == "Device" and "deviceId" in members:
        return {"id": members["deviceId"], **members}
    return members
