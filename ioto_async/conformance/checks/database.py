"""Checks of the device database, on Store and Log items of a device that the user has named."""

import time
from typing import Any

from ..finding import Finding, Unclear, differs, holds
from ..probe import Probe, Reply, shape
from .replies import seconds_of

__all__: list[str] = []

_CREATE, _UPDATE, _GET = "generic/create", "generic/update", "generic/get"
_VALUE = {"value": "conformance", "type": "string"}
_ANY = {"exists": ""}


async def _stored(probe: Probe, **members: object) -> tuple[dict[str, object], Reply]:
    """Write a new Store item, in the way that is most likely to be taken."""
    item = probe.item(**_VALUE, **members)
    reply = await probe.write(_CREATE, item)
    return item, reply


def _key(item: dict[str, object]) -> dict[str, object]:
    return {name: item[name] for name in ("_type", "accountId", "deviceId", "key") if name in item}


def _verdict(reply: Reply, *, is_to_be_taken: bool) -> Finding:
    if reply.status in (401, 403):
        raise Unclear(f"the caller may not do it: {reply.operation}: {reply.status} {reply.text}")
    seen = f"{reply.status}" if reply.is_ok else f"{reply.status} {reply.text}"
    return holds(seen) if reply.is_ok is is_to_be_taken else differs(seen)


async def a32(probe: Probe) -> Finding:
    """Write an item that expires in an hour."""
    wanted = int(time.time() * 1000) + 3_600_000
    _, reply = await _stored(probe, expires=wanted)
    expires = reply.record.get("expires")
    seconds = seconds_of(expires)
    if seconds is None:
        return differs(f"comes back as {shape(expires)}")
    late = seconds - wanted / 1000
    seen = f"comes back {late:.3f} s later than sent"
    return holds(seen) if 0 <= late <= 1 else differs(seen)


async def a33(probe: Probe) -> Finding:
    """Clear a member."""
    item, _ = await _stored(probe, expires=int(time.time() * 1000) + 3_600_000)
    await probe.write(_UPDATE, {**_key(item), "expires": None})
    record = (await probe.get(_GET, _key(item))).record
    return differs(shape(record)) if "expires" in record or None in record.values() else holds(shape(record))


async def a57(probe: Probe) -> Finding:
    """Update a new key, with exists and no value."""
    item = probe.item(**_VALUE)
    return _verdict(await probe.write(_UPDATE, item, query=_ANY, must=False), is_to_be_taken=True)


async def a58(probe: Probe) -> Finding:
    """Update a new key, with exists=null."""
    item = probe.item(**_VALUE)
    return _verdict(await probe.write(_UPDATE, item, query={"exists": "null"}, must=False), is_to_be_taken=True)


async def a59(probe: Probe) -> Finding:
    """Update a new key."""
    return _verdict(await probe.write(_UPDATE, probe.item(**_VALUE), must=False), is_to_be_taken=False)


async def a60(probe: Probe) -> Finding:
    """Create a key twice."""
    item, _ = await _stored(probe)
    return _verdict(await probe.write(_CREATE, item, must=False), is_to_be_taken=False)


async def a61(probe: Probe) -> Finding:
    """Get by the device alone, where it has two keys."""
    item, _ = await _stored(probe)
    await _stored(probe)
    part = _key(item)
    del part["key"]
    return _verdict(await probe.ask(_GET, part), is_to_be_taken=False)


async def a62(probe: Probe) -> Finding:
    """Set a date that the schema has as read-only."""
    item, _ = await _stored(probe)
    members = {**_key(item), "created": "2001-01-01T00:00:00.000Z"}
    return _verdict(await probe.write(_UPDATE, members, must=False), is_to_be_taken=False)


async def a63(probe: Probe) -> Finding:
    """Make an item in both ways, and look at its date."""
    _, created = await _stored(probe)
    updated = await probe.write(_UPDATE, probe.item(**_VALUE), query=_ANY, must=False)
    if not updated.is_ok:
        raise Unclear(f"exists without a value: {updated.status} {updated.text}")
    found = [each.record.get("created") is not None for each in (created, updated)]
    seen = f"after generic/create: {found[0]}, after generic/update: {found[1]}"
    return holds(seen) if found == [False, True] else differs(seen)


async def a64(probe: Probe) -> Finding:
    """Write a number where the schema has text."""
    return _verdict(await probe.write(_CREATE, probe.item(**{**_VALUE, "type": 5}), must=False), is_to_be_taken=False)


async def a65(probe: Probe) -> Finding:
    """Write a member that the schema does not have."""
    item, written = await _stored(probe, conformance="unknown")
    read = await probe.get(_GET, _key(item))
    found: list[Any] = [each for each in (written, read) if "conformance" in each.record]
    return differs(str(found[0])) if found else holds("dropped")
