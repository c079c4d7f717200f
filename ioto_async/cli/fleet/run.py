"""A run of a fleet command, from the open file to the exit status."""

import sys
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...bulk import Bulk, Progress
from ...errors import InvalidArgumentError
from ..files import Manifest
from ..options import Form, RunOptions, check_journal, connections
from ..report import ProgressBar, Stopwatch, print_report
from ..rows import BadRow, Row, Source, count_rows, opened, read_rows
from ..run import REFUSED, Interruption, Reaching, Unreachable, patience_of
from .dask import spread
from .dry_run import rehearse
from .jobs import Client, Done, Job, JobSettings
from .journal import distrust, journals_in, name_of, path_of
from .results import Results, printer

if TYPE_CHECKING:
    from ...client import ClientOptions
    from ...distributed import DistributedBulk
    from ...errors import CallError

__all__ = ["calls", "run"]


async def run(
    job: Job[Client], file: str, settings: JobSettings, options: RunOptions, *, output: Form | None = None
) -> int:
    """Do *job* for every row of *file*, print what came of it, and return the exit status.

    Args:
        job: what is done.
        file: path of the fleet file, or ``-``.
        settings: of the job.
        options: of the run.
        output: what to print for every row if the options do not say it, nor ask for figures as JSON.

    Raises:
        InvalidArgumentError: an option, the file or the environment does not fit.
        CallError: it has ended the run; the figures are printed.
    """
    output = options.output or (None if options.as_json else output)
    title = f"fleet {job.name}"
    stopwatch = Stopwatch()
    interruption = Interruption()
    stop: CallError | None = None
    rows = partial(read_rows, id_column=options.id_column)
    count = partial(count_rows, id_column=options.id_column)
    with opened(file, rows, count) as source, ExitStack() as stack:
        journal = path_of(file, job, options, is_file=source.total is not None)
        if options.dry_run:
            if options.dask is not None:
                raise InvalidArgumentError("--dry-run: nothing is sent, by --dask neither: leave it out")
            return await rehearse(job, source, settings, options, journal)
        # Where workers do the run, they have the credentials.
        client = _client(job, settings, options, stopwatch) if options.dask is None else None
        manifest = None
        if settings.out is not None:
            try:
                settings.out.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise InvalidArgumentError(f"--out: {error.strerror}: {settings.out}") from None
            manifest = stack.enter_context(Manifest(settings.out))
        name = None if journal is None else name_of(job, options)
        await _prepare(journal, name, settings, options)
        # A bar and lines of results on one terminal would write over each other.
        bar = ProgressBar(title, source.total, hidden=output is not None and sys.stdout.isatty())
        stack.enter_context(bar)
        results = Results(job, bar, manifest, None if output is None else printer(output, job))
        try:
            await _go_through(job, client, source, settings, options, journal, results, bar, interruption)
        except REFUSED as error:
            stop = error
        except Unreachable as unreachable:
            stop = unreachable.error
        results.finish(journal)
    figures: dict[str, object] = {**results.counts, **stopwatch.figures(in_part=client is None)}
    if manifest is not None:
        figures |= {"out": str(settings.out), "manifest": str(manifest.path)}
    if journal is not None:
        figures["journal"] = str(journal)
    if stop is not None or interruption.by is not None:
        figures["stopped"] = str(stop) if interruption.by is None else f"by {interruption.by.name}"
    print_report(figures, as_json=options.as_json, title=title, aside=output is not None)
    if stop is not None:
        raise stop
    return interruption.status or (0 if results.are_good else 1)


def _client(job: Job[Client], settings: JobSettings, options: RunOptions, stopwatch: Stopwatch) -> Client:
    client_options: ClientOptions = {
        "limit": connections(options.concurrency),
        "limits": options.limits(),
        "observer": stopwatch.observe,
    }
    return job.client(settings, client_options)


async def _prepare(journal: Path | None, name: str | None, settings: JobSettings, options: RunOptions) -> None:
    if journal is not None:
        check_journal(journal, is_directory=options.dask is not None)
        if settings.out is not None:
            for path in journals_in(journal):
                await distrust(path, name, settings.out, overwrite=settings.overwrite)


async def _go_through(
    job: Job[Client],
    client: Client | None,
    source: Source[Row | BadRow],
    settings: JobSettings,
    options: RunOptions,
    journal: Path | None,
    results: Results,
    bar: ProgressBar,
    interruption: Interruption,
) -> None:
    def observe(progress: Progress) -> None:
        bar.show(progress, results.not_sent)

    async with AsyncExitStack() as stack:
        rows: Iterable[Row] | AsyncIterable[Row] = _good(job, source, settings, results)
        if source.total is None:
            rows = await stack.enter_async_context(aclosing(_good_piped(job, source, settings, results)))
        outcomes: Bulk[Row, Done] | DistributedBulk[Row, Done]
        if client is not None:
            await stack.enter_async_context(client)
            outcomes = calls(job, client, rows, settings, options, journal, observe)
            await stack.enter_async_context(outcomes)
        else:
            limit = connections(options.concurrency)
            running = spread(options.dask or "", job, rows, settings, options, journal, observe, limit=limit)
            outcomes = await stack.enter_async_context(running)
        stack.enter_context(interruption.of(outcomes, bar.say))
        async for outcome in outcomes:
            results.take(outcome)


def _good(job: Job[Client], source: Source[Row | BadRow], settings: JobSettings, results: Results) -> Iterator[Row]:
    for row in source.rows():
        if (good := results.admits(row, job, settings)) is not None:
            yield good


async def _good_piped(
    job: Job[Client], source: Source[Row | BadRow], settings: JobSettings, results: Results
) -> AsyncGenerator[Row, None]:
    async with aclosing(source.piped_rows()) as rows:
        async for row in rows:
            if (good := results.admits(row, job, settings)) is not None:
                yield good


def calls(
    job: Job[Client],
    client: Client,
    rows: Iterable[Row] | AsyncIterable[Row],
    settings: JobSettings,
    options: RunOptions,
    journal: Path | None,
    observer: Callable[[Progress], None],
) -> Bulk[Row, Done]:
    """The bulk run that does *job* for *rows* on this machine; it ends with an error of `REFUSED`, or `Unreachable`."""

    async def call(row: Row) -> Done:
        return await job.call(client, row, settings)

    async def look_up(row: Row) -> bool | None:
        return None if job.reconcile is None else await job.reconcile(client, row, settings)

    return client.bulk(
        Reaching(call, patience_of(options.concurrency)),
        rows,
        concurrency=options.concurrency,
        journal=journal,
        name=None if journal is None else name_of(job, options),
        key=_id_of,
        kind=job.kind,
        through_client=True,
        reconcile=None if job.reconcile is None else look_up,
        retry_failed=options.retry_failed,
        stop_on=(*REFUSED, Unreachable),
        observer=observer,
    )


def _id_of(row: Row) -> str:
    return row.id
