"""Checks of what is sent, and of how it is refused: A1 to A17."""

import secrets
from typing import Final

import orjson

from ...settings import Secret
from ..finding import MARK, Finding, Unclear, differs, holds
from ..probe import Probe, Reply, Sending, shape

__all__: list[str] = []

_PING: Final = "test/ping"
_DEVICES: Final = "device/find"
_ONE: Final = {"limit": 1}
_NOBODY: Final = "0000000000"
"""A claim ID that no device has: the agent draws random ones."""


def _by(probe: Probe, token: str, header: str = "Authorization", **options: str) -> Sending:
    return Sending(body=orjson.dumps(probe.of_account), headers={header: token}, options=options)


async def _refused(probe: Probe) -> Reply:
    """A request that cannot be carried out: it lacks the member that is required."""
    reply = await probe.ask("device/get", {"id": _NOBODY}, sending=Sending(body=b"{}", headers=_own(probe)))
    if reply.is_ok:
        raise Unclear(f"device/get without id is answered: {reply}")
    return reply


def _own(probe: Probe) -> dict[str, str]:
    return {"Authorization": probe.token}


async def _invalid(probe: Probe) -> Reply:
    token = "0" * 6 + secrets.token_hex(10).upper()
    return await probe.ask(_DEVICES, sending=_by(probe, token))


async def a1(probe: Probe) -> Finding:
    """Send the token in both forms."""
    forms = {"alone": probe.token, "behind bearer": Secret(f"bearer {probe.token}")}
    found = {form: await probe.ask(_DEVICES, query=_ONE, sending=_by(probe, text)) for form, text in forms.items()}
    seen = ", ".join(f"{form} {reply.status}" for form, reply in found.items())
    if not any(reply.is_ok for reply in found.values()):
        raise Unclear(f"device/find is refused with both: {seen}")
    return holds(seen) if all(reply.is_ok for reply in found.values()) else differs(seen)


async def a2(probe: Probe) -> Finding:
    """Send the token in the other header."""
    usual = await probe.ask(_DEVICES, query=_ONE, sending=_by(probe, probe.token))
    if not usual.is_ok:
        raise Unclear(f"device/find is refused in the usual way as well: {usual.status} {usual.text}")
    reply = await probe.ask(_DEVICES, query=_ONE, sending=_by(probe, probe.token, "X-Token"))
    return holds(f"{reply.status}") if reply.is_ok else differs(f"{reply.status} {reply.text}")


async def a3(probe: Probe) -> Finding:
    """Send the token to a bare path."""
    sending = Sending(body=b"{}", is_bare=True, headers=_own(probe))
    reply = await probe.ask(_DEVICES, query=_ONE, sending=sending)
    return differs(f"{reply.status}") if reply.is_ok else holds(f"{reply.status} {reply.text}")


async def a4(probe: Probe) -> Finding:
    """Send a GET."""
    reply = await probe.ask(_PING, sending=Sending("GET", headers=_own(probe)))
    return differs(str(reply)) if reply.is_ok else holds(f"{reply.status} {reply.text}")


async def a5(probe: Probe) -> Finding:
    """Send a member that no document has in a body."""
    plain = await probe.get("metric/getDeviceSchema")
    reply = await probe.ask("metric/getDeviceSchema", {MARK.replace("-", ""): {"nothing": True}})
    return holds(f"{reply.status}, as {plain.status} without") if reply.is_ok else differs(str(reply))


async def a6(probe: Probe) -> Finding:
    """Send an option that no document has in a query string."""
    plain = await probe.ask(_DEVICES, query=_ONE, sending=_by(probe, probe.token))
    if not plain.is_ok:
        raise Unclear(f"device/find is refused without as well: {plain.status} {plain.text}")
    further = _by(probe, probe.token, **{MARK.replace("-", ""): "1"})
    reply = await probe.ask(_DEVICES, query=_ONE, sending=further)
    return holds(f"{reply.status}, as {plain.status} without") if reply.is_ok else differs(str(reply))


async def a7(probe: Probe) -> Finding:
    """Send no body."""
    reply = await probe.ask(_PING, sending=Sending(body=b"", headers=_own(probe)))
    if reply.is_ok:
        return holds(f"{reply.status}")
    usual = await probe.ask(_PING, sending=_by(probe, probe.token))
    if not usual.is_ok:
        raise Unclear(f"test/ping is refused with a body as well: {usual.status} {usual.text}")
    return differs(f"{reply.status} {reply.text}")


async def a9(probe: Probe) -> Finding:
    """Leave a required member out."""
    reply = await _refused(probe)
    seen = f"device/get without id: {reply.status} {reply.text}"
    return holds(seen) if reply.status == 400 else differs(seen)


async def a10(probe: Probe) -> Finding:
    """Look at the body of a refusal."""
    reply = await _refused(probe)
    seen = f"{reply.type or 'no type'}: {shape(reply.value) if isinstance(reply.value, (dict, list)) else reply.text}"
    return holds(seen) if reply.type == "text/plain" and isinstance(reply.value, str) else differs(seen)


async def a11(probe: Probe) -> Finding:
    """Send a token that nobody has, and look at the status."""
    reply = await _invalid(probe)
    return holds(f"{reply.status}") if reply.status == 403 else differs(f"{reply.status} {reply.text}")


async def a12(probe: Probe) -> Finding:
    """Send a token that nobody has, and look at the text."""
    reply = await _invalid(probe)
    if reply.is_ok:
        raise Unclear("an invalid token is answered")
    value = reply.value
    text = value["message"] if isinstance(value, dict) and isinstance(value.get("message"), str) else reply.text
    return holds(text) if text == "Authentication failed" else differs(text)


async def a15(probe: Probe) -> Finding:
    """Call an unknown operation."""
    reply = await probe.ask("conformance/nothing")
    seen = f"{reply.status} {reply.text}"
    return holds(seen) if reply.is_refused else differs(seen)


async def a17(probe: Probe) -> Finding:
    """Ask for an unknown device."""
    reply = await probe.ask("device/get", {"id": _NOBODY, **probe.of_account})
    if reply.status in (401, 403):
        raise Unclear(f"the caller may not call it: device/get: {reply.status} {reply.text}")
    seen = f"{reply.status} {reply.text}"
    return holds(seen) if reply.is_refused and "Cannot find device" in reply.text else differs(seen)
