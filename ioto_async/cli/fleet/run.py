"""A run of a fleet command, from the file to the exit status."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Generic

import attrs

from ...bulk import Bulk, Outcome
from ...errors import InvalidArgumentError
from ..files import Manifest
from ..options import FleetOptions, OutputFormat, check_account
from ..report import RequestStats
from ..rows import BadRow, Row, RowError, open_source, read_rows
from ..run import AUTH_ERRORS, CircuitBreaker, Ending, FileRun, UnreachableError
from .dask import dask_bulk
from .dry_run import dry_run
from .jobs import Client, Done, Job, JobSettings
from .journal import journal_name, journal_path, prepare_journal
from .results import Print, RowResult, printer

if TYPE_CHECKING:
    from ...distributed import DistributedBulk

__all__ = ["FleetRun", "run"]


async def run(
    job: Job[Client], file: str, settings: JobSettings, options: FleetOptions, *, output: OutputFormat | None = None
) -> int:
    """Do *job* for every row of *file*, print the results, and return the exit status.

    Args:
        job: what is done.
        file: path of the fleet file, or ``-``.
        settings: of the job.
        options: of the run.
        output: how results are printed if the options neither say that nor ask for figures as JSON.

    Raises:
        InvalidArgumentError: an option, the file or the environment does not fit.
        IotoError: it has ended the run; the figures are printed.
        OSError: the same, such as for a full disk.
    """
    check_account(settings.account)
    output = options.output or (None if options.as_json else output)
    requests = RequestStats()
    read = partial(read_rows, id_column=options.id_column, needed=job.columns(settings))
    with open_source(file, read) as source, Ending() as ending, ExitStack() as stack:
        journal = journal_path(source, job, options)
        if options.dry_run:
            if options.dask is not None:
                raise InvalidArgumentError("--dry-run: nothing is sent, by --dask neither: leave it out")
            return await dry_run(job, source, settings, options, journal)
        # Workers of a cluster have clients of their own.
        is_local = options.dask is None
        client = job.client(settings, options.client_options(requests.observe)) if is_local else None
        manifest = None if settings.out is None else stack.enter_context(Manifest(settings.out))
        if journal is not None:
            await prepare_journal(journal, job, settings, options)
        fleet_run = FleetRun(
            title=f"fleet {job.name}",
            source=source,
            options=options,
            counts=dict.fromkeys(("devices", *job.results, "failed", "unknown", "skipped"), 0),
            journal=journal,
            uses_stdout=output is not None,
            job=job,
            client=client,
            settings=settings,
            manifest=manifest,
            print_row=None if output is None else printer(output, job),
        )
        ending.run = fleet_run
        await fleet_run.run()
    figures: dict[str, object] = {**requests.figures(seconds_only=not is_local)}
    if manifest is not None:
        figures |= {"out": str(settings.out), "manifest": str(manifest.path)}
    return fleet_run.report(figures)


@attrs.define(kw_only=True, eq=False)
class FleetRun(FileRun[Row, Done], Generic[Client]):
    """A run of a fleet command."""

    job: Job[Client]
    client: Client | None
    """Makes the calls; None if workers of a Dask cluster do."""
    settings: JobSettings
    options: FleetOptions
    manifest: Manifest | None = None
    """Has a line for each row; None if there is no folder for results."""
    print_row: Print | None = None
    """Prints the result of a row; None if only figures are printed."""

    @asynccontextmanager
    async def open_bulk(
        self, rows: Iterable[Row] | AsyncIterable[Row]
    ) -> "AsyncGenerator[Bulk[Row, Done] | DistributedBulk[Row, Done], None]":
        """Open the bulk run, whose calls are made here or on a Dask cluster."""
        client, job, settings, options, journal = self.client, self.job, self.settings, self.options, self.journal
        if client is None:
            async with dask_bulk(
                job, rows, settings, options, journal, self.observe, self.progress.print
            ) as distributed:
                yield distributed
            return

        async def call(row: Row) -> Done:
            return await job.call(client, row, settings)

        async def look_up(row: Row) -> bool | None:
            return None if job.reconcile is None else await job.reconcile(client, row, settings)

        async def is_still_done(row: Row) -> bool:
            return job.verify is not None and await job.verify(client, row, settings)

        bulk = client.bulk(
            CircuitBreaker(call, options.patience_seconds, self.progress.print),
            rows,
            concurrency=options.concurrency,
            journal=journal,
            name=None if journal is None else journal_name(job, options),
            key=attrgetter("key"),
            kind=job.kind,
            through_client=True,
            reconcile=None if job.reconcile is None else look_up,
            verify=CircuitBreaker(is_still_done, options.patience_seconds) if options.verify else None,
            retry_failed=options.retry_failed,
            stop_on=(*AUTH_ERRORS, UnreachableError),
            observer=self.observe,
        )
        async with client, bulk:
            yield bulk

    def check(self, row: Row) -> None:
        """Check the row as the job does."""
        self.job.check(row, self.settings)

    def record(self, outcome: Outcome[Row, Done]) -> None:
        """Count an outcome, and write it to the manifest and the output."""
        row, error = outcome.item, outcome.error
        is_skipped = outcome.status == "skipped"
        done = self.job.when_skipped if is_skipped else outcome.value
        claimed = done.claimed if done is not None else error.claimed if isinstance(error, RowError) else None
        if outcome.status != "ok":
            self.counts[outcome.status] += 1
        if done is not None:
            self.counts[done.result] += 1
        if claimed is not None and not is_skipped:  # what the cloud says of a skipped one now is not known
            self.counts["claimed" if claimed == "now" else "already_claimed"] += 1
        self._write(
            RowResult(
                line=row.line,
                id=row.id,
                status=outcome.status,
                done=done,
                error=None if error is None else str(error),
                claimed=claimed,
                attempts=outcome.attempts,
                elapsed=outcome.elapsed,
                done_at=outcome.done_at,
            )
        )
        if error is not None:
            self.fail(row, str(error))

    def record_refused(self, row: Row | BadRow, reason: str) -> None:
        """Write a row that cannot be used to the manifest and the output."""
        # What stands in place of an ID is not the ID of a device.
        id = row.id if isinstance(row, Row) else None
        self._write(RowResult(line=row.line, id=id, text=row.label, status="failed", error=reason))

    def _write(self, result: RowResult) -> None:
        if self.manifest is not None:
            self.manifest.write(result.manifest_entry())
        is_counted = self.options.output is None and result.done is not None and result.done.result in self.job.counted
        if self.print_row is not None and not is_counted:
            self.print_row(result.members())

    def summarize(self) -> None:
        """Say where the other failures are, and what to do about those of earlier runs."""
        in_manifest = None if self.manifest is None else f"see {self.manifest.path}"
        again = self.again(retry_failed=self.options.retry_failed)
        self.failures.finish(f"{in_manifest or '--output jsonl tells of all'}{again}")
        if self.earlier:
            self.progress.print(f"{self.earlier} of them failed in an earlier run: --retry-failed tries them again")
        skipped = self.counts["skipped"]
        if skipped and self.options.verify:
            self.progress.print(f"{skipped} skipped: they are done, as the service says")
        elif skipped:
            hint = "" if self.client is None else "; --verify asks the service whether they still are"
            self.progress.print(f"{skipped} skipped: {self.journal} says that they are done{self.when_done()}{hint}")
