"""What can be said of the endpoint by its URL alone, and which proxy leads there."""

import contextlib
import os
import urllib.request
from typing import Final

from yarl import URL

from ...errors import InvalidArgumentError
from ...operations import IOTO
from ...settings import parse_endpoint, secret
from ...transport.proxies import Proxies
from .found import Found
from .results import CheckResult, failed, ok, warning
from .target import Target

__all__ = ["check_endpoint", "check_proxy"]

_WHERE: Final = "the cloud panel of the Builder shows it, such as https://ID.execute-api.REGION.amazonaws.com"
_VENDOR: Final = ("embedthis.com", "ioto.me")
"""Domains of the vendor, at which there are the Builder, device apps and documents, and no device cloud."""


async def check_endpoint(found: Found) -> CheckResult:
    """Whether the endpoint can be that of a device cloud."""
    target, setting = found.target, found.target.settings["api"]
    if setting.value is None:
        return failed(
            "no endpoint is set",
            f"set {target.named('api')} to the base URL of your device cloud; {_WHERE}. To try without one: "
            'eval "$(ioto-async emulator --env)"',
            exit_status=2,
        )
    source = str(setting.source)
    try:
        url = parse_endpoint(setting.value, name=source)
    except InvalidArgumentError as error:
        return failed(str(error), _how_to_mend(setting.value, source), exit_status=2)
    found.url = url
    mistaken = _mistaken(url, target)
    if mistaken is not None:
        return failed(
            f"{_bare(url)} is {mistaken}", f"set {source} to the URL of the device cloud; {_WHERE}", exit_status=2
        )
    if (operation := _operation_in(url)) is not None:
        return failed(
            f"{url} holds the path of an operation, {operation}, which the client adds by itself",
            f"set {source} to {url.origin()}",
            exit_status=2,
        )
    details = {"url": str(url), "source": source}
    if url.path != "/":
        return warning(
            f"{url} has a path, and the URLs of device clouds have none",
            f"unless a proxy of your own puts them there, set {source} to {url.origin()}",
            **details,
        )
    plain = ", plain http on this machine" if url.scheme == "http" else ""
    return ok(f"{_bare(url)}, from {source}{plain}", **details)


def _bare(url: URL) -> str:
    return str(url).rstrip("/")


def _how_to_mend(value: str, source: str) -> str | None:
    """What to do with the malformed URL *value*, of which nothing is shown but its host."""
    try:
        url = URL(value.strip())
        host, scheme, user = url.host, url.scheme, url.user
    except ValueError:
        return f"set {source} to the base URL of the device cloud; {_WHERE}"
    if value != value.strip():
        return f"take away the white space around the value of {source}"
    if "." not in value and ":" not in value:
        return f"this looks like a token or a key, which goes into another variable, such as IOTO_TOKEN; {_WHERE}"
    if host is None or scheme not in ("http", "https"):
        prefix = (
            f"replace the scheme of {source} with https" if "://" in value else f"write {source} with https:// in front"
        )
        return f"{prefix}; {_WHERE}"
    if user is not None:
        return f"take user and password out of {source}: the token goes into IOTO_TOKEN"
    for mended in (url.origin(), url.with_scheme("https").origin()):
        with contextlib.suppress(InvalidArgumentError):
            if (better := _bare(parse_endpoint(str(mended)))) != value:
                return f"set {source} to {better}"
    return f"set {source} to the base URL of the device cloud; {_WHERE}"


def _mistaken(url: URL, target: Target) -> str | None:
    """What else the endpoint is, if it cannot be that of a device cloud."""
    host = url.host or ""
    builder, origin, cognito = target["builder"], target["origin"], target["cognito"]
    if builder is not None and _bare(url) == builder.rstrip("/"):
        return f"the Builder, as {target.named('builder')} says, and not a device cloud"
    if any(host == domain or host.endswith(f".{domain}") for domain in _VENDOR):
        builder_like = host.startswith(("api.", "admin."))
        return "the Builder, not a device cloud" if builder_like else "a web site, not a device cloud"
    if origin is not None and host in (origin, URL(origin).host):
        return "the device app (IOTO_HOST), not a device cloud"
    if host.startswith("cognito-idp.") or (cognito is not None and _bare(url) == cognito.rstrip("/")):
        return "the sign-in service (IOTO_COGNITO), not a device cloud"
    if host.endswith("amazonaws.com") and ".iot." in host:
        return "the MQTT endpoint of devices, not a device cloud"
    return None


def _operation_in(url: URL) -> str | None:
    """The operation, or the prefix of tokens, that the path of *url* ends with."""
    parts = url.path.strip("/").split("/")
    name = "/".join(parts[-2:])
    if name in IOTO:
        return f"/{name}"
    return "/tok" if "tok" in parts else None


async def check_proxy(found: Found) -> CheckResult:
    """Which proxy requests to the endpoint go through, and why."""
    url, option = found.url, found.target.proxy
    variable = _variable(url.scheme)
    try:
        found.proxy = Proxies(option, trust_env=True).of(url)
    except InvalidArgumentError as error:
        where = "the option proxy" if option is not None else variable or "the settings of the system"
        return failed(str(error), f"set {where} to a URL such as http://proxy.example:3128", exit_status=2)
    if found.proxy is not None:
        why = found.proxy_source = (
            "the option proxy" if option is not None else variable or "the settings of the system"
        )
        user = ", with a user and a password" if found.proxy.headers else ""
        shown = _bare(found.proxy.url)
        return ok(f"{shown}, from {why}{user}", url=shown, source=why)
    if variable is not None:
        return ok(f"none: NO_PROXY exempts {url.host} from {variable}", url=None, source="NO_PROXY")
    return ok("none", url=None, source=None)


def _variable(scheme: str) -> str | None:
    """The variable of the process that names the proxy for URLs of *scheme*; None if none does."""
    if not secret(urllib.request.getproxies().get(scheme)):
        return None
    # In lower case it wins, as for curl.
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), None)
