"""A dry run: the whole file is read and checked, and nothing is sent."""

import contextlib
from collections.abc import AsyncIterable
from pathlib import Path

from ...bulk import Journal
from ...transport.tasks import in_thread
from ..files import is_complete
from ..options import FleetOptions
from ..report import Failures, ProgressBar, print_report
from ..rows import BadRow, Row, RowError, Source, checked
from .jobs import Client, Job, JobSettings
from .journal import journal_name

__all__ = ["dry_run"]


async def dry_run(
    job: Job[Client], source: Source[Row], settings: JobSettings, options: FleetOptions, journal: Path | None
) -> int:
    """Print what a run would do, and return the exit status: 1 if there are rows that cannot be used.

    Raises:
        InvalidArgumentError: the rate is not a rate, or the journal is of something else.
    """
    options.limits()
    failures = Failures(ProgressBar(job.name, None, hidden=True).print)
    figures = dict.fromkeys(("devices", "to_do", "skipped", "failed_before", "failed"), 0)

    def accept(row: Row | BadRow) -> Row | None:
        figures["devices"] += 1
        try:
            return checked(row, lambda row: job.check(row, settings))
        except RowError as error:
            figures["failed"] += 1
            failures.add(row.line, row.label or "no id", str(error))
            return None

    async with contextlib.AsyncExitStack() as stack:
        known: Journal | None = None
        if journal is not None and journal.exists() and journal.stat().st_size:  # noqa: ASYNC240  nothing else runs
            known = Journal(journal, journal_name(job, options))
            await in_thread(known.open)
            stack.push_async_callback(known.close)
        rows = await stack.enter_async_context(source.rows(accept))
        if isinstance(rows, AsyncIterable):
            async for row in rows:
                figures[_plan(row, known, settings, options)] += 1
        else:
            for row in rows:
                figures[_plan(row, known, settings, options)] += 1
    failures.finish("--output jsonl tells of all")
    report: dict[str, object] = {**figures}
    if journal is not None:
        report["journal"] = str(journal)
    print_report(report, as_json=options.as_json, title=f"fleet {job.name}, dry run")
    return int(figures["failed"] > 0)


def _plan(row: Row, journal: Journal | None, settings: JobSettings, options: FleetOptions) -> str:
    """The figure that counts what a run would do with a *row*."""
    state = None if journal is None else journal.state(row.id)
    if state == "ok" and (settings.out is None or (not settings.overwrite and is_complete(settings.out / row.id))):
        return "skipped"
    return "failed_before" if state == "failed" and not options.retry_failed else "to_do"
