"""``metric write``: the samples of a file, each noted in a journal.

A bulk run writes one sample after the other, many at once; a writer is what it calls, and has them travel together
where they can, kept while the cloud is away, and each told what became of it.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

import attrs
from cyclopts import Parameter

from ...bulk import Bulk, BulkOptions, EarlierError, Outcome, Progress
from ...client import ClientOptions, IotoClient
from ...errors import CallError, ClientStateError, ConnectionFailedError, InvalidArgumentError, IotoError, NotFoundError
from ...metrics.link import LinkWay
from ...metrics.options import WriterOptions
from ...metrics.sample import Sample, UnwrittenError
from ...metrics.writer import Writer
from ...models import Certificates
from ...mqtt import DeviceLink
from ...operations import Kind
from ...settings import Settings
from .. import files
from ..options import JournaledPace, check_journal, connections
from ..report import FLAG, ProgressBar, Stopwatch, print_report
from ..rows import BadRow, Source, opened
from ..run import REFUSED, Failures, Interruption, Screen
from .arguments import seconds_of
from .samples import Order, SampleRow, count_samples, read_samples

__all__ = ["Destination", "Via", "WayOptions", "destination", "write"]


Via = Literal["automation", "model", "mqtt"]

_NEEDED: Final[dict[str, str]] = {"automation": "automation", "model": "model", "mqtt": "certs"}
"""The option that each way cannot do without, and no other has."""
_AT_ONCE: Final[dict[str, int]] = {"model": 256, "mqtt": 100}
"""Samples at once, where that does not follow what the service can do: a request of a model has several of them."""


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class WayOptions:
    """What the ways need."""

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


Open = Callable[[WriterOptions], AbstractAsyncContextManager[Writer]]


@attrs.frozen(kw_only=True)
class Destination:
    """Where samples go, and how."""

    name: str
    """What a journal calls it."""
    device: str | None
    """For samples that have no dimensions."""
    concurrency: int | Literal["auto"]
    """Samples at once."""
    stop_on: tuple[type[IotoError], ...]
    """What no other sample would fare better with."""
    client: IotoClient | None
    """Whose requests carry them; None over MQTT."""
    open: Open
    """Opens a writer."""


def destination(
    via: Via, options: WayOptions, concurrency: int | Literal["auto"], client_options: ClientOptions
) -> Destination:
    """Find out where samples go that go that way.

    Args:
        via: the way.
        options: what it needs.
        concurrency: samples at once.
        client_options: of the client, if there is one.

    Raises:
        InvalidArgumentError: an option is missing or does not fit, or the environment names no cloud.
    """
    _check(via, options)
    if concurrency == "auto" and via in _AT_ONCE:
        concurrency = _AT_ONCE[via]
    if via == "mqtt":
        return _over_mqtt(options, concurrency)
    client = IotoClient(account_id=options.account, **client_options)
    metric, again = client.metric, options.at_least_once

    @asynccontextmanager
    async def open_(chosen: WriterOptions) -> AsyncGenerator[Writer, None]:
        async with client:
            if options.model is not None:
                model, create = options.model, options.create
                writer = metric.writer(via="model", model=model, create=create, at_least_once=again, **chosen)
            else:
                name = options.automation or ""
                writer = metric.writer(via="automation", name=name, at_least_once=again, **chosen)
            async with writer:
                yield writer

    target = f"{via} {options.automation or options.model} at {str(Settings.from_env(os.environ).api).rstrip('/')}"
    # What an automation does not find is itself; of its variables it complains in a 200.
    stop_on = (*REFUSED, NotFoundError) if via == "automation" else REFUSED
    return _named(target, options.device, concurrency, stop_on, client, open_)


def _over_mqtt(options: WayOptions, concurrency: int | Literal["auto"]) -> Destination:
    assert options.certs is not None
    certificates = _certificates(options.certs, options.device)
    patience = seconds_of("--patience", options.patience)

    @asynccontextmanager
    async def open_(chosen: WriterOptions) -> AsyncGenerator[Writer, None]:
        try:
            link = DeviceLink(certificates, patience=patience)
        except ModuleNotFoundError as error:
            raise InvalidArgumentError(f"--via: {error}") from None
        async with link, Writer(LinkWay(link=link), **chosen) as writer:
            yield writer

    return _named(f"mqtt at {certificates.endpoint}", certificates.id, concurrency, REFUSED, None, open_)


def _named(
    target: str,
    device: str | None,
    concurrency: int | Literal["auto"],
    stop_on: tuple[type[IotoError], ...],
    client: IotoClient | None,
    open_: Open,
) -> Destination:
    name = f"metric write via {target}" + (f" for {device}" if device else "")
    return Destination(name=name, device=device, concurrency=concurrency, stop_on=stop_on, client=client, open=open_)


def _check(via: Via, options: WayOptions) -> None:
    for way, name in _NEEDED.items():
        given = getattr(options, name) is not None
        if way == via and not given:
            raise InvalidArgumentError(f"--{name}: --via {via} needs it")
        if way != via and given:
            raise InvalidArgumentError(f"--{name}: belongs to --via {way}, not to {via}")
    if options.create and via != "model":
        raise InvalidArgumentError(f"--create: belongs to --via model, not to {via}")


def _certificates(path: Path, device: str | None) -> Certificates:
    """What `fleet provision` has written for a device."""
    folder = path.parent if path.is_file() else path
    if device is not None and not (folder / files.PROVISION).exists():
        folder = folder / device
    found: dict[str, bytes] = {}
    for name in (files.PROVISION, files.CERTIFICATE, files.KEY):
        content = files.read(folder / name)
        if content is None:
            hint = "" if device is not None else ": name the device by --device, or its own folder"
            raise InvalidArgumentError(f"--certs: no {name} in {folder}{hint}")
        found[name] = content
    try:
        known = json.loads(found[files.PROVISION])
        id, account, endpoint, port = (known.get(name) for name in ("id", "accountId", "endpoint", "port"))
    except (ValueError, AttributeError):
        raise InvalidArgumentError(f"--certs: {folder / files.PROVISION} is not what fleet provision writes") from None
    if device is not None and id != device:
        raise InvalidArgumentError(f"--certs: {folder} is of device {id}, not of {device}")
    return Certificates(
        id=id,
        account_id=account,
        endpoint=endpoint,
        port=port,
        certificate=found[files.CERTIFICATE].decode(errors="replace"),
        key=found[files.KEY].decode(errors="replace"),
    )


_TITLE: Final = "metric write"


async def write(file: str, via: Via, way: WayOptions, pace: JournaledPace, *, key_column: str | None) -> int:
    """Write the samples of *file*, print what came of it, and return the exit status.

    Raises:
        InvalidArgumentError: an option, the file or the environment does not fit.
        IotoError: it has ended the run; the figures are printed.
    """
    patience = seconds_of("--patience", way.patience)
    if pace.rate is not None and via == "mqtt":
        raise InvalidArgumentError("--rate: there are no requests over MQTT: leave it out")
    stopwatch, interruption = Stopwatch(), Interruption()
    target = destination(
        via,
        way,
        pace.concurrency,
        {"limit": connections(pace.concurrency), "limits": pace.limits(), "observer": stopwatch.observe},
    )
    stop: IotoError | None = None
    read, count = partial(read_samples, key_column=key_column), partial(count_samples, key_column=key_column)
    with opened(file, read, count, "--from") as source:
        journal = pace.path(file, "write.journal", is_kept=source.total is not None and file != "-")
        if journal is not None:
            check_journal(journal)
        with ProgressBar(_TITLE, source.total) as bar:
            results = _Results(bar)
            sender = _Sender(target, patience, bar)
            kind = Kind.REPLAYABLE if way.at_least_once else Kind.ONCE
            try:
                stop = await _go_through(target, source, kind, journal, pace, sender, results, bar, interruption)
            except (*REFUSED, ConnectionFailedError) as error:  # before there was anything to write
                stop = error
        results.finish(journal)
    figures: dict[str, object] = {**results.counts, **stopwatch.figures(in_part=target.client is None)}
    if journal is not None:
        figures["journal"] = str(journal)
    if stop is not None or interruption.by is not None:
        figures["stopped"] = str(stop) if interruption.by is None else f"by {interruption.by.name}"
    print_report(figures, as_json=pace.as_json, title=_TITLE)
    if stop is not None:
        stop.__notes__ = []  # which samples have met it is no matter: no other would fare better
        raise stop
    return interruption.status or int(results.counts["failed"] + results.counts["unknown"] > 0)


async def _go_through(
    target: Destination,
    source: Source[SampleRow | BadRow],
    kind: Kind,
    journal: Path | None,
    pace: JournaledPace,
    sender: "_Sender",
    results: "_Results",
    bar: ProgressBar,
    interruption: Interruption,
) -> IotoError | None:
    """Write the samples; returns why that has ended before all of them, if it has."""

    def observe(progress: Progress) -> None:
        bar.show(progress, results.not_sent)
        sender.look()

    options: BulkOptions[SampleRow] = {
        "concurrency": target.concurrency,
        "journal": journal,
        "name": target.name,
        "key": _key_of,
        "kind": kind,
        "retry_failed": pace.retry_failed,
        "stop_on": target.stop_on,
        "observer": observe,
    }
    async with AsyncExitStack() as stack:
        rows: Iterable[SampleRow] | AsyncIterable[SampleRow] = results.good(source.rows())
        if source.total is None:
            rows = await stack.enter_async_context(aclosing(_piped(source, results)))
        # What is not written has been told of, sample by sample.
        stack.enter_context(contextlib.suppress(UnwrittenError))
        opening = target.open({"count": 1, "concurrency": target.concurrency, "on_outcome": sender.told})
        sender.writer = await stack.enter_async_context(opening)
        run = Bulk(sender, rows, **options) if target.client is None else target.client.bulk(sender, rows, **options)
        await stack.enter_async_context(run)
        stack.enter_context(interruption.of(_Stoppable(run, sender), bar.say))
        try:
            async for outcome in run:
                results.take(outcome)
        except target.stop_on as error:
            return error
        except ClientStateError:
            if not sender.is_closed:
                raise
        return sender.gone


async def _piped(source: Source[SampleRow | BadRow], results: "_Results") -> AsyncGenerator[SampleRow, None]:
    async with aclosing(source.piped_rows()) as rows:
        async for row in rows:
            for good in results.good((row,)):
                yield good


def _key_of(row: SampleRow) -> str:
    return row.key


class _Stoppable:
    """A run that is stopped together with the writer that it calls."""

    def __init__(self, run: Bulk[SampleRow, None], sender: "_Sender") -> None:
        self._run = run
        self._sender = sender

    def stop(self, reason: str, *, grace: float | None) -> None:
        """Begin no further sample, and end those on their way after *grace* seconds."""
        self._run.stop(reason)
        # The writer knows of each whether it was sent, so that it is what ends them.
        asyncio.get_running_loop().call_later(grace or 0, self._sender.close)


class _Sender:
    """Writes one sample, and waits for its outcome.

    Args:
        target: where to.
        patience: seconds for which the cloud may take nothing.
        screen: where that is told.

    Attributes:
        writer: carries them.
        gone: what the cloud has failed with for too long.
        is_closed: whether the writer was closed before all samples were written.
    """

    writer: Writer

    def __init__(self, target: Destination, patience: float, screen: Screen) -> None:
        self._device = target.device
        self._patience = patience
        self._screen = screen
        self._waiting: dict[str, asyncio.Future[Outcome[Sample, None]]] = {}
        self._is_reached = target.client is None  # a link is not open before it is connected
        self._since: float | None = None
        self._closing: asyncio.Task[None] | None = None
        self.gone: CallError | None = None

    @property
    def is_closed(self) -> bool:
        return self._closing is not None

    async def __call__(self, row: SampleRow) -> None:
        """Write a sample.

        Raises:
            IotoError: it is not written; with ``outcome_unknown`` set it may be.
        """
        dimensions = row.dimensions
        if dimensions is None:
            dimensions = {} if self._device is None else {"Device": self._device}
        key = str(row.line)
        ended = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            await self.writer.write(row.metric, row.value, dimensions=dimensions, timestamp=row.timestamp, key=key)
            outcome = await ended
        finally:
            del self._waiting[key]
        if outcome.error is None:
            return
        if outcome.status == "unknown" and not getattr(outcome.error, "outcome_unknown", False):
            raise _InDoubtError(str(outcome.error)) from outcome.error
        raise outcome.error

    def told(self, outcome: Outcome[Sample, None]) -> None:
        """Hand over the outcome of a sample."""
        self._is_reached = self._is_reached or outcome.status != "unknown"
        ended = self._waiting.get(outcome.key)
        if ended is not None and not ended.done():
            ended.set_result(outcome)

    def look(self) -> None:
        """Give up on a cloud that is gone: it never answered, or takes nothing for too long."""
        trouble, now = self.writer.trouble, asyncio.get_running_loop().time()
        if trouble is None or self.is_closed:
            self._since = None
            return
        is_lost = not self._is_reached and isinstance(trouble, ConnectionFailedError)
        if self._since is None:
            self._since = now
            if not is_lost:
                self._screen.say(f"waiting up to {self._patience:g} s for the cloud: {trouble}")
        if isinstance(trouble, CallError) and (is_lost or now - self._since >= self._patience):
            self.gone = trouble
            self.close()

    def close(self) -> None:
        """End the samples on their way."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())

    async def _close(self) -> None:
        with contextlib.suppress(UnwrittenError):
            await self.writer.aclose(grace=0)


class _InDoubtError(IotoError):
    """A sample that may be written."""

    outcome_unknown = True


class _Results:
    """Counts the samples, and tells of those that are not written.

    Attributes:
        counts: the figures.
        not_sent: rows that are no samples.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._failures = Failures(screen)
        self.counts = dict.fromkeys(("samples", "written", "failed", "unknown", "skipped"), 0)
        self.not_sent = 0
        self._earlier = 0
        self._order: Order | None = Order()

    def good(self, rows: Iterable[SampleRow | BadRow]) -> Iterator[SampleRow]:
        """The *rows* that are samples; the others have failed."""
        for row in rows:
            if isinstance(row, SampleRow):
                self._look(row)
                yield row
                continue
            self.not_sent += 1
            self._count("failed")
            self._failures.tell(row.line, row.id or "no metric", row.reason)

    def _look(self, row: SampleRow) -> None:
        """Warn of the first sample that the service will take, and drop."""
        if self._order is not None and self._order.is_late(row):
            self._order = None
            self._screen.say(
                f"line {row.line}: {row.metric}: the timestamp is more than five minutes before one of its series in a"
                " line before: the service drops such samples; have the file in the order of time"
            )

    def take(self, outcome: Outcome[SampleRow, None]) -> None:
        """Note what became of a sample.

        Raises:
            Exception: that of the outcome, if it is none that a sample can be blamed for.
        """
        row, error = outcome.item, outcome.error
        if error is not None and not isinstance(error, (IotoError, OSError)):
            raise error
        self._count("written" if outcome.status == "ok" else outcome.status)
        if error is not None:
            self._earlier += isinstance(error, EarlierError) and outcome.status == "failed"
            doubt = "may be written: " if outcome.status == "unknown" else ""
            self._failures.tell(row.line, row.metric, f"{doubt}{error}")

    def _count(self, status: str) -> None:
        self.counts["samples"] += 1
        self.counts[status] += 1

    def finish(self, journal: Path | None) -> None:
        """Say on stderr what the lines there have left out."""
        self._failures.finish("the journal has them all" if journal is not None else "--journal FILE notes them all")
        if self._earlier:
            self._screen.say(f"{self._earlier} have failed in an earlier run; --retry-failed sends such samples again")
        if self.counts["unknown"]:
            self._screen.say(f"{self.counts['unknown']} may be written; --at-least-once sends such samples again")
        if self.counts["skipped"]:
            self._screen.say(f"{self.counts['skipped']} skipped: {journal} says that they are written")
