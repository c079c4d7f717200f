"""``metric write``: the samples of a file, each noted in a journal."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Final, Literal, Self, Unpack

import attrs
from cyclopts import Parameter

from ...bulk import Bulk, BulkOptions, Outcome, Progress
from ...client import ClientOptions, IotoClient
from ...errors import CallError, ClientStateError, ConnectionFailedError, InvalidArgumentError, IotoError, NotFoundError
from ...metrics.link import LinkSink
from ...metrics.options import WriterOptions
from ...metrics.sample import Sample, UnwrittenError
from ...metrics.writer import Writer
from ...models import Certificates
from ...mqtt import DeviceLink
from ...operations import Kind
from ...settings import Settings
from .. import files
from ..options import FLAG, Concurrency, JournalOptions, check_journal
from ..report import RequestStats
from ..rows import open_source
from ..run import AUTH_ERRORS, FileRun
from .arguments import parse_duration
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
    patience: str = "60s"
    """How long the cloud may take no samples before the run ends. One that was never reached ends it at once, unless it
    is to be reached over MQTT."""


async def write(file: str, via: Via, sink: SinkOptions, options: JournalOptions, *, key_column: str | None) -> int:
    """Write the samples of *file*, print the figures, and return the exit status.

    Raises:
        InvalidArgumentError: an option, the file or the environment does not fit.
        CallError: it has ended the run; the figures are printed.
    """
    patience = parse_duration("--patience", sink.patience)
    if options.rate is not None and via == "mqtt":
        raise InvalidArgumentError("--rate: there are no requests over MQTT: leave it out")
    _check(via, sink)
    requests = RequestStats()
    if via == "mqtt":
        destination = _over_mqtt(sink, options, patience)
    else:
        destination = _over_http(via, sink, options, options.client_options(requests.observe))
    with open_source(file, partial(read_samples, key_column=key_column), "--from") as source:
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
    return run.report(requests.figures(seconds_only=destination.client is None))


def _check(via: Via, sink: SinkOptions) -> None:
    for name, option in _REQUIRED.items():
        is_given = getattr(sink, option) is not None
        if name == via and not is_given:
            raise InvalidArgumentError(f"--{option}: --via {via} needs it")
        if name != via and is_given:
            raise InvalidArgumentError(f"--{option}: belongs to --via {name}, not to {via}")
    if sink.create and via != "model":
        raise InvalidArgumentError(f"--create: belongs to --via model, not to {via}")


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
    client: IotoClient | None
    """Sends the samples; None over MQTT."""
    open: Callable[[WriterOptions], AbstractAsyncContextManager[Writer]]
    """Opens a writer."""


def _over_http(via: Via, sink: SinkOptions, options: JournalOptions, client_options: ClientOptions) -> Destination:
    client = IotoClient(account_id=sink.account, **client_options)

    @asynccontextmanager
    async def open_writer(chosen: WriterOptions) -> AsyncGenerator[Writer, None]:
        writer = client.metric.writer
        again = sink.at_least_once
        async with client:
            if sink.model is not None:
                opening = writer(via="model", model=sink.model, create=sink.create, at_least_once=again, **chosen)
            else:
                opening = writer(via="automation", name=sink.automation or "", at_least_once=again, **chosen)
            async with opening:
                yield opening

    api = str(Settings.from_env(os.environ).api).rstrip("/")
    return Destination(
        name=_journal_name(f"{via} {sink.automation or sink.model} at {api}", sink.device),
        device=sink.device,
        concurrency=_concurrency(via, options),
        # A NotFoundError of an automation is about the automation; it reports its variables in a 200.
        stop_on=(*AUTH_ERRORS, NotFoundError) if via == "automation" else AUTH_ERRORS,
        client=client,
        open=open_writer,
    )


def _over_mqtt(sink: SinkOptions, options: JournalOptions, patience: float) -> Destination:
    assert sink.certs is not None
    certificates = _read_certificates(sink.certs, sink.device)

    @asynccontextmanager
    async def open_writer(chosen: WriterOptions) -> AsyncGenerator[Writer, None]:
        try:
            link = DeviceLink(certificates, patience=patience)
        except ModuleNotFoundError as error:
            raise InvalidArgumentError(f"--via: {error}") from None
        async with link, Writer(LinkSink(link=link), **chosen) as writer:
            yield writer

    return Destination(
        name=_journal_name(f"mqtt at {certificates.endpoint}", certificates.id),
        device=certificates.id,
        concurrency=_concurrency("mqtt", options),
        client=None,
        open=open_writer,
    )


def _journal_name(target: str, device: str | None) -> str:
    return f"metric write via {target}" + (f" for {device}" if device else "")


def _concurrency(via: Via, options: JournalOptions) -> Concurrency:
    return _CONCURRENCY.get(via, "auto") if options.concurrency == "auto" else options.concurrency


def _read_certificates(path: Path, device: str | None) -> Certificates:
    """Read what `fleet provision` has written for a device.

    Args:
        path: the folder of the device, a file in it, or the folder of the fleet.
        device: ID of the device; None to take the one in the folder.

    Raises:
        InvalidArgumentError: a file is missing, is something else, or is of another device.
    """
    folder = path.parent if path.is_file() else path
    if device is not None and not (folder / files.PROVISION).exists():
        folder = folder / device
    contents: dict[str, bytes] = {}
    for name in (files.PROVISION, files.CERTIFICATE, files.KEY):
        content = files.read(folder / name)
        if content is None:
            hint = "" if device is not None else ": name the device by --device, or its own folder"
            raise InvalidArgumentError(f"--certs: no {name} in {folder}{hint}")
        contents[name] = content
    try:
        provision = json.loads(contents[files.PROVISION])
        id, account, endpoint, port = (provision.get(name) for name in ("id", "accountId", "endpoint", "port"))
    except (ValueError, AttributeError):
        raise InvalidArgumentError(f"--certs: {folder / files.PROVISION} is not what fleet provision writes") from None
    if device is not None and id != device:
        raise InvalidArgumentError(f"--certs: {folder} is of device {id}, not of {device}")
    return Certificates(
        id=id,
        account_id=account,
        endpoint=endpoint,
        port=port,
        certificate=contents[files.CERTIFICATE].decode(errors="replace"),
        key=contents[files.KEY].decode(errors="replace"),
    )


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

    @asynccontextmanager
    async def open_bulk(
        self, rows: Iterable[SampleRow] | AsyncIterable[SampleRow]
    ) -> "AsyncGenerator[_WriterBulk, None]":
        """Open the bulk run, which writes each sample by a writer."""
        destination = self.destination
        bulk = _WriterBulk(
            destination,
            rows,
            self.patience,
            self.progress.print,
            concurrency=destination.concurrency,
            journal=self.journal,
            name=destination.name,
            key=attrgetter("key"),
            kind=self.kind,
            retry_failed=self.options.retry_failed,
            stop_on=destination.stop_on,
            observer=self.observe,
        )
        async with bulk.opened():
            yield bulk
        self.error = bulk.given_up_for

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
        self.failures.finish(
            "the journal has them all" if self.journal is not None else "--journal FILE notes them all"
        )
        unknown, skipped = self.counts["unknown"], self.counts["skipped"]
        if self.earlier:
            self.progress.print(
                f"{self.earlier} have failed in an earlier run; --retry-failed sends such samples again"
            )
        if unknown:
            self.progress.print(f"{unknown} may be written; --at-least-once sends such samples again")
        if skipped:
            self.progress.print(f"{skipped} skipped: {self.journal} says that they are written")


# One engine on another ---------------------------------------------------------------------------------------------


class _WriterBulk:
    """A bulk run that hands each sample to a `Writer` and waits for its outcome.

    The bulk run reads the samples and keeps the journal. The writer sends those together that can share a request, and
    keeps them while the cloud is away.

    Args:
        destination: where the samples are written.
        rows: the samples.
        patience: seconds for which the cloud may take no samples.
        print_line: prints a line on stderr.
        options: of the bulk run.

    Attributes:
        given_up_for: the error that the cloud has answered with for too long; None if it has not.
    """

    def __init__(
        self,
        destination: Destination,
        rows: Iterable[SampleRow] | AsyncIterable[SampleRow],
        patience: float,
        print_line: Callable[[str], None],
        **options: Unpack[BulkOptions[SampleRow]],
    ) -> None:
        self._destination = destination
        self._patience = patience
        self._print = print_line
        self._observer = options.get("observer")
        options["observer"] = self._observe
        bulk = Bulk if destination.client is None else destination.client.bulk
        self._bulk: Bulk[SampleRow, None] = bulk(self._write, rows, **options)
        self._writer: Writer
        self._waiting: dict[str, asyncio.Future[Outcome[Sample, None]]] = {}
        self._is_reached = destination.client is None  # over MQTT it is connected before the first sample
        self._since: float | None = None
        """When the cloud began to take no samples; None if it takes some."""
        self._closing: asyncio.Task[None] | None = None
        self.given_up_for: CallError | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Self, None]:
        """Open the writer and the bulk run."""
        concurrency = self._destination.concurrency
        opening = self._destination.open({"count": 1, "concurrency": concurrency, "on_outcome": self._on_outcome})
        with contextlib.suppress(UnwrittenError):  # each of these samples has an outcome
            async with opening as self._writer:
                try:
                    async with self._bulk:
                        yield self
                except ClientStateError:
                    if self._closing is None:
                        raise

    def __aiter__(self) -> AsyncIterator[Outcome[SampleRow, None]]:
        return aiter(self._bulk)

    def stop(self, reason: str, *, grace: float | None) -> None:
        """Begin no further sample, and end those on their way after *grace* seconds."""
        self._bulk.stop(reason)
        # The writer knows which samples were sent, so it is what ends them.
        asyncio.get_running_loop().call_later(grace or 0, self._close)

    async def _write(self, row: SampleRow) -> None:
        """Write a sample, and wait for its outcome.

        Raises:
            IotoError: it is not written; if ``outcome_unknown`` is set, it may be.
        """
        dimensions, device = row.dimensions, self._destination.device
        if dimensions is None:
            dimensions = {} if device is None else {"Device": device}
        key = str(row.line)
        ended = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            await self._writer.write(row.metric, row.value, dimensions=dimensions, timestamp=row.timestamp, key=key)
            outcome = await ended
        finally:
            del self._waiting[key]
        if outcome.error is None:
            return
        if outcome.status == "unknown" and not getattr(outcome.error, "outcome_unknown", False):
            raise _OutcomeUnknownError(str(outcome.error)) from outcome.error
        raise outcome.error

    def _on_outcome(self, outcome: Outcome[Sample, None]) -> None:
        self._is_reached = self._is_reached or outcome.status != "unknown"
        ended = self._waiting.get(outcome.key)
        if ended is not None and not ended.done():
            ended.set_result(outcome)

    def _observe(self, progress: Progress) -> None:
        """Give up if the cloud was never reached, or has taken no samples for too long."""
        if self._observer is not None:
            self._observer(progress)
        trouble, now = self._writer.trouble, asyncio.get_running_loop().time()
        if trouble is None or self._closing is not None:
            self._since = None
            return
        is_unreachable = not self._is_reached and isinstance(trouble, ConnectionFailedError)
        if self._since is None:
            self._since = now
            if not is_unreachable:
                self._print(f"waiting up to {self._patience:g} s for the cloud: {trouble}")
        if isinstance(trouble, CallError) and (is_unreachable or now - self._since >= self._patience):
            self.given_up_for = trouble
            self._close()

    def _close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close_writer())

    async def _close_writer(self) -> None:
        with contextlib.suppress(UnwrittenError):
            await self._writer.aclose(grace=0)


class _OutcomeUnknownError(IotoError):
    """A sample that may be written."""

    outcome_unknown = True
