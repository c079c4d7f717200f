"""Runs the checks against a cloud: which of them may run, how fast, for how long, and on which devices."""

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from typing import Final

import aiohttp
import attrs

from ..client import IotoClient
from ..errors import BadRequestError, InvalidArgumentError, IotoError
from ..settings import Settings, check_text, secret
from ..transport.limits import Limits
from ..transport.retry import RetryPolicy
from .assumption import Assumption, Check
from .checks import CHECKS
from .finding import Finding, Unclear, Verdict
from .probe import Capture, Context, Probe
from .report import Report
from .table import ASSUMPTIONS

__all__ = ["Run"]

_RATE: Final = 2.0
_TIMEOUT: Final = 60.0
_REPLY: Final = 20.0
"""Seconds for one reply."""
_CLOUD: Final = "IOTO_CLOUD"
_NO_WRITE: Final = "writing is not allowed: --write"
_NO_DEVICE: Final = "no device was named: --device ID"


@attrs.define(kw_only=True)
class Run:
    """One run of the checks.

    What a check writes it removes when it has ended in any way, also when the run is cancelled, which may take a while
    then. No request names a device that is not among *devices*.

    Attributes:
        environ: where the endpoint and the credentials come from; the environment of the process by default.
        write: whether checks may write.
        devices: the devices that checks may ask about and, with *write*, write about.
        rate: requests a second at most.
        timeout: seconds that one check may take, without what it takes back.
        only: the numbers of the assumptions to look at; all if it is empty.
        tell: called with each assumption and its finding.
        report: what was found out so far.

    Raises:
        InvalidArgumentError: an attribute does not fit.
    """

    environ: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    write: bool = False
    devices: tuple[str, ...] = ()
    rate: float = _RATE
    timeout: float = _TIMEOUT
    only: Collection[str] = ()
    tell: Callable[[Assumption, Finding], object] = lambda assumption, finding: None
    report: Report = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        for device in self.devices:
            check_text("device", device)
        for number in self.only:
            if number not in ASSUMPTIONS:
                raise InvalidArgumentError(f"only: there is no assumption {number!r}; see docs/assumptions.md")
        self.devices = tuple(dict.fromkeys(self.devices))
        self.report = Report(write=self.write, devices=len(self.devices))

    async def run(self) -> Report:
        """Run the checks and return the report.

        Raises:
            InvalidArgumentError: a setting is missing, or a device is not one of the account.
            CallError: the cloud cannot be reached, or refuses the credentials.
        """
        # Tracebacks may show this variable.
        environ = {name: secret(value) for name, value in self._variables().items()}
        settings = Settings.from_env(environ)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=True) as session:
            client = IotoClient(
                environ=environ,
                session=session,
                trust_env=True,
                limits=Limits(rate=self.rate),
                retry=RetryPolicy(attempts=1),
                timeout=_REPLY,
                middlewares=(Capture(session),),
            )
            async with client:
                context = Context(settings.token, settings.account_id, environ.get(_CLOUD) or None)
                probe = Probe(client, context, self.report.masks)
                self._learn(settings, context)
                await self._prepare(probe)
                try:
                    for number, assumption in ASSUMPTIONS.items():
                        if not self.only or number in self.only:
                            finding = self.report.add(number, await self._look(probe, assumption))
                            self.tell(assumption, finding)
                finally:
                    self.report.left += probe.left
        self.report.is_complete = True
        return self.report

    def _variables(self) -> Mapping[str, str]:
        return os.environ if self.environ is None else self.environ

    def _learn(self, settings: Settings, context: Context) -> None:
        masks = self.report.masks
        for kind, values in {
            "TOKEN": (settings.token, settings.builder_token, settings.password),
            "HOST": (settings.api, settings.origin, settings.builder, _authority(settings.api)),
            "ACC": (context.account_id,),
            "CLOUD": (context.cloud_id,),
            "DEV": self.devices,
            "MAIL": (settings.username,),
        }.items():
            for value in values:
                masks.add(kind, value)

    async def _prepare(self, probe: Probe) -> None:
        """Find out what the checks need to know, and that the devices are the account's."""
        context, client = probe.context, probe.client
        try:
            first = await client.device.find(limit=1)
        except BadRequestError:
            first = None
        if context.account_id is None and first is not None and first.items:
            context.account_id = first.items[0].account_id
        if context.account_id is None:
            context.account_id = await self._only_account(probe)
        self.report.masks.add("ACC", context.account_id)
        if context.cloud_id is None and context.account_id is not None:
            try:
                reply = await probe.ask("account/get", {"id": context.account_id})
            except Unclear:
                pass
            else:
                found = reply.record.get("cloudId")
                context.cloud_id = found if reply.is_ok and isinstance(found, str) else None
        for device in self.devices:
            try:
                await client.device.get(device, account_id=context.account_id if context.token else None)
            except BadRequestError as error:
                raise InvalidArgumentError(f"device: {device} is not a device of the account: {error}") from None

    async def _only_account(self, probe: Probe) -> str | None:
        try:
            reply = await probe.ask("account/find", query={"limit": 2})
        except Unclear:
            return None
        ids = [each.get("id") for each in reply.records if isinstance(each, dict)] if reply.is_ok else []
        return ids[0] if len(ids) == 1 and isinstance(ids[0], str) else None

    async def _look(self, probe: Probe, assumption: Assumption) -> Finding:
        check = assumption.check
        if check is Check.NONE:
            return Finding(Verdict.SKIPPED, assumption.why_not)
        if check.needs_device and not self.devices:
            return Finding(Verdict.SKIPPED, _NO_DEVICE)
        if check.writes and not self.write:
            return Finding(Verdict.SKIPPED, _NO_WRITE)
        finding = Finding(Verdict.UNCLEAR, "")
        for device in self.devices if check.needs_device else (None,):
            probe.context.device = device
            finding = await self._check(probe, assumption.number)
            if finding.verdict is not Verdict.UNCLEAR:
                break
        probe.context.device = None
        return finding

    async def _check(self, probe: Probe, number: str) -> Finding:
        try:
            async with probe.taking_back(), asyncio.timeout(self.timeout):
                return await CHECKS[number](probe)
        except TimeoutError:
            return Finding(Verdict.UNCLEAR, f"it did not end within {self.timeout:g} s")
        except Unclear as unclear:
            return Finding(Verdict.UNCLEAR, str(unclear))
        except (IotoError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            # A reply that no check expects is what a check is for, and the others are to go on.
            return Finding(Verdict.UNCLEAR, f"the check failed on what it saw: {type(error).__name__}: {error}")


def _authority(url: str | None) -> str | None:
    return None if url is None else url.partition("://")[2].partition("/")[0]
