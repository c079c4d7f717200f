"""The ``test`` controller over MQTT."""

from ..broker import Message
from ..call import DeviceCall


def ping(call: DeviceCall) -> list[Message]:
    """Reply with a sign of life."""
    return call.reply("test/ping", "pinged")
