"""Checks of accounts, roles, files, automations, dashboards and apps."""

import hashlib
from typing import Final

from ..finding import Finding, Unclear, differs, holds
from ..probe import Probe, shape

__all__: list[str] = []

_CONTENT: Final = b"written by a check of ioto-async, and to be removed"
_NOBODY: Final = "00000000000000000000000000"


async def a21(probe: Probe) -> Finding:
    """Remove a dashboard that was made for it."""
    record, _ = await probe.dashboard()
    reply = await probe.write("dashboard/remove", {"id": record.get("id"), **probe.of_account})
    seen = f"{reply.status}: {reply.text or 'empty'}"
    return holds(seen) if reply.status == 200 and reply.value == {} else differs(seen)


async def a22(probe: Probe) -> Finding:
    """Remove an unknown dashboard."""
    reply = await probe.write("dashboard/remove", {"id": _NOBODY, **probe.of_account}, must=False)
    if reply.status in (401, 403):
        raise Unclear(f"the caller may not call it: dashboard/remove: {reply.status} {reply.text}")
    return holds(f"{reply.status}") if reply.is_ok else differs(f"{reply.status} {reply.text}")


async def a34(probe: Probe) -> Finding:
    """List devices without an account."""
    assert probe.token
    reply = await probe.ask("device/find", query={"limit": 1})
    if reply.status in (401, 403):
        raise Unclear(f"the caller may not call it: device/find: {reply.status} {reply.text}")
    return holds(f"{reply.status}") if reply.is_ok else differs(f"{reply.status} {reply.text}")


async def a35(probe: Probe) -> Finding:
    """List items without an account."""
    assert probe.token
    reply = await probe.ask("generic/find", {"_type": "Device"}, query={"limit": 1})
    return differs(str(reply)) if reply.is_ok else holds(f"{reply.status} {reply.text}")


async def a36(probe: Probe) -> Finding:
    """Look for a dashboard in the list of an unknown account."""
    assert probe.token
    record, _ = await probe.dashboard()
    own = await probe.get("dashboard/find", probe.of_account)
    theirs = await probe.ask("dashboard/find", {"accountId": _NOBODY})
    found = [any(isinstance(each, dict) and each.get("id") == record.get("id") for each in page.records)
             for page in (own, theirs)]  # fmt: skip
    seen = f"listed for its account: {found[0]}, for another: {found[1]} ({theirs.status})"
    if not found[0]:
        raise Unclear(seen)
    return differs(seen) if found[1] else holds(seen)


async def a37(probe: Probe) -> Finding:
    """Get no account in particular."""
    assert probe.token
    reply = await probe.ask("account/get")
    return differs(str(reply)) if reply.is_ok and reply.record else holds(f"{reply.status} {reply.text}")


async def a38(probe: Probe) -> Finding:
    """Call operations that need a capability, and change nothing."""
    assert probe.token
    calls = {"view": ("file/list", probe.of_account), "admin": ("account/find", {}), "user": ("alert/find", {})}
    refused = []
    for role, (operation, body) in calls.items():
        reply = await probe.ask(operation, body)
        if reply.status in (401, 403):
            refused.append(f"{role}: {operation}: {reply.status} {reply.text}")
    return differs("; ".join(refused)) if refused else holds(f"not refused for {', '.join(calls)}")


async def a39(probe: Probe) -> Finding:
    """Look at the roles."""
    reply = await probe.get("user/getRoles")
    roles = reply.record
    is_known = bool(roles) and all(
        isinstance(each, list) and all(isinstance(name, str) for name in each) for each in roles.values()
    )
    return holds(str(reply)) if is_known else differs(str(reply))


async def a52(probe: Probe) -> Finding:
    """List files, with one that was written for it."""
    _, name = await probe.file(_CONTENT)
    reply = await probe.get("file/list", probe.of_account)
    names = [each.get("filename") for each in reply.records if isinstance(each, dict)]
    if name in names:
        return holds(str(reply))
    if reply.records and isinstance(reply.value, dict) and reply.value.get("next") and names:
        raise Unclear(f"the file is not on the first page: {reply}")
    return differs(str(reply))


async def a53(probe: Probe) -> Finding:
    """Write a file."""
    reply, name = await probe.file(_CONTENT)
    return holds(str(reply)) if reply.record.get("filename") == name else differs(str(reply))


async def a54(probe: Probe) -> Finding:
    """Read a file that was written for it."""
    _, name = await probe.file(_CONTENT)
    reply = await probe.get("file/get", {"filename": name, **probe.of_account})
    is_record = reply.record.get("filename") == name and isinstance(reply.record.get("data"), str)
    return holds(str(reply)) if is_record else differs(f"{reply.type}: {shape(reply.value)}")


async def a55(probe: Probe) -> Finding:
    """Compare the checksum of a file that was written for it."""
    reply, name = await probe.file(_CONTENT)
    checksum = reply.record.get("checksum")
    if checksum is None:
        checksum = (await probe.get("file/get", {"filename": name, **probe.of_account})).record.get("checksum")
    if not isinstance(checksum, str):
        raise Unclear("no reply shows a checksum")
    if checksum == hashlib.sha256(_CONTENT).hexdigest():
        return holds("SHA-256")
    return differs(f"{len(checksum)} characters, not the SHA-256")


async def a83(probe: Probe) -> Finding:
    """Run an unknown automation."""
    reply = await probe.write("action/invoke", {"name": probe.name(), "context": {}}, must=False)
    if reply.status in (401, 403):
        raise Unclear(f"the caller may not call it: action/invoke: {reply.status} {reply.text}")
    return differs(f"{reply.status} {reply.text}") if reply.is_ok else holds(f"{reply.status} {reply.text}")


async def a84(probe: Probe) -> Finding:
    """Run an unknown automation, by the older name."""
    unknown = await probe.ask("conformance/nothing")
    reply = await probe.write("trigger/invoke", {"name": probe.name(), "context": {}}, must=False)
    seen = f"{reply.status} {reply.text}; of an unknown operation: {unknown.status} {unknown.text}"
    return holds(seen) if (reply.status, reply.text) == (unknown.status, unknown.text) else differs(seen)


async def a86(probe: Probe) -> Finding:
    """List dashboards."""
    reply = await probe.get("dashboard/find", probe.of_account)
    value = reply.value
    is_page = isinstance(value, list) or (isinstance(value, dict) and isinstance(value.get("data"), list))
    return holds(str(reply)) if is_page else differs(str(reply))


async def a87(probe: Probe) -> Finding:
    """Get no app in particular."""
    reply = await probe.ask("manager/get")
    if reply.status in (401, 403):
        raise Unclear(f"the caller may not call it: manager/get: {reply.status} {reply.text}")
    return holds(str(reply)) if reply.is_ok and reply.record.get("id") else differs(str(reply))
