"""The ``db`` controller over MQTT: a device and the cloud exchange what changed in the device database."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from ... import wire
from ...request import Refused
from ...state.schema import milliseconds
from ..broker import Message
from ..call import BadMessage, DeviceCall, presence

_LOG: Final = logging.getLogger(__name__)
_SYNC_VERBS: Final = ("create", "update", "upsert", "remove")


def sync_down(call: DeviceCall) -> list[Message]:
    """Send what changed in the cloud since a time, and then say so."""
    timestamp = call.body.get("timestamp")
    if not isinstance(timestamp, str):
        raise BadMessage("timestamp must be of type string")
    since = wire.iso(milliseconds(timestamp))
    updated = wire.iso(call.cloud.now())
    items: list[dict[str, Any]] = []
    for model, process in call.cloud.models.schema["process"].items():
        if process.get("sync") in ("down", "both"):
            items += call.models.since(model, call.owner, since)
    replies = [call.to_device("sync/UPSERT", wire.dumps(each)) for each in items]
    return [*replies, call.to_device("sync/SYNCDOWN", wire.dumps({"updated": updated}))]


def sync_to_dynamo(call: DeviceCall) -> list[Message]:
    """Store what changed on the device, and acknowledge it change by change."""
    seq, changes = call.body.get("seq"), call.body.get("changes")
    if not isinstance(changes, list):
        raise BadMessage("changes must be of type array")
    keys: list[str] = []
    replies: list[Message] = []
    for change in changes:
        try:
            replies += _apply(call, change)
            keys.append(change["key"])
        except (BadMessage, Refused, ValueError) as error:
            # The device sends it again, as it does with all that is not acknowledged.
            _LOG.warning("%s: a change is not applied: %s", call.device.id, error)
    updated = wire.iso(call.cloud.now())
    ack = wire.dumps({"seq": seq, "keys": keys, "updated": updated})
    return [*replies, call.to_device("sync/SYNC", ack)]


def _apply(call: DeviceCall, change: object) -> list[Message]:
    if not isinstance(change, dict) or not isinstance(change.get("key"), str):
        raise BadMessage("a change needs a key")
    verb, key, item = change.get("cmd"), change["key"], change.get("item", {})
    if verb not in _SYNC_VERBS or not isinstance(item, dict):
        raise BadMessage(f"the change of {key!r} has no known cmd, or an item that is no object")
    named = call.models.by_sort_key(key)
    if named is None or item.get("_type", named[0]) != named[0]:
        raise BadMessage(f"the key {key!r} fits no model, or another than its item")
    model, parts = named
    sync = call.cloud.models.process(model).get("sync")
    if sync == "down":
        # The agent sends what the cloud has given it up again after each provisioning, until that is acknowledged.
        _LOG.debug("%s: %r is the cloud's, a change by a device is dropped", call.device.id, key)
        return []
    if sync not in ("up", "both"):
        raise BadMessage(f"a {model} does not come from devices")
    key_members = {**parts, **call.owner}
    members = {**item, **key_members}
    if model == "Device":
        if members.get("id") != call.device.id:
            raise BadMessage("a device may write its own Device alone")
        # The agent writes "offline" when it is released, never "online", and sends that again with its next claim.
        members["connection"] = presence(call.online)
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
