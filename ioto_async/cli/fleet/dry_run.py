"""A dry run: the whole file is read and checked, and nothing is sent."""

import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

from ...bulk import Journal
from ...transport.tasks import in_thread
from ..files import is_complete
from ..options import RunOptions
from ..report import ProgressBar, print_report
from ..rows import BadRow, Row, Source
from .jobs import Client, Job, JobSettings
from .journal import name_of
from .results import Results

__all__ = ["rehearse"]


async def rehearse(
    job: Job[Client], source: Source[Row | BadRow], settings: JobSettings, options: RunOptions, journal: Path | None
) -> int:
    """Tell what a run would do, and return the exit status: 1 if there are rows that are no good."""
    options.limits()
    results = Results(job, ProgressBar(job.name, None, hidden=True), None, None)
    figures = {"devices": 0, "to_do": 0, "skipped": 0, "failed_before": 0}
    async with contextlib.AsyncExitStack() as stack:
        known: Journal | None = None
        if journal is not None and journal.exists() and journal.stat().st_size:  # noqa: ASYNC240  nothing else runs
            known = Journal(journal, name_of(job, options))
            await in_thread(known.open)
            stack.push_async_callback(known.close)
        rows = await stack.enter_async_context(contextlib.aclosing(_each(source)))
        async for row in rows:
            figures["devices"] += 1
            good = results.admits(row, job, settings)
            if good is not None:
                figures[_fate(good, known, settings, options)] += 1
    results.finish(journal)
    report: dict[str, object] = {**figures, "failed": results.not_sent}
    if journal is not None:
        report["journal"] = str(journal)
    print_report(report, as_json=options.as_json, title=f"fleet {job.name}, dry run")
    return 0 if results.are_good else 1


async def _each(source: Source[Row | BadRow]) -> AsyncGenerator[Row | BadRow, None]:
    if source.total is None:
        async with contextlib.aclosing(source.piped_rows()) as rows:
            async for row in rows:
                yield row
    else:
        for row in source.rows():
            yield row


def _fate(row: Row, journal: Journal | None, settings: JobSettings, options: RunOptions) -> str:
    state = None if journal is None else journal.state(row.id)
    if state == "ok" and (settings.out is None or (not settings.overwrite and is_complete(settings.out / row.id))):
        return "skipped"
    return "failed_before" if state == "failed" and not options.retry_failed else "to_do"
