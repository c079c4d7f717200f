"""The journal of a fleet command: where it is, and what is changed in it before a run."""

import os
from pathlib import Path
from typing import Final

import orjson

from ...bulk import Journal
from ...errors import InvalidArgumentError
from ...operations import Kind
from ...settings import Settings
from ...transport.tasks import in_thread
from ..files import is_complete
from ..options import FleetOptions, check_journal
from ..rows import Row, Source
from .jobs import Client, Job, JobSettings

__all__ = ["journal_name", "journal_path", "prepare_journal"]

_BATCH: Final = 1000
"""Entries that are written at once."""


def journal_path(source: Source[Row], job: Job[Client], options: FleetOptions) -> Path | None:
    """The path of the journal; None to keep none.

    Update checks have none unless the options name one: their results change from day to day.

    Raises:
        InvalidArgumentError: the options contradict each other.
    """
    suffix = "journal" if options.dask is None else "journals"
    is_kept = source.path is not None and job.kind is not Kind.READ
    path = options.journal_path(f"{source.path}.{job.name}.{suffix}" if is_kept else None)
    if options.verify:
        if path is None:
            raise InvalidArgumentError("--verify: there is no journal that says what is done: give --journal")
        if options.dask is not None:
            raise InvalidArgumentError("--verify: --dask cannot do that: leave one of them out")
        if options.dry_run:
            raise InvalidArgumentError("--dry-run: nothing is sent, by --verify neither: leave it out")
    return path


def journal_name(job: Job[Client], options: FleetOptions) -> str:
    """What the journal is of: the command, and the service unless workers with environments of their own call it.

    Raises:
        InvalidArgumentError: the environment names no service.
    """
    name = f"fleet {job.name}"
    return name if options.dask is not None else f"{name} at {job.endpoint(Settings.from_env(os.environ)).rstrip('/')}"


async def prepare_journal(path: Path, job: Job[Client], settings: JobSettings, options: FleetOptions) -> None:
    """Create the journal if there is none, and have it forget the devices that are to be provisioned again.

    These are those whose folder is not complete, or all of them if files are to be overwritten.

    Raises:
        InvalidArgumentError: it cannot be written, or is of something else.
    """
    name = journal_name(job, options)
    check_journal(path, is_directory=options.dask is not None)
    if settings.out is None:
        return
    for file in sorted(path.glob("shard-*.jsonl")) if path.is_dir() else [path]:  # noqa: ASYNC240  nothing else runs
        journal = Journal(file, name)
        await in_thread(journal.open)
        try:
            await in_thread(_forget, journal, settings.out, settings.overwrite)
        finally:
            await journal.close()


def _forget(journal: Journal, out: Path, overwrite: bool) -> None:
    forgotten = 0
    with journal.path.open("rb") as lines:
        for line in lines:
            entry = orjson.loads(line)
            key = entry.get("key")
            if entry.get("status") != "ok" or journal.state(key) != "ok":
                continue
            if overwrite or not is_complete(out / key):
                journal.forget(key)
                forgotten += 1
                if forgotten % _BATCH == 0:
                    journal.flush()
