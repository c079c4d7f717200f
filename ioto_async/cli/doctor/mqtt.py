"""Whether the MQTT endpoint of devices is reached, and accepts a device."""

import asyncio
import ssl
from datetime import UTC, datetime
from typing import Final

from yarl import URL

from ...errors import AuthenticationError, CallError, InvalidArgumentError
from ...models import JSON, Certificates
from ...mqtt import DeviceLink
from ...mqtt.options import PORT
from ...mqtt.tls import make_context
from ...transport.proxies import Proxies, Proxy
from ..files import read_certificates
from .found import Found
from .network import Host, reached
from .results import CheckResult, Status, failed, ok, skipped, warning

__all__ = ["check_mqtt"]

_VARIABLES: Final = "IOTO_MQTT_HOST and IOTO_MQTT_PORT"
_ALPN: Final = "x-amzn-mqtt-ca"
_SHARE: Final = 0.6
"""Of the time of the check, what the connection of the device may take."""
_AGAIN: Final = "provision the device again: ioto-async fleet provision --overwrite"


async def check_mqtt(found: Found) -> CheckResult:
    """Whether the MQTT endpoint is reached; with the certificate of a device, whether that may connect."""
    target = found.target
    if target.certs is not None:
        try:
            # It reads files.
            certs = await asyncio.to_thread(read_certificates, target.certs, target.device)
        except InvalidArgumentError as error:
            hint = "give the folder that fleet provision has written, or with --device that of the fleet"
            return failed(str(error), hint, exit_status=2)
        return await _as_device(certs, found)
    host = target["mqtt_host"]
    if host is None:
        return skipped(
            "devices are told their endpoint with their certificate",
            "give the folder of a device with --certs, to connect as that device",
        )
    try:
        port = int(target["mqtt_port"] or PORT)
        context = ssl.create_default_context()
        context.set_alpn_protocols([_ALPN])
        to = Host(str(host), port, "the MQTT endpoint", _VARIABLES, _proxy(str(host), port, found))
    except (InvalidArgumentError, ValueError) as error:
        return failed(f"{_VARIABLES}: {error}", "correct the variables", exit_status=2)
    result = await reached(to, context)
    if result.status is Status.FAILED:
        return result
    text = f"{to.name}:{port}: {result.summary}"
    return CheckResult(result.status, f"{text}; no device was connected", result.hint, result.details)


def _proxy(host: str, port: int, found: Found) -> Proxy | None:
    return Proxies(found.target.proxy, trust_env=True).of(URL.build(scheme="https", host=host, port=port))


async def _as_device(certs: Certificates, found: Found) -> CheckResult:
    """Connect as the device."""
    endpoint, port = str(certs.endpoint), certs.port or PORT
    if (ended := _ended(certs)) is not None:
        return failed(f"the certificate of {certs.id} has ended, on {ended:%Y-%m-%d %H:%M} UTC", _AGAIN, exit_status=3)
    try:
        context = make_context(certs, None)
        to = Host(endpoint, port, "the MQTT endpoint", "--certs", _proxy(endpoint, port, found))
    except (InvalidArgumentError, ValueError) as error:
        return failed(str(error), _AGAIN, exit_status=2)
    result = await reached(to, context)
    if result.status is Status.FAILED:
        return result
    seconds = found.limit * _SHARE
    try:
        async with DeviceLink(certs, patience=seconds, timeout=seconds, proxy=found.target.proxy, trust_env=True):
            pass
    except AuthenticationError as error:
        hint = f"it may be released, claimed by another account, or of another cloud: {_AGAIN}"
        return failed(f"{endpoint}:{port} does not accept {certs.id}: {error.message}", hint, exit_status=3)
    except InvalidArgumentError as error:
        return failed(str(error), _AGAIN, exit_status=2)
    except CallError as error:
        hint = "check whether the device is connected elsewhere, and the network"
        return failed(f"{certs.id} cannot connect to {endpoint}:{port}: {error.message}", hint, exit_status=4)
    alpn = result.details.get("alpn")
    details: dict[str, JSON] = {**result.details, "host": endpoint, "port": port, "device": certs.id}
    text = f"{certs.id} has connected to {endpoint}:{port}, {result.details.get('version')}"
    if alpn is None and port == PORT:
        return warning(text, "the host has not answered ALPN, which AWS IoT wants at port 443", **details)
    return ok(text, **details)


def _ended(certs: Certificates) -> datetime | None:
    """When the certificate of a device has ended; None if it has not, or that cannot be told."""
    try:
        from cryptography import x509  # comes with the command line

        ends = x509.load_pem_x509_certificate(str(certs.certificate).encode()).not_valid_after_utc
    except (ModuleNotFoundError, ValueError):
        return None
    return ends if ends <= datetime.now(UTC) else None
