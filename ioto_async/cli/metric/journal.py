"""The journal of ``metric export``: what an interrupted run has read, and the range that it has read it of."""

import math
import os
import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

import attrs
import orjson

from ...bulk import ForeignJournalError, Journal
from ...errors import InvalidArgumentError
from ...settings import Settings
from ...transport.tasks import in_thread
from ..files import beside, check_own, is_stream
from ..options import parse_duration
from ..rows import Row, Source
from .arguments import QueryOptions
from .tables import SeriesValues

__all__ = ["Earlier", "Range", "journal_name", "journal_path", "prepare_journal"]

_COMMAND: Final = "metric export"
_ANEW: Final = "--restart begins anew"


@attrs.frozen
class Range:
    """What a query without a start was answered for."""

    start: datetime
    end: datetime
    """When it was asked; no point is dated later."""


@attrs.frozen
class Earlier:
    """What an interrupted run has left."""

    begun: datetime | None
    """When it began; None if the journal does not say so."""
    range: Range | None
    """The range of its points; None if the options have its start."""

    def __str__(self) -> str:
        of = "" if self.begun is None else f" of {self.begun:%Y-%m-%d %H:%M} UTC"
        return f"going on with the export{of}{'' if self.range is None else ', and with its range'}; {_ANEW}"


def journal_path(out: Path | None) -> Path | None:
    """The path of the journal; None for stdout, devices and pipes, which cannot be gone on with."""
    return None if out is None or is_stream(out) else beside(out, "journal")


def journal_name(
    source: Source[Row], metrics: Sequence[str], query: QueryOptions, id_column: str, account: str | None
) -> str:
    """What the journal is of: all that says what is read, and from where.

    Raises:
        InvalidArgumentError: the environment names no service.
    """
    settings = [
        f"IOTO_API={str(Settings.from_env(os.environ).api).rstrip('/')}",
        f"--account={account or ''}",
        f"--devices={'-' if source.path is None else os.path.realpath(source.path)}",
        f"--id-column={id_column}",
        *(f"--metric={metric}" for metric in metrics),
        f"--period={query.period}",
        f"--start={query.start or ''}",
        f"--statistic={query.statistic}",
        *(f"--dimensions={pair}" for pair in query.dimensions),
        f"--namespace={query.namespace}",
    ]
    return f"{_COMMAND} {shlex.join(settings)}"


async def prepare_journal(path: Path, name: str, query: QueryOptions, *, restart: bool) -> Earlier | None:
    """See what an interrupted run has left.

    Args:
        path: the journal.
        name: what it is to be of.
        query: what is read.
        restart: whether to forget it.

    Returns:
        None if it has left nothing, or that was forgotten.

    Raises:
        InvalidArgumentError: the journal is of another export, is damaged, or is no file of ours.
    """
    journal = Journal(path, name, keeps_values=True)
    try:
        if not _is_there(path, restart):
            return None
        try:
            await in_thread(journal.open)
        except ForeignJournalError as error:
            if journal.has_values:
                raise InvalidArgumentError(_difference(path, error.theirs or "", name)) from None
        else:
            await journal.close()
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"--out: {str(error).removeprefix('journal: ')}; {_ANEW}") from None
    if not journal.has_values:
        _is_there(path, restart=True)
        return None
    if query.start is not None:
        return Earlier(journal.begun, None)
    period = parse_duration("--period", query.period)
    range = await in_thread(partial(_answered_range, path, period))
    if range is None:  # only the clock of this machine is known then
        end = journal.begun or datetime.now(UTC)
        range = Range(end - timedelta(seconds=period), end)
    return Earlier(journal.begun, range)


def _is_there(path: Path, restart: bool) -> bool:
    check_own(path)
    if restart:
        path.unlink(missing_ok=True)
    return path.exists()


def _difference(path: Path, theirs: str, ours: str) -> str:
    """That the journal at *path* is of another export, and what is different there."""
    if not theirs.startswith(f"{_COMMAND} "):
        return f"{path} is of {theirs}"
    there, here = (shlex.split(name)[2:] for name in (theirs, ours))
    before = shlex.join(setting for setting in there if setting not in here)
    now = shlex.join(setting for setting in here if setting not in there)
    if not before and not now:
        return f"{path} is of an export with the same metrics in another order"
    return f"{path} is of an export {f'with {before}' if before else f'without {now}'}" + (
        f", not with {now}" if before and now else ""
    )


def _answered_range(path: Path, period: float) -> Range | None:
    """The range of the first answer with samples; None if no answer has some.

    It ends when it was asked for, by the clock of the service, and begins where an interval does. A query with such a
    start, and not with an earlier one, is answered in the same intervals, for as long as the service has them.
    """
    for series in _series(path):
        points = series["points"]
        dates = [datetime.fromisoformat(timestamp) for timestamp, _, _ in points if timestamp is not None]
        if not dates or not any(count for _, _, count in points):
            continue
        end = max(dates)
        start = end.timestamp() - min(period, series["period"] or period)
        if series["period"] and series["samples"]:
            interval = series["period"] / series["samples"]
            start = math.ceil(start / interval) * interval
        return Range(datetime.fromtimestamp(start, UTC), end)
    return None


def _series(path: Path) -> Iterator[SeriesValues]:
    """What was read, in that order; the journal has been checked."""
    with path.open("rb") as lines:
        entries = (orjson.loads(line) for line in lines)
        yield from chain.from_iterable(entry["value"].values() for entry in entries if entry.get("value"))
