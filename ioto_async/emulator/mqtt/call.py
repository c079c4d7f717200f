"""What a handler of a device's message is given, and how it refuses."""

from collections.abc import Mapping
from typing import Any

import attrs

from .. import wire
from ..state.account_writer import AccountWriter
from ..state.cloud import Cloud
from ..state.devices import Device
from ..state.models import Models
from .broker import Message

__all__ = ["BadMessage", "DeviceCall", "presence"]


def presence(online: bool) -> str:
    """Return the value of the member ``connection`` of the model Device."""
    return "online" if online else "offline"


class BadMessage(Exception):
    """A message that cannot be carried out."""


@attrs.define
class DeviceCall:
    """One message of a claimed device; it is not changed.

    Attributes:
        online: whether the device is still connected.
    """

    # Not frozen, which would take three times as long to make.

    cloud: Cloud
    device: Device
    models: Models
    account: AccountWriter
    online: bool
    body: Mapping[str, Any]
    seq: str | None

    @property
    def owner(self) -> dict[str, Any]:
        """The members that say whose an item is."""
        return {"accountId": self.device.account_id, "deviceId": self.device.id}

    def required(self, name: str) -> Any:
        """Return a member of the body.

        Raises:
            BadMessage: it is missing. The table requires no members, as the documents do not.
        """
        value = self.body.get(name)
        if value is None:
            raise BadMessage(f"Missing {name}")
        return value

    def to_device(self, rest: str, payload: bytes) -> Message:
        """Return a message to the device itself."""
        return Message(self.device.id, f"ioto/device/{self.device.id}/{rest}", payload)

    def reply(self, operation: str, value: object) -> list[Message]:
        """Return the reply: a bare value, and nothing for None."""
        if self.seq is None:
            return []
        payload = b"" if value is None else value.encode() if isinstance(value, str) else wire.dumps(value)
        return [self.to_device(f"{operation}/{self.seq}", payload)]
