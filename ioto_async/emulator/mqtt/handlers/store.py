"""The ``store`` controller over MQTT (reference, section 10)."""

from ..broker import Message
from ..call import DeviceCall


def get(call: DeviceCall) -> list[Message]:
    """Reply with the value of a key."""
    item = call.models.get("Store", {"key": call.required("key"), **call.owner})
    return call.reply("store/get", item.get("value") if item else None)


def set(call: DeviceCall) -> list[Message]:
    """Set the value of a key, new or not."""
    body = call.body
    key, value = call.required("key"), call.required("value")
    # The agent sends a boolean as a number.
    if body.get("type") == "boolean" and isinstance(value, int | float):
        value = bool(value)
    members = {"expires": body["expires"]} if "expires" in body else {}  # null removes it
    if body.get("type") is not None:
        members["type"] = body["type"]
    members |= {"key": key, "value": value, **call.owner}
    call.account.measure("Store", members, call.models.update("Store", members, None))
    return []
