"""The way to a host: addresses, TCP, TLS and certificates."""

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from ...mqtt.connection import ProxyRefusal, dial
from ...transport.attempt import reason_of
from ...transport.proxies import Proxy
from .found import Found
from .results import CheckResult, Status, failed, ok, skipped, warning

__all__ = ["PROXY_LOGIN", "Host", "check_dns", "check_tcp", "check_tls", "connect", "look_up", "reached", "shake_hands"]

T = TypeVar("T")

PROXY_LOGIN: Final = "put user and password into the URL of the proxy, as in http://USER:PASSWORD@HOST:PORT"
"""What to do where a proxy wants to know who asks."""
_SHOWN: Final = 3
"""Addresses that are shown."""
_SOON: Final = timedelta(days=14)
"""Before the end of a certificate, the time in which it should have been renewed."""


# DNS --------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Host:
    """A host that is to be reached."""

    name: str
    """Name or address."""
    port: int
    what: str
    """What it is the host of, for a sentence."""
    setting: str | None
    """The flag and the variable that name it; None for a default."""
    proxy: Proxy | None = None
    """The proxy that it is reached through."""
    proxy_source: str = "HTTPS_PROXY"
    """What names that."""

    def check(self, part: str) -> str:
        """Advice to check a *part* of the setting."""
        return f"check {part}" if self.setting is None else f"check {part} in {self.setting}"

    @property
    def first_hop(self) -> "Host":
        """What is connected to: the proxy, if there is one."""
        if self.proxy is None:
            return self
        return Host(self.proxy.url.host or "", self.proxy.url.port or 80, "the proxy", self.proxy_source)


def _endpoint(found: Found) -> Host:
    url = found.url
    setting = found.target.named("api")
    return Host(url.host or "", url.port or 443, "the endpoint", setting, found.proxy, found.proxy_source)


async def check_dns(found: Found) -> CheckResult:
    """Whether the host, or that of the proxy, has addresses."""
    return await look_up(_endpoint(found).first_hop)


async def look_up(to: Host) -> CheckResult:
    """Look up the addresses of a host."""
    host = to.name
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return ok(f"{host} is an address", host=host, addresses=[host])
    started = time.perf_counter()
    try:
        found = await _in_thread(lambda: socket.getaddrinfo(host, to.port, type=socket.SOCK_STREAM))
    except OSError as error:
        if isinstance(error, socket.gaierror) and error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            text, hint = f"there is no host {host}", "check the network of this machine"
            if to.setting is not None:
                hint = f"{to.check('the name')}, and the network of this machine"
        else:
            text = f"{host}, the host of {to.what}, cannot be looked up: {error.strerror or error}"
            hint = "check the network and the name servers of this machine (/etc/resolv.conf)"
        return failed(text, hint, exit_status=4, host=host)
    except UnicodeError:
        return failed(f"{host} is no name of a host", to.check("the name"), exit_status=2, host=host)
    elapsed = (time.perf_counter() - started) * 1000
    addresses = [*dict.fromkeys(str(address[0]) for *_, address in found)]
    shown = ", ".join(addresses[:_SHOWN]) + (", …" if len(addresses) > _SHOWN else "")
    text = f"{host} is {shown}, looked up in {elapsed:.0f} ms"
    return ok(text, host=host, addresses=[*addresses], ms=round(elapsed, 1))


async def _in_thread(work: Callable[[], T]) -> T:
    """Do *work*, that blocks and cannot be stopped, so that nobody has to wait for its end, not the process either."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(value: Any, error: BaseException | None) -> None:
        if not done.done():
            done.set_exception(error) if error is not None else done.set_result(value)

    def run() -> None:
        value, error = None, None
        try:
            value = work()
        except Exception as raised:  # noqa: BLE001  whoever waits gets it
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed, as nobody waits any more
            loop.call_soon_threadsafe(finish, value, error)

    threading.Thread(target=run, daemon=True).start()
    return await done


# TCP --------------------------------------------------------------------------------------------------------------


async def check_tcp(found: Found) -> CheckResult:
    """Whether the host, or the proxy, accepts connections at each of its addresses."""
    return await connect(_endpoint(found).first_hop)


async def connect(to: Host) -> CheckResult:
    """Connect to a host at all of its addresses."""
    host, port = to.name, to.port
    found = await _in_thread(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    outcomes = await asyncio.gather(*(_connected(family, address) for family, _, _, _, address in found))
    refused = [outcome for outcome in outcomes if isinstance(outcome, _Refused)]
    times = [outcome for outcome in outcomes if not isinstance(outcome, _Refused)]
    if not times:
        reasons = "; ".join(dict.fromkeys(outcome.reason for outcome in refused))
        return failed(
            f"nothing accepts connections at {host}:{port}: {reasons}",
            f"{to.check('the port')}, whether the host runs, and whether a firewall or a VPN is in between",
            exit_status=4,
            host=host,
            port=port,
        )
    details: dict[str, Any] = {"host": host, "port": port, "ms": round(min(times) * 1000, 1)}
    text = f"connected to {host}:{port} in {min(times) * 1000:.0f} ms"
    if refused and host != "localhost":
        shown = ", ".join(f"{outcome.address} ({outcome.reason})" for outcome in refused[:_SHOWN])
        return warning(
            f"{text}, but not at {shown}",
            "connections may be slow to begin; if these are IPv6 addresses, this network may have none",
            **details,
        )
    return ok(text, **details)


@attrs.frozen
class _Refused:
    address: str
    reason: str


async def _connected(family: int, address: Any) -> "float | _Refused":
    """Seconds that a connection took."""
    started = time.perf_counter()
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, address)
        except OSError as error:
            # The text of asyncio repeats the address.
            return _Refused(str(address[0]), os.strerror(error.errno) if error.errno else reason_of(error))
    return time.perf_counter() - started


# TLS --------------------------------------------------------------------------------------------------------------


async def check_tls(found: Found) -> CheckResult:
    """Whether the host shows a certificate that this machine trusts."""
    if found.url.scheme == "http":
        return skipped("plain http, which is for this machine alone")
    if found.proxy is not None and found.proxy.url.scheme != "http":
        return skipped("goes through an https proxy; the next check shows whether it works")
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return await shake_hands(_endpoint(found), context)


def trust() -> tuple[str, str | None]:
    """Who vouches for hosts: what to call it, and what is wrong with it."""
    file = os.environ.get("SSL_CERT_FILE")
    if not file:
        return "the trust store of the system", None
    path = Path(file)
    if not path.is_file():
        return f"SSL_CERT_FILE={file}", "there is no such file, which OpenSSL ignores without a word"
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ValueError):
        return f"SSL_CERT_FILE={file}", "it holds no certificate in PEM form"
    return f"SSL_CERT_FILE={file}", None


async def shake_hands(to: Host, context: ssl.SSLContext) -> CheckResult:
    """Shake hands with a host, and look at its certificate."""
    host, port, proxy = to.name, to.port, to.proxy
    started = time.perf_counter()
    try:
        connection = await dial(host, port, context, proxy)
    except ProxyRefusal as error:
        return _proxy_refuses(str(error), proxy)
    except ssl.SSLCertVerificationError as error:
        return await _untrusted(error, to)
    except (ssl.SSLError, OSError) as error:
        if proxy is not None and "proxy" in str(error):
            return _proxy_refuses(str(error), proxy)
        return _no_tls(error, to)
    elapsed = (time.perf_counter() - started) * 1000
    with connection:
        version, certificate = connection.version(), connection.getpeercert()
        alpn = connection.selected_alpn_protocol()
    return _trusted(host, version or "TLS", certificate or {}, alpn, elapsed)


def _proxy_refuses(text: str, proxy: Proxy | None) -> CheckResult:
    if " 407" in text:
        hint = PROXY_LOGIN
    else:
        hint = "ask who runs the proxy to let the host through, or exempt it with NO_PROXY"
    return failed(text, hint, exit_status=4, proxy=None if proxy is None else str(proxy.url))


def _trusted(host: str, version: str, certificate: Any, alpn: str | None, elapsed: float) -> CheckResult:
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    issuer = _name(certificate.get("issuer", ()))
    source, trouble = trust()
    details: dict[str, Any] = {
        "version": version,
        "verified": True,
        "expires": ends.isoformat().replace("+00:00", "Z"),
        "issuer": issuer,
        "trust": source,
        "alpn": alpn,
        "ms": round(elapsed, 1),
    }
    text = f"{version}, certificate for {host} from {issuer}, valid until {ends:%Y-%m-%d}, trusted by {source}"
    if trouble is not None:
        return warning(text, f"{source}: {trouble}: name another file, or unset SSL_CERT_FILE", **details)
    if ends - datetime.now(UTC) < _SOON:
        return warning(text, "the certificate ends soon: whoever runs the host has to renew it", **details)
    return ok(text, **details)


def _name(parts: Sequence[Sequence[tuple[str, str]]]) -> str:
    """The most telling part of a name in a certificate."""
    names = {key: value for part in parts for key, value in part}
    return names.get("organizationName") or names.get("commonName") or "an unnamed authority"


_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED, _SELF_SIGNED_IN_CHAIN = 9, 10, 18, 19
_NO_ISSUER, _NO_FIRST, _HOSTNAME, _ADDRESS = 20, 21, 62, 64
"""Codes of OpenSSL."""


async def _untrusted(error: ssl.SSLCertVerificationError, to: Host) -> CheckResult:
    """Why the certificate of the host is not trusted, and what to do."""
    host = to.name
    shown = await _certificate(to)
    code = error.verify_code
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    source, trouble = trust()
    details: dict[str, Any] = {"verified": False, "reason": error.verify_message, "trust": source, **shown.details}
    if code in (_EXPIRED, _NOT_YET_VALID):
        what = f"expired{shown.ended}" if code == _EXPIRED else f"is not valid{shown.begun or ' yet'}"
        text = f"the certificate of {host} {what}"
        hint = f"whoever runs the host has to renew it; or the clock of this machine, which says {now}, is wrong"
    elif code in (_HOSTNAME, _ADDRESS):
        text = f"the certificate is not for {host}{shown.names}"
        hint = f"{to.check('the name')}: it must be one of those in the certificate"
    elif trouble is not None:
        text = f"the certificate of {host} is not trusted{shown.issued}"
        hint = f"{source}: {trouble}: name another file, or unset SSL_CERT_FILE"
    elif code in (_SELF_SIGNED, _SELF_SIGNED_IN_CHAIN, _NO_ISSUER, _NO_FIRST):
        kind = "is signed by itself" if code == _SELF_SIGNED else "is from an authority that is not trusted"
        text = f"the certificate of {host} {kind}{shown.issued}"
        hint = (
            "if the authority is your company's, your proxy's or an emulator's, put its certificate (PEM) into a file"
            " and set SSL_CERT_FILE to that; in Python, give ssl=ssl.create_default_context(cafile=…)"
        )
        if code in (_NO_ISSUER, _NO_FIRST):
            hint += (
                ". If curl trusts the host, this Python has no authorities: pip install certifi, and set "
                'SSL_CERT_FILE="$(python -m certifi)"'
            )
    else:
        text, hint = f"the certificate of {host} is not trusted: {error.verify_message}", None
    return failed(text, hint, exit_status=4, **details)


@attrs.frozen
class _Shown:
    """What a certificate says that is not trusted; parts of sentences, empty where it is not known."""

    issued: str = ""
    ended: str = ""
    begun: str = ""
    names: str = ""
    details: dict[str, Any] = attrs.field(factory=dict)


async def _certificate(to: Host) -> _Shown:
    """Look at the certificate of a host without trusting it; nothing is sent."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with await dial(to.name, to.port, context, to.proxy) as connection:
            data = connection.getpeercert(binary_form=True)
        from cryptography import x509  # comes with the command line
    except (OSError, ProxyRefusal, ModuleNotFoundError):
        return _Shown()
    if data is None:
        return _Shown()
    certificate = x509.load_der_x509_certificate(data)
    issuer = _of_name(certificate.issuer)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = [str(name.value) for name in names]
    except (x509.ExtensionNotFound, ValueError):
        hosts = []
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return _Shown(
        f" ({issuer})",
        f" on {ends:%Y-%m-%d %H:%M} UTC",
        f" before {begins:%Y-%m-%d %H:%M} UTC",
        f", but for {', '.join(hosts[:_SHOWN])}" if hosts else "",
        {"issuer": issuer, "expires": ends.isoformat().replace("+00:00", "Z"), "names": [*hosts]},
    )


def _of_name(name: Any) -> str:
    from cryptography.x509.oid import NameOID

    for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        for attribute in name.get_attributes_for_oid(oid):
            return str(attribute.value)
    return "an unnamed authority"


def _no_tls(error: OSError, to: Host) -> CheckResult:
    """Why there was no handshake."""
    host, port = to.name, to.port
    reason = getattr(error, "reason", None) or ""
    shown = reason.replace("_", " ").lower() if reason else reason_of(error)
    text = f"no TLS with {host}:{port}: {shown}"
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"):
        return failed(
            f"{host}:{port} does not speak TLS",
            "check the port; an emulator without --tls is reached by http:// instead of https://",
            exit_status=4,
        )
    if "PROTOCOL" in reason or "VERSION" in reason or "HANDSHAKE_FAILURE" in reason:
        hint = "the host has no version of TLS, or no cipher, in common with this Python: it needs TLS 1.2 or later"
    elif "CERTIFICATE_REQUIRED" in reason or "BAD_CERTIFICATE" in reason:
        hint = (
            f"the host wants a certificate of the client, as the MQTT endpoint of devices does: {to.check('the host')}"
        )
    else:
        hint = "a firewall in between may have ended the connection, or the host wants another version of TLS or none"
    return failed(text, hint, exit_status=4)


async def reached(to: Host, context: ssl.SSLContext | None) -> CheckResult:
    """Go to a host step by step: DNS, TCP, and with a *context* TLS; the result of the last step that was made."""
    result = await look_up(to.first_hop)
    if result.status is not Status.FAILED:
        result = await connect(to.first_hop)
    if result.status is not Status.FAILED and context is not None:
        result = await shake_hands(to, context)
    return result
