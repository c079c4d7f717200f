"""The journal of a fleet command: where it is, and what it says before a run."""

import os
from pathlib import Path
from typing import Final

import orjson

from ...bulk import Journal
from ...operations import Kind
from ...settings import Settings
from ...transport.tasks import in_thread
from ..files import is_complete
from ..options import RunOptions
from .jobs import Client, Job

__all__ = ["distrust", "journals_in", "name_of", "path_of"]

_BATCH: Final = 1000


def path_of(file: str, job: Job[Client], options: RunOptions, *, is_file: bool) -> Path | None:
    """Where the journal is; None for no journal.

    Update checks have none unless told: what they print today was not printed yesterday.

    Raises:
        InvalidArgumentError: both a journal and none are asked for, or failures of none.
    """
    command = f"{job.name}.{'journal' if options.dask is None else 'journals'}"
    return options.path(file, command, is_kept=is_file and file != "-" and job.kind is not Kind.READ)


def name_of(job: Job[Client], options: RunOptions) -> str:
    """What the journal is of: another command, or another service, has nothing to do with it.

    Raises:
        InvalidArgumentError: the environment names no service.
    """
    if options.dask is not None:
        return f"fleet {job.name}"  # each worker has an environment of its own
    return f"fleet {job.name} at {job.endpoint(Settings.from_env(os.environ)).rstrip('/')}"


def journals_in(path: Path) -> list[Path]:
    """The journals that are at *path*: itself, or those of a run on many machines."""
    return sorted(path.glob("shard-*.jsonl")) if path.is_dir() else [path]


async def distrust(path: Path, name: str | None, out: Path, *, overwrite: bool) -> None:
    """Have those provisioned again that the journal calls done and whose folder is not whole, or all of them.

    Args:
        path: the journal.
        name: what it is of.
        out: where each device has its folder.
        overwrite: whether everything is to be fetched again.
    """
    journal = Journal(path, name)
    await in_thread(journal.open)
    try:
        await in_thread(_distrust, journal, out, overwrite)
    finally:
        await journal.close()


def _distrust(journal: Journal, out: Path, overwrite: bool) -> None:
    changed = 0
    with journal.path.open("rb") as lines:
        for line in lines:
            entry = orjson.loads(line)
            key = entry.get("key")
            if entry.get("status") != "ok" or journal.state(key) != "ok":
                continue
            if overwrite or not is_complete(out / key):
                journal.forget(key)
                changed += 1
                if changed % _BATCH == 0:
                    journal.flush()
