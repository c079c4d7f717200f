"""What the cloud does with the messages of devices (reference, section 10).

A message to ``ioto/service/<id>/<controller>/<action>`` or, with the prefix of AWS's basic ingest, straight to the
cloud's rule is one call; with a sequence number behind it, one that is replied to. One that cannot be carried out is
logged and acknowledged all the same: AWS IoT Core acknowledges before anybody has read it.
"""

import logging
import sqlite3
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import attrs

from ...operations import MQTT, Operation
from .. import wire
from ..faults import Fault, Faults
from ..request import NO_ACCOUNT, Refused
from ..rest.handlers.generic import Account
from ..state.cloud import Cloud
from ..state.devices import Device, throttle
from ..state.models import Models
from ..state.samples import expand_dimensions
from ..state.schema import milliseconds
from .broker import Grant, Message

__all__ = ["CloudService"]

_LOG: Final = logging.getLogger(__name__)
_RULE: Final = "$aws/rules/IotoDevice/"
_NAMESPACE: Final = "Embedthis/Device"
_SYNC_VERBS: Final = ("create", "update", "upsert", "remove")
_PING: Final = "test/ping"


class _BadMessage(Exception):
    """A message that cannot be carried out."""


@attrs.frozen
class _Call:
    """One message of a claimed device."""

    cloud: Cloud
    device: Device
    models: Models
    account: Account
    body: Mapping[str, Any]
    seq: str | None

    @property
    def owner(self) -> dict[str, Any]:
        """The members that say whose an item is."""
        return {"accountId": self.device.account_id, "deviceId": self.device.id}

    def to_device(self, rest: str, payload: bytes) -> Message:
        """Return a message to the device itself."""
        return Message(self.device.id, f"ioto/device/{self.device.id}/{rest}", payload)

    def reply(self, operation: str, value: object) -> list[Message]:
        """Return the reply: a bare value, and nothing for None."""
        if self.seq is None:
            return []
        payload = b"" if value is None else value.encode() if isinstance(value, str) else wire.dumps(value)
        return [self.to_device(f"{operation}/{self.seq}", payload)]


Action: TypeAlias = Callable[[_Call], list[Message]]


class CloudService:
    """The `Service` of one cloud.

    Args:
        cloud: the state.
        faults: what is to go wrong.
        messages: where what was received is noted.
    """

    def __init__(self, cloud: Cloud, faults: Faults, messages: deque[Message]) -> None:
        self._cloud = cloud
        self._faults = faults
        self._messages = messages

    def admit(self, client_id: str, certificate: bytes) -> Grant | None:
        """Let a claimed device in that shows the certificate of its claim, to topics of its own and its account."""
        with self._cloud.lock:
            device = self._cloud.devices.load(client_id)
            if device is None or device.certificate is None:
                return None
            if ssl.PEM_cert_to_DER_cert(device.certificate) != certificate:
                return None
            self._cloud.devices.touch(client_id)
        service = f"ioto/service/{client_id}/"
        return Grant(
            publish=(service, _RULE + service),
            subscribe=(f"ioto/device/{client_id}/", "ioto/account/all/", f"ioto/account/{device.account_id}/"),
        )

    def fault(self, topic: str | None) -> Fault | None:
        """Return what is to go wrong with a message to *topic*, or for None with a CONNECT."""
        return self._faults.take("mqtt/connect" if topic is None else f"mqtt/{_parts(topic)[0]}")

    def receive(self, messages: Sequence[Message]) -> list[Message]:
        """Carry out *messages* in one transaction and return the replies."""
        self._messages.extend(messages)
        replies: list[Message] = []
        with self._cloud.lock, self._cloud.transaction():
            calls: dict[str, _Call | None] = {}
            for message in messages:
                if message.client_id not in calls:
                    calls[message.client_id] = self._call_of(message.client_id)
                try:
                    replies += _carry_out(calls[message.client_id], message)
                except (_BadMessage, Refused, ValueError) as error:
                    _LOG.warning("%s: %r is not carried out: %s", message.client_id, message.topic, error)
                except sqlite3.Error:
                    raise
                except Exception:  # noqa: BLE001 - if it were not acknowledged, it would come again and again
                    _LOG.exception("%s: %r failed", message.client_id, message.topic)
        return replies

    def throttle(self, client_id: str, *, close: bool) -> Message:
        """Return the message that tells a device to slow down, or with *close* to go."""
        return Message(client_id, *throttle(client_id, close=close))

    def _call_of(self, device_id: str) -> _Call | None:
        """Return the call that a device makes, still without a body; None if it is not claimed any more."""
        device = self._cloud.devices.load(device_id)
        if device is None:
            return None
        self._cloud.devices.touch(device_id)
        account = Account(self._cloud, device.account_id or NO_ACCOUNT)
        return _Call(self._cloud, device, self._cloud.models.synced(), account, {}, None)


def _parts(topic: str) -> tuple[str, str | None]:
    """Return the operation in a topic, and the sequence number if there is one."""
    # ioto/service/<id>/<controller>/<action>[/<seq>]
    levels = topic.removeprefix(_RULE).split("/", 5)
    return "/".join(levels[3:5]), levels[5] if len(levels) > 5 else None


def _carry_out(call: _Call | None, message: Message) -> list[Message]:
    operation, seq = _parts(message.topic)
    if call is None:
        raise _BadMessage("the device is not claimed")
    action = _ACTIONS.get(operation)
    if action is None:
        raise _BadMessage("no such operation")
    # Where nothing is to be said, what is in the payload is nobody's business.
    body = {} if operation == _PING else wire.loads(message.payload)
    if operation in MQTT:
        _check(MQTT[operation], body)
    return action(attrs.evolve(call, body=body, seq=seq))


_IS: Final[Mapping[str, type | tuple[type, ...]]] = MappingProxyType(
    {"string": str, "number": (int, float), "object": dict, "array": list, "any": object}
)
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "metric/get": ("metric",),
        "metric/set": ("metric", "value"),
        "store/get": ("key",),
        "store/set": ("key", "value"),
    }
)


def _check(operation: Operation, body: Mapping[str, Any]) -> None:
    for field in operation.body:
        value = body.get(field.name)
        if value is None:
            # The table calls none required, as the documents do; without these there is nothing to do.
            if field.name in _NEEDED[operation.name]:
                raise _BadMessage(f"Missing {field.name}")
        elif not isinstance(value, _IS[field.type]) or (field.type == "number" and isinstance(value, bool)):
            raise _BadMessage(f"{field.name} must be of type {field.type}")


def _set_metric(call: _Call) -> list[Message]:
    body = call.body
    dimensions = body.get("dimensions") or [{}]
    if not all(isinstance(each, dict) for each in dimensions):
        raise _BadMessage("dimensions must be a list of objects")
    call.account.emit(
        _NAMESPACE,
        body["metric"],
        body["value"],
        [expand_dimensions(each, call.device.id) for each in dimensions],
        timestamp=call.cloud.now(),
        buffer=body.get("buffer"),
    )
    return []


def _get_metric(call: _Call) -> list[Message]:
    """Reply the value over the whole period, as the agent reads one number."""
    body = call.body
    found = call.cloud.metrics.engine(call.account.account_id).query(
        _NAMESPACE,
        body["metric"],
        expand_dimensions(body.get("dimensions") or {}, call.device.id),
        body.get("period") or 300,
        body.get("statistic") or "avg",
        accumulate=True,
        timestamp=call.cloud.now(),
    )
    return call.reply("metric/get", found["points"][0].get("value") if found["points"] else None)


def _set_store(call: _Call) -> list[Message]:
    body = call.body
    value = body["value"]
    # The agent sends a boolean as a number.
    if body.get("type") == "boolean" and isinstance(value, int | float):
        value = bool(value)
    members = {name: body.get(name) for name in ("key", "type", "expires") if body.get(name) is not None}
    members |= {"value": value, **call.owner}
    call.account.measure("Store", members, call.models.update("Store", members, None))
    return []


def _get_store(call: _Call) -> list[Message]:
    item = call.models.get("Store", {"key": call.body["key"], **call.owner})
    return call.reply("store/get", item.get("value") if item else None)


def _ping(call: _Call) -> list[Message]:
    return call.reply(_PING, "pinged")


def _sync_up(call: _Call) -> list[Message]:
    """Store what changed on the device, and acknowledge it change by change."""
    seq, changes = call.body.get("seq"), call.body.get("changes")
    if not isinstance(changes, list):
        raise _BadMessage("changes must be of type array")
    keys: list[str] = []
    replies: list[Message] = []
    for change in changes:
        try:
            replies += _apply(call, change)
            keys.append(change["key"])
        except (_BadMessage, Refused, ValueError) as error:
            # The device sends it again, as it does with all that is not acknowledged.
            _LOG.warning("%s: a change is not applied: %s", call.device.id, error)
    updated = wire.iso(call.cloud.now())
    ack = wire.dumps({"seq": seq, "keys": keys, "updated": updated})
    return [*replies, call.to_device("sync/SYNC", ack)]


def _apply(call: _Call, change: object) -> list[Message]:
    if not isinstance(change, dict) or not isinstance(change.get("key"), str):
        raise _BadMessage("a change needs a key")
    verb, key, item = change.get("cmd"), change["key"], change.get("item", {})
    if verb not in _SYNC_VERBS or not isinstance(item, dict):
        raise _BadMessage(f"the change of {key!r} has no known cmd, or an item that is no object")
    named = call.models.by_sort_key(key)
    if named is None or item.get("_type", named[0]) != named[0]:
        raise _BadMessage(f"the key {key!r} fits no model, or another than its item")
    model, parts = named
    if call.cloud.schema_of(model).get("sync") not in ("up", "both"):
        raise _BadMessage(f"a {model} does not come from devices")
    key_members = {**parts, **call.owner}
    members = {**item, **key_members}
    if model == "Device" and members.get("id") != call.device.id:
        raise _BadMessage("a device may write its own Device alone")
    updated = _date(item)
    present = call.models.get(model, members)
    if present is not None and updated is not None and present["updated"] > updated:
        # What devices do with what is older than theirs: it is dropped, and the newer one sent back.
        newer = call.models.since(model, key_members, updated)
        return [call.to_device("sync/UPSERT", wire.dumps(each)) for each in newer]
    if verb == "remove":
        call.models.remove(model, members)
    else:
        record = call.models.update(model, members, None, updated=updated)
        call.account.measure(model, members, record)
    return []


def _date(item: Mapping[str, Any]) -> str | None:
    return wire.iso(milliseconds(item["updated"])) if isinstance(item.get("updated"), str) else None


def _sync_down(call: _Call) -> list[Message]:
    """Send what changed in the cloud since a time, and then say so."""
    timestamp = call.body.get("timestamp")
    if not isinstance(timestamp, str):
        raise _BadMessage("timestamp must be of type string")
    since = wire.iso(milliseconds(timestamp))
    updated = wire.iso(call.cloud.now())
    items: list[dict[str, Any]] = []
    for model, process in call.cloud.models.schema["process"].items():
        if process.get("sync") in ("down", "both"):
            items += call.models.since(model, call.owner, since)
    replies = [call.to_device("sync/UPSERT", wire.dumps(each)) for each in items]
    return [*replies, call.to_device("sync/SYNCDOWN", wire.dumps({"updated": updated}))]


_ACTIONS: Final[Mapping[str, Action]] = MappingProxyType(
    {
        "metric/set": _set_metric,
        "metric/get": _get_metric,
        "store/set": _set_store,
        "store/get": _get_store,
        _PING: _ping,
        "db/syncToDynamo": _sync_up,
        "db/syncDown": _sync_down,
    }
)
