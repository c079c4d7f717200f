"""``metric write``: the samples of a file, each noted in a journal."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, AsyncIterable, Hashable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Final, Literal

import attrs
from cyclopts import Parameter

from ...bulk import Bulk, Outcome, Progress
from ...client import ClientOptions, IotoClient
from ...errors import CallError, ConnectionFailedError, InvalidArgumentError, IotoError, NotFoundError, one_line
from ...metrics.automation import AutomationSink
from ...metrics.delivery import Delivery, JointDelivery
from ...metrics.link import LinkSink
from ...metrics.model import ModelSink
from ...metrics.outage import Outage
from ...metrics.sample import Checker, Sample
from ...mqtt import DeviceLink
from ...operations import Kind
from ...settings import Settings
from .. import files
from ..options import FLAG, Concurrency, JournalOptions, check_account, check_journal
from ..report import RequestStats
from ..rows import open_source
from ..run import AUTH_ERRORS, FileRun
from .samples import LateSamples, SampleRow, read_samples

__all__ = ["SinkOptions", "Via", "write"]

Via = Literal["automation", "model", "mqtt"]

_REQUIRED: Final[dict[str, str]] = {"automation": "automation", "model": "model", "mqtt": "certs"}
"""The option that each sink needs, and the others do not have."""
_CONCURRENCY: Final[dict[str, int]] = {"model": 256, "mqtt": 100}
"""Samples in flight where ``auto`` cannot follow the service: one request for a model has several of them."""


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class SinkOptions:
    """Options of the sinks."""

    automation: str | None = None
    """Name of the automation; its variables are metric, value, timestamp, deviceId for the dimension Device, and the
    names of the other dimensions."""
    model: str | None = None
    """Name of the model; metrics are its fields, and dimensions tell the item, Device as deviceId. Its rules are not
    checked: a field without a metric rule is written, and makes no sample."""
    create: Annotated[bool, FLAG] = False
    """Create items of the model instead of updating them."""
    certs: Path | None = None
    """For MQTT: the folder of the device as fleet provision has written it, its provision.json, or with --device the
    folder of the fleet. A cloud whose certificate the system does not trust is trusted with SSL_CERT_FILE=ca.pem."""
    device: str | None = None
    """ID for the dimension Device of rows that have no dimensions; over MQTT that of the certificate by default."""
    account: str | None = None
    """Account that owns the items of the model; IOTO_ACCOUNT by default."""
    at_least_once: Annotated[bool, FLAG] = False
    """Send again what was sent and may be written, so that a sample may count twice."""
    any_timestamp: Annotated[bool, FLAG] = False
    """Take timestamps that can hardly be meant: with an exponent, like a date in digits, of more than a year ago, or of
    more than a day from now."""


async def write(file: str, via: Via, sink: SinkOptions, options: JournalOptions, *, key_column: str | None) -> int:
    """Write the samples of *file*, print the figures, and return the exit status.

    Raises:
        InvalidArgumentError: an option, the file or the environment does not fit.
        CallError: it has ended the run; the figures are printed.
    """
    patience = options.patience_seconds
    if options.rate is not None and via == "mqtt":
        raise InvalidArgumentError("--rate: there are no requests over MQTT: leave it out")
    _check(via, sink)
    requests = RequestStats()
    if via == "mqtt":
        destination = _over_mqtt(sink, options, patience)
    else:
        destination = _over_http(via, sink, options, options.client_options(requests.observe))
    with open_source(
        file, partial(read_samples, key_column=key_column, any_timestamp=sink.any_timestamp), "--from"
    ) as source:
        journal = options.journal_path(None if source.path is None else f"{source.path}.write.journal")
        if journal is not None:
            check_journal(journal)
        run = WriteRun(
            title="metric write",
            source=source,
            options=options,
            counts=dict.fromkeys(("samples", "written", "failed", "unknown", "skipped"), 0),
            journal=journal,
            destination=destination,
            kind=Kind.REPLAYABLE if sink.at_least_once else Kind.ONCE,
            patience=patience,
        )
        await run.run()
    return run.report(requests.figures(seconds_only=via == "mqtt"))


def _check(via: Via, sink: SinkOptions) -> None:
    for name, option in _REQUIRED.items():
        is_given = getattr(sink, option) is not None
        if name == via and not is_given:
            raise InvalidArgumentError(f"--{option}: --via {via} needs it")
        if name != via and is_given:
            raise InvalidArgumentError(f"--{option}: belongs to --via {name}, not to {via}")
    if sink.create and via != "model":
        raise InvalidArgumentError(f"--create: belongs to --via model, not to {via}")


class _NoAutomationError(NotFoundError):
    """The automation is not there: no sample would fare better."""


def _is_about_automation(error: NotFoundError, name: str) -> bool:
    """Whether it is the automation called *name* that is not there, and not a device or another thing."""
    words = error.message.partition(name)
    return bool(words[1]) or re.search(r"\b(action|automation|trigger)s?\b", words[0], re.IGNORECASE) is not None


# Destinations ------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Destination:
    """Where samples are written, and how."""

    name: str
    """What the journal calls it."""
    device: str | None
    """For samples that have no dimensions."""
    concurrency: Concurrency
    """Samples in flight."""
    stop_on: tuple[type[CallError], ...] = AUTH_ERRORS
    """Errors that every other sample would meet as well."""
    connection: IotoClient | DeviceLink
    """What the samples go through."""
    sink: AutomationSink | ModelSink | LinkSink


def _over_http(via: Via, sink: SinkOptions, options: JournalOptions, client_options: ClientOptions) -> Destination:
    client = IotoClient(account_id=check_account(sink.account), **client_options)
    transport, again = client._transport, sink.at_least_once
    if sink.model is None:
        chosen: AutomationSink | ModelSink = AutomationSink(transport, name=sink.automation or "", at_least_once=again)
    else:
        chosen = ModelSink(transport, client.account_id, model=sink.model, create=sink.create, at_least_once=again)
    api = str(Settings.from_env(os.environ).api).rstrip("/")
    return Destination(
        name=_journal_name(f"{via} {sink.automation or sink.model} at {api}", sink.device),
        device=sink.device,
        concurrency=_concurrency(via, options),
        stop_on=(*AUTH_ERRORS, _NoAutomationError),
        connection=client,
        sink=chosen,
    )


def _over_mqtt(sink: SinkOptions, options: JournalOptions, patience: float) -> Destination:
    assert sink.certs is not None
    certificates = files.read_certificates(sink.certs, sink.device)
    try:
        link = DeviceLink(certificates, patience=patience, trust_env=True)
    except ModuleNotFoundError as error:
        raise InvalidArgumentError(f"--via: {error}") from None
    return Destination(
        name=_journal_name(f"mqtt at {certificates.endpoint}", certificates.id),
        device=certificates.id,
        concurrency=_concurrency("mqtt", options),
        connection=link,
        sink=LinkSink(link=link),
    )


def _journal_name(target: str, device: str | None) -> str:
    return f"metric write via {target}" + (f" for {device}" if device else "")


def _concurrency(via: Via, options: JournalOptions) -> Concurrency:
    return _CONCURRENCY.get(via, "auto") if options.concurrency == "auto" else options.concurrency


# The run -----------------------------------------------------------------------------------------------------------


@attrs.define(kw_only=True, eq=False)
class WriteRun(FileRun[SampleRow, None]):
    """A run of ``metric write``."""

    NAMELESS = "no metric"

    options: JournalOptions
    destination: Destination
    kind: Kind
    """What a second request for the same sample does."""
    patience: float
    """Seconds for which the cloud may take no samples."""
    late: LateSamples | None = attrs.field(factory=LateSamples, init=False)
    """Finds the first sample that is too late; None once it is found."""
    checker: Checker = attrs.field(factory=Checker, init=False)
    outage: Outage = attrs.field(factory=Outage, init=False)
    delivery: Delivery = attrs.field(init=False)
    joint: JointDelivery | None = attrs.field(init=False)
    """For a model, of which one request has several fields."""
    bulk: Bulk[SampleRow, None] = attrs.field(init=False)
    waiting_since: float | None = attrs.field(default=None, init=False)
    """When the cloud began to take no samples; seconds of the loop's clock. None if it takes some."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        sink = self.destination.sink
        self.delivery = Delivery(sink, self.outage)
        self.joint = JointDelivery(sink, self.delivery) if isinstance(sink, ModelSink) else None

    @asynccontextmanager
    async def open_bulk(
        self, rows: Iterable[SampleRow] | AsyncIterable[SampleRow]
    ) -> AsyncGenerator[Bulk[SampleRow, None], None]:
        """Open the bulk run, which sends each sample through the sink."""
        destination = self.destination
        connection = destination.connection
        bulk = connection.bulk if isinstance(connection, IotoClient) else Bulk
        self.bulk = bulk(
            self._write,
            rows,
            concurrency=destination.concurrency,
            journal=self.journal,
            name=destination.name,
            key=attrgetter("key"),
            kind=self.kind,
            through_client=True,  # else the delivery notes it
            retry_failed=self.options.retry_failed,
            stop_on=destination.stop_on,
            sequence_key=self._sequence_key,
            observer=self.observe,
        )
        try:
            async with connection, self.bulk:
                yield self.bulk
        finally:
            self.outage.close()

    def observe(self, progress: Progress) -> None:
        """Show the *progress*, and give up if the cloud was never reached, or has taken no samples for too long."""
        super().observe(progress)
        trouble, now = self.outage.cause, asyncio.get_running_loop().time()
        if trouble is None or self.is_stopped:
            self.waiting_since = None
            return
        # Over MQTT it is connected before the first sample.
        was_reached = self.outage.was_reached or isinstance(self.destination.connection, DeviceLink)
        is_unreachable = not was_reached and isinstance(trouble, ConnectionFailedError)
        if self.waiting_since is None:
            self.waiting_since = now
            if not is_unreachable:
                self.progress.print(f"waiting up to {self.patience:g} s for the cloud: {trouble}")
        if is_unreachable or now - self.waiting_since >= self.patience:
            self.error = trouble
            self.bulk.stop(str(trouble), grace=0)

    async def _write(self, row: SampleRow) -> None:
        """Write a sample.

        Raises:
            IotoError: it is not written, or if the effects of the task are in doubt, it may be.
        """
        sample = self._sample(row)
        self.destination.sink.check(sample)
        try:
            await (self.delivery.send((sample,)) if self.joint is None else self.joint.send(sample))
        except NotFoundError as error:
            sink = self.destination.sink
            if isinstance(sink, AutomationSink) and _is_about_automation(error, sink.name):
                raise _NoAutomationError(error.message, operation=error.operation, status=error.status) from error
            raise
        except IotoError:
            raise
        except Exception as error:
            raise IotoError(one_line(str(error))) from error  # of this sample, which is in doubt

    def _sequence_key(self, row: SampleRow) -> Hashable:
        try:
            sample = self._sample(row)
        except InvalidArgumentError:
            return None  # it is raised again when the sample is to be written
        return self.destination.sink.sequence_key((sample,)) if self.joint is None else self.joint.sequence_key(sample)

    def _sample(self, row: SampleRow) -> Sample:
        dimensions, device = row.dimensions, self.destination.device
        if dimensions is None:
            dimensions = {} if device is None else {"Device": device}
        return self.checker.sample(row.metric, row.value, dimensions, row.timestamp, row.key)

    def check(self, row: SampleRow) -> None:
        """Warn of the first sample that the service will drop."""
        if self.late is not None and self.late.is_late(row):
            self.late = None
            self.progress.print(
                f"line {row.line}: {row.metric}: the timestamp is more than five minutes before one of its series in a"
                " line before: the service drops such samples; have the file in the order of time"
            )

    def record(self, outcome: Outcome[SampleRow, None]) -> None:
        """Count an outcome."""
        self.counts["written" if outcome.status == "ok" else outcome.status] += 1
        if outcome.error is not None:
            prefix = "may be written: " if outcome.status == "unknown" else ""
            self.fail(outcome.item, f"{prefix}{outcome.error}")

    def summarize(self) -> None:
        """Say where the other failures are, and how to send samples again."""
        if self.error is not None:
            self.error.__notes__ = []  # they name the samples that have met it, but it concerns all
        where = "the journal has them all" if self.journal is not None else "--journal FILE notes them all"
        self.failures.finish(f"{where}{self.again(retry_failed=self.options.retry_failed)}")
        unknown, skipped = self.counts["unknown"], self.counts["skipped"]
        if self.earlier:
            self.progress.print(
                f"{self.earlier} have failed in an earlier run; --retry-failed sends such samples again"
            )
        if unknown:
            self.progress.print(f"{unknown} may be written; --at-least-once sends such samples again")
        if skipped:
            self.progress.print(f"{skipped} skipped: {self.journal} says that they are written{self.when_done()}")
