"""Checks of what replies look like: A18 to A31."""

import re
import secrets
from datetime import UTC, datetime
from typing import Any, Final

from ..finding import Finding, Unclear, differs, holds
from ..probe import Probe, Reply, shape

__all__ = ["seconds_of"]

_DATES: Final = ("created", "updated", "accessed", "activity", "timestamp")
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_DEFAULT: Final = 100
_MILLISECONDS: Final = 1e11
"""Epoch numbers from here on are milliseconds."""


async def _devices(probe: Probe, **query: object) -> Reply:
    return await probe.get("device/find", probe.of_account, query=query)


async def _first(probe: Probe) -> Reply:
    """The first of several pages."""
    reply = await _devices(probe, limit=1)
    if not isinstance(reply.value, dict):
        raise Unclear(f"a list has no cursors: {reply}")
    if not reply.value.get("next"):
        raise Unclear("the account has no two devices, so that there is no second page")
    return reply


async def a18(probe: Probe) -> Finding:
    """Look at a list."""
    reply = await _devices(probe, limit=1)
    is_envelope = isinstance(reply.value, dict) and isinstance(reply.value.get("data"), list)
    return holds(str(reply)) if is_envelope else differs(str(reply))


async def a19(probe: Probe) -> Finding:
    """Look at a record."""
    reply = await probe.get("account/get", {"id": probe.account_id})
    value = reply.value
    if isinstance(value, dict) and isinstance(value.get("id"), str):
        return holds(str(reply))
    return differs(str(reply))


async def a20(probe: Probe) -> Finding:
    """Get an unknown item."""
    body = {"_type": "Device", "accountId": probe.account_id, "id": secrets.token_hex(5).upper()}
    reply = await probe.ask("generic/get", body)
    if reply.status in (401, 403):
        raise Unclear(f"the caller may not call it: {reply.status} {reply.text}")
    is_empty = reply.status == 200 and reply.record == {} and reply.body.strip() not in (b"", b"null")
    return holds(str(reply)) if is_empty else differs(str(reply))


async def a23(probe: Probe) -> Finding:
    """Ask for a sign of life."""
    reply = await probe.get("test/ping")
    seen = f"{reply.type}: {reply.body[:40].decode('utf-8', 'replace')!r}"
    return holds(seen) if reply.body == b"pinged\n" else differs(seen)


async def a24(probe: Probe) -> Finding:
    """Ask for a signed URL, which is not used."""
    body = {"command": "get", "filename": f"{probe.name()}.txt", **probe.of_account}
    reply = await probe.get("file/getSignedUrl", body)
    seen = f"{reply.type}: {shape(reply.value)}"
    is_string = isinstance(reply.value, str) and reply.body.strip().startswith(b'"')
    return holds(seen) if is_string else differs(seen)


async def a25(probe: Probe) -> Finding:
    """Ask for a page without a limit."""
    reply = await _devices(probe)
    count, more = len(reply.records), isinstance(reply.value, dict) and bool(reply.value.get("next"))
    seen = f"{count} devices, and {'more' if more else 'no more'}"
    if more:
        return holds(seen) if count == _DEFAULT else differs(seen)
    if count > _DEFAULT:
        return differs(seen)
    if count < 2:
        raise Unclear(f"the account has too few devices: {seen}")
    return holds(seen)


async def a26(probe: Probe) -> Finding:
    """Ask for pages of one record."""
    one, two = await _devices(probe, limit=1), await _devices(probe, limit=2)
    counts = len(one.records), len(two.records)
    seen = f"{counts[0]} and {counts[1]} devices for a limit of 1 and 2"
    if counts[0] > 1 or counts[1] > 2:
        return differs(seen)
    if counts == (1, 2):
        return holds(seen)
    raise Unclear(f"the account has no two devices: {seen}")


async def a27(probe: Probe) -> Finding:
    """Send a cursor back."""
    page = await _first(probe)
    cursor = page.value["next"]
    second = await probe.ask("device/find", probe.of_account, query={"limit": 1, "next": cursor})
    seen = f"next is {shape(cursor)}; sent back: {second.status}"
    if isinstance(cursor, str) and second.is_ok and second.records and second.records != page.records:
        return holds(seen)
    return differs(seen)


async def a28(probe: Probe) -> Finding:
    """Walk a page on and back."""
    page = await _first(probe)
    second = await _devices(probe, limit=1, next=page.value["next"])
    if page.value.get("prev"):
        return differs(f"a first page has prev: {shape(page.value)}")
    back = second.value.get("prev") if isinstance(second.value, dict) else None
    if not back:
        return differs(f"a second page has no prev: {shape(second.value)}")
    again = await probe.ask("device/find", probe.of_account, query={"limit": 1, "prev": back})
    if not again.is_ok or _ids(again) != _ids(page):
        return differs(f"prev leads elsewhere: {again.status}, {len(again.records)} devices")
    return holds("a first page has no prev, a second one has, and it leads back")


def _ids(reply: Reply) -> list[Any]:
    return [each.get("id") for each in reply.records if isinstance(each, dict)]


async def a29(probe: Probe) -> Finding:
    """Look at a page that is the last."""
    body = {**probe.of_account, "id": secrets.token_hex(5).upper()}
    reply = await probe.get("device/find", body, query={"limit": 1})
    if not isinstance(reply.value, dict):
        raise Unclear(f"a list has no cursors: {reply}")
    return differs(str(reply)) if "next" in reply.value else holds(str(reply))


async def a31(probe: Probe) -> Finding:
    """Look at the dates of the account and of a device."""
    account = await probe.get("account/get", {"id": probe.account_id})
    dates = _dates(account.record) or [
        date for each in (await _devices(probe, limit=1)).records for date in _dates(each)
    ]
    if not dates:
        raise Unclear("neither the account nor a device has a date")
    for date in dates:
        if not isinstance(date, str) or not _ISO.fullmatch(date):
            return differs(f"{shape(date)} {date!r}"[:80])
    age = abs((datetime.now(UTC) - datetime.fromisoformat(str(dates[0]))).days)
    return holds(f"{len(dates)} dates, one of them {age} days away")


def _dates(record: Any) -> list[Any]:
    return [record[name] for name in _DATES if record.get(name) is not None] if isinstance(record, dict) else []


def seconds_of(date: object) -> float | None:
    """The epoch seconds of a date: ISO text, or epoch milliseconds; None for anything else."""
    if isinstance(date, str) and _ISO.fullmatch(date):
        return datetime.fromisoformat(date).timestamp()
    return date / 1000 if isinstance(date, (int, float)) and date >= _MILLISECONDS else None
