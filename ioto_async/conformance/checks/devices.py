"""Checks of the life of a device that the user has named: A43 to A51."""

import hashlib
from typing import Any

from ..finding import Finding, Unclear, differs, holds
from ..probe import Probe, Reply, shape

__all__: list[str] = []


async def _record(probe: Probe) -> dict[str, Any]:
    return (await probe.get("device/get", {"id": probe.device, **probe.of_account})).record


async def _certificates(probe: Probe) -> dict[str, Any]:
    reply = await probe.write("device/provision", {"id": probe.device})
    if reply.record.get("error"):
        raise Unclear(f"the device is blocked: {reply.record['error']}")
    return reply.record


async def _check(probe: Probe, *, product: str | None = None) -> tuple[Reply, str]:
    """Check for an update as the device would; the cloud notes the version that it has, where that is known."""
    record = await _record(probe)
    version = record.get("version")
    if not isinstance(version, str):
        raise Unclear("the cloud does not know the version of the device, and a check would change that")
    known = str(record.get("productId") or "unknown")
    body = {"id": probe.device, "product": product or known, "version": version}
    return await probe.write("provision/update", body, must=False), version


async def a43(probe: Probe) -> Finding:
    """Claim the device once more."""
    await _record(probe)  # it is claimed, and the account's
    reply = await probe.write("device/claim", {"id": probe.device, **probe.of_account}, must=False)
    if reply.status in (401, 403):
        raise Unclear(f"the caller may not call it: device/claim: {reply.status} {reply.text}")
    return differs(str(reply)) if reply.is_ok else holds(f"{reply.status} {reply.text}")


async def a46(probe: Probe) -> Finding:
    """Ask for the certificate twice."""
    texts = [str((await _certificates(probe)).get("certificate")) for _ in range(2)]
    digests = {hashlib.sha256(text.encode()).digest() for text in texts}
    return holds("twice the same") if len(digests) == 1 else differs("two certificates")


async def a47(probe: Probe) -> Finding:
    """Look at where MQTT is."""
    found = await _certificates(probe)
    endpoint, port = found.get("endpoint"), found.get("port")
    is_host = isinstance(endpoint, str) and not set(":/") & set(endpoint)
    seen = f"endpoint {endpoint}, {'a host' if is_host else 'not a host alone'}; port {shape(port)}"
    return holds(seen) if is_host and type(port) is int else differs(seen)


async def a49(probe: Probe) -> Finding:
    """Check for an update."""
    reply, _ = await _check(probe)
    if not reply.is_ok:
        raise Unclear(f"provision/update: {reply.status} {reply.text}")
    if reply.record.get("url"):
        raise Unclear("there is an update for the device")
    return holds(str(reply)) if isinstance(reply.record.get("message"), str) else differs(str(reply))


async def a50(probe: Probe) -> Finding:
    """Check for an update of another product."""
    usual, _ = await _check(probe)
    if not usual.is_ok:
        raise Unclear(f"provision/update: {usual.status} {usual.text}")
    reply, _ = await _check(probe, product="00000000000000000000000000")
    return holds(f"{reply.status}") if reply.is_ok else differs(f"{reply.status} {reply.text}")


async def a51(probe: Probe) -> Finding:
    """Check for an update, and look at the record."""
    reply, version = await _check(probe)
    if not reply.is_ok:
        raise Unclear(f"provision/update: {reply.status} {reply.text}")
    checked = (await _record(probe)).get("checked")
    seen = f"version {version}, checked {checked}"
    return holds(seen) if checked == version else differs(seen)
