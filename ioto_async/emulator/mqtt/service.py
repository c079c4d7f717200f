"""Carries out the messages that devices publish (reference, section 10).

A message to ``ioto/service/<id>/<controller>/<action>`` or, with the prefix of AWS's basic ingest, straight to the
cloud's rule is one call; with a sequence number behind it, one that is replied to. One that cannot be carried out is
logged and acknowledged all the same: AWS IoT Core acknowledges before a rule has run.
"""

import logging
import sqlite3
import ssl
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from ...operations import MQTT, Operation
from .. import wire
from ..dispatch import find_handlers
from ..faults import Fault, Faults, Injected
from ..recent import Dated
from ..request import NO_ACCOUNT, Refused
from ..state.account_writer import AccountWriter
from ..state.cloud import Cloud
from ..state.publisher import throttle
from . import handlers
from .broker import Grant, Message
from .call import BadMessage, DeviceCall, presence

__all__ = ["CloudService", "operation_of"]

_LOG: Final = logging.getLogger(__name__)
_RULE: Final = "$aws/rules/IotoDevice/"
_PING: Final = "test/ping"
# What the device agent sends beyond the operations of the table.
_AGENT_MESSAGES: Final = (_PING, "db/syncDown", "db/syncToDynamo")
_HANDLERS: Final[Mapping[str, Callable[[DeviceCall], list[Message]]]] = find_handlers(
    handlers, (*MQTT, *_AGENT_MESSAGES)
)


class CloudService:
    """The `Service` of one cloud.

    Args:
        cloud: the state.
        faults: the faults to inject.
        messages: where received messages are recorded.
    """

    def __init__(self, cloud: Cloud, faults: Faults, messages: Dated[Message]) -> None:
        self._cloud = cloud
        self._faults = faults
        self._messages = messages
        # By the ID of each connected device; it may be released before its connection ends.
        self._accounts: dict[str, str | None] = {}

    def authorize(self, client_id: str, certificate: bytes) -> Grant | None:
        """Grant a claimed device that shows the certificate of its claim its own topics and those of its account."""
        with self._cloud.lock:
            device = self._cloud.devices.load(client_id)
            if device is None or device.certificate is None or self._cloud.authority.has_ended():
                return None
            if ssl.PEM_cert_to_DER_cert(device.certificate) != certificate:
                return None
            self._cloud.devices.touch(client_id)
        service = f"ioto/service/{client_id}/"
        return Grant(
            publish=(service, _RULE + service),
            subscribe=(
                *(service, f"ioto/device/{client_id}/"),
                *("ioto/account/all/", f"ioto/account/{device.account_id}/"),
            ),
        )

    def fault(self, topic: str | None) -> Fault | None:
        """Return the fault for a message to *topic*, or for None that for a CONNECT."""
        if not self._faults:
            return None
        operation = "mqtt/connect" if topic is None else operation_of(topic)
        fault = self._faults.take(operation)
        if fault is not None:
            client_id = None if topic is None else _levels(topic)[2]
            self._faults.injected.record([Injected(operation, client_id, fault)], self._cloud.clock())
        return fault

    def receive(self, messages: Sequence[Message], retained: Sequence[tuple[Message, int]] = ()) -> list[Message]:
        """Carry out *messages* in one transaction, keep those that are *retained*, and return the replies."""
        self._messages.record(messages, self._cloud.clock())
        replies: list[Message] = []
        with self._cloud.lock, self._cloud.transaction(), self._cloud.metrics.gathered():
            calls: dict[str, DeviceCall | None] = {}
            for message in messages:
                if message.client_id not in calls:
                    calls[message.client_id] = self._call_of(message.client_id)
                try:
                    replies += _carry_out(calls[message.client_id], message)
                except (BadMessage, Refused, ValueError) as error:
                    _LOG.warning("%s: %r is not carried out: %s", message.client_id, message.topic, error)
                except sqlite3.Error:
                    raise
                except Exception:  # noqa: BLE001 - if it were not acknowledged, it would come again and again
                    _LOG.exception("%s: %r failed", message.client_id, message.topic)
            for message, qos in retained:
                if calls[message.client_id] is not None:
                    self._cloud.retained.keep(message.topic, message.payload, qos)
        return replies

    def retained(self, topic: str) -> tuple[bytes, int] | None:
        """Return the payload and the QoS of what was retained for *topic*, if anything was."""
        with self._cloud.lock:
            return self._cloud.retained.load(topic)

    def note_presence(self, client_id: str, online: bool) -> None:
        """Write to the item ``Device`` of a device whether it is connected, and note the contact."""
        try:
            with self._cloud.lock, self._cloud.transaction():
                self._write_presence(client_id, online)
        except Exception:  # noqa: BLE001 - a connection is not to end for it
            _LOG.exception("%s: its presence cannot be stored", client_id)

    def _write_presence(self, client_id: str, online: bool) -> None:
        device = self._cloud.devices.load(client_id)
        if online:
            if device is None:
                return
            self._accounts[client_id] = device.account_id
        account_id = self._accounts[client_id] if online else self._accounts.pop(client_id, None)
        if device is not None:
            self._cloud.devices.touch(client_id)
        models = self._cloud.models.for_devices()
        key = {"accountId": account_id, "id": client_id}
        present = None if account_id is None else models.get("Device", key)
        if account_id is None or (present is None and not online):
            return
        # The date stays the device's own, so that nothing that it writes is taken for older than this.
        updated = wire.iso(0) if present is None else present["updated"]
        models.update("Device", {**key, "connection": presence(online)}, None, updated=updated)

    def forget_presence(self) -> None:
        """Note that no device is connected, as after the start."""
        with self._cloud.lock, self._cloud.transaction():
            models = self._cloud.models.for_devices()
            for item in models.all("Device"):
                if item.get("connection") == presence(True):
                    key = {"accountId": item["accountId"], "id": item["id"]}
                    models.update("Device", {**key, "connection": presence(False)}, updated=item["updated"])

    def throttle(self, client_id: str, *, close: bool) -> Message:
        """Return the message that tells a device to slow down, or with *close* to disconnect."""
        return Message(client_id, *throttle(client_id, close=close))

    def _call_of(self, device_id: str) -> DeviceCall | None:
        """Return the call that a device makes, still without a body; None if it is not claimed any more."""
        device = self._cloud.devices.load(device_id)
        if device is None:
            return None
        self._cloud.devices.touch(device_id)
        account = AccountWriter(self._cloud, device.account_id or NO_ACCOUNT)
        online = device_id in self._accounts
        return DeviceCall(self._cloud, device, self._cloud.models.for_devices(), account, online, {}, None)


def operation_of(topic: str) -> str:
    """Return the name by which a fault selects a message to *topic*, such as ``mqtt/metric/set``."""
    return f"mqtt/{_parts(topic)[0]}"


def _parts(topic: str) -> tuple[str, str | None]:
    """Return the operation in a topic, and the sequence number if there is one."""
    levels = _levels(topic)
    return "/".join(levels[3:5]), levels[5] if len(levels) > 5 else None


def _levels(topic: str) -> list[str]:
    # ioto/service/<id>/<controller>/<action>[/<seq>]
    return topic.removeprefix(_RULE).split("/", 5)


def _carry_out(call: DeviceCall | None, message: Message) -> list[Message]:
    operation, seq = _parts(message.topic)
    if call is None:
        raise BadMessage("the device is not claimed")
    handler = _HANDLERS.get(operation)
    if handler is None:
        raise BadMessage("no such operation")
    # A ping has no members; its payload is not read.
    body = {} if operation == _PING else wire.loads(message.payload)
    if operation in MQTT:
        _check(MQTT[operation], body)
    return handler(DeviceCall(call.cloud, call.device, call.models, call.account, call.online, body, seq))


_IS: Final[Mapping[str, type | tuple[type, ...]]] = MappingProxyType(
    {"string": str, "number": (int, float), "object": dict, "array": list, "any": object}
)


def _check(operation: Operation, body: Mapping[str, Any]) -> None:
    for field in operation.body:
        value = body.get(field.name)
        fits = isinstance(value, _IS[field.type]) and not (field.type == "number" and isinstance(value, bool))
        if value is not None and not fits:
            raise BadMessage(f"{field.name} must be of type {field.type}")
