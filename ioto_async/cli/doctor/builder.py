"""Whether the Builder is reached, and accepts its token."""

import ssl
from typing import Final

from yarl import URL

from ...client import BuilderClient
from ...errors import AuthenticationError, CallError, InvalidArgumentError
from ...settings import check_token, is_loopback, parse_endpoint
from ...transport.proxies import Proxies
from .found import Found
from .network import Host, reached
from .results import CheckResult, Status, failed, ok, skipped, warning
from .service import options_of, unreached

__all__ = ["check_builder"]

_MAKE_ONE: Final = "make a BuilderAPI token in the Builder, and set BUILDER_TOKEN to it"


async def check_builder(found: Found) -> CheckResult:
    """Whether the Builder answers, and accepts its token; devices register there."""
    target = found.target
    setting, token, product = target.settings["builder"], target["builder_token"], target["product"]
    source = str(setting.source)
    try:
        url = parse_endpoint(str(setting.value), name=source)
        if product is not None:
            check_token(product, str(target.settings["product"].source))
        client = BuilderClient(environ=target.environ, **options_of(found))
        proxy = Proxies(target.proxy, trust_env=True).of(url)
    except InvalidArgumentError as error:
        return failed(str(error).replace("builder_token", "BUILDER_TOKEN"), "correct the variable", exit_status=2)
    is_default = target.is_default("builder")
    if is_default and token is None and _is_here(target["api"]):
        return skipped(
            "IOTO_API is on this machine, and the Builder would be the vendor's",
            "set IOTO_BUILDER to check the Builder of an emulator",
            url=str(url),
        )
    named = None if is_default else target.named("builder")
    to = Host(url.host or "", url.port or 443, "the Builder", named, proxy)
    # Step by step, as what asks for many things at once cannot be ended if the look-up of the host hangs.
    result = await reached(to, ssl.create_default_context() if url.scheme == "https" else None)
    if result.status is not Status.FAILED:
        async with client:
            result = await _asked(client, found)
    shown = str(url).rstrip("/")
    details = {"url": shown, "source": source, **result.details}
    text = f"{shown}, from {source}: {result.summary}" if not is_default else f"{shown}: {result.summary}"
    if result.status is Status.FAILED and is_default and token is None:
        # Whoever does not use it can do without.
        return warning(text, f"only fleet register needs it; {result.hint or 'try again later'}", **details)
    return CheckResult(result.status, text, result.hint, details, result.exit_status)


def _is_here(api: str | None) -> bool:
    try:
        return is_loopback(URL(api or "").host or "")
    except ValueError:
        return False


async def _asked(client: BuilderClient, found: Found) -> CheckResult:
    target = found.target
    token, product = target["builder_token"], target["product"]
    try:
        if token is None:
            await client.test.success()
            more = "; whether the product token is good shows when a device registers" if product is not None else ""
            return ok(f"answers; BUILDER_TOKEN is not set, so that only registering works{more}", token=None)
        await client.device.find(limit=1)
    except AuthenticationError as error:
        refused = f"{error.status} {error.message}"
        if token is None:
            return ok(f"answers {refused}; BUILDER_TOKEN is not set", token=None)
        same = "; it is the same as IOTO_TOKEN, which is for the device cloud" if token == target["token"] else ""
        path = str(target["builder"]).rstrip("/").endswith("/api")
        hint = _MAKE_ONE if path else f"the URL of the Builder ends with /api: correct IOTO_BUILDER; or {_MAKE_ONE}"
        return failed(f"refuses BUILDER_TOKEN: {refused}{same}", hint, exit_status=3, token=False)
    except CallError as error:
        return unreached(error)
    if product is None:
        return ok("accepts BUILDER_TOKEN", token=True)
    return await _looked_up(client, product, target.named("product"))


async def _looked_up(client: BuilderClient, product: str, source: str) -> CheckResult:
    """Whether there is a product of the token *product*."""
    try:
        found = await client.device.lookup(product)
    except CallError as error:
        return failed(
            f"accepts BUILDER_TOKEN, but does not find the product of {source}: {error.message}",
            f"set {source} to the product token that the Builder shows for the product",
            token=True,
            product=None,
        )
    if found.suspended:
        return warning(
            f"accepts BUILDER_TOKEN; the product {found.name} is suspended, and registers no devices",
            "resume its product token in the Builder",
            token=True,
            product=found.name,
        )
    return ok(f"accepts BUILDER_TOKEN; the product is {found.name}", token=True, product=found.name)
