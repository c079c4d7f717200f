"""What is told of rows: figures, the manifest, a line for each, failures on stderr."""

import csv
import io
import sys
from collections.abc import Callable, Iterable
from typing import Final

import attrs
import orjson

from ...bulk import EarlierError, Outcome, Status
from ...errors import IotoError
from ...models import JSON
from ..files import Manifest
from ..options import Form
from ..rows import BadRow, Row, RowError
from ..run import Failures, Screen
from .jobs import Client, Done, Job, JobSettings

__all__ = ["Results", "printer"]

_COLUMNS: Final = ("id", "line", "status", "result", "error", "attempts", "elapsed")


@attrs.frozen(kw_only=True)
class _Told:
    """What is known of a row that is over."""

    line: int
    id: str | None
    """None where the row names no device."""
    text: str = ""
    """What stands there instead."""
    status: Status
    done: Done | None = None
    error: str | None = None
    claimed: str | None = None
    attempts: int = 0
    elapsed: float = 0.0

    def members(self) -> dict[str, JSON]:
        """As a line of the output."""
        known: dict[str, JSON] = {"id": self.id, "line": self.line}
        if self.id is None:
            known["text"] = self.text
        known["status"] = self.status
        if self.done is not None:
            known["result"] = self.done.result
        if self.error is not None:
            known["error"] = self.error
        known |= {"attempts": self.attempts, "elapsed": round(self.elapsed, 6)}
        if self.claimed is not None:
            known["claimed"] = self.claimed
        return known | (self.done.shown if self.done is not None else {})

    def entry(self) -> dict[str, JSON]:
        """As a line of the manifest."""
        known: dict[str, JSON] = {"id": self.id, "line": self.line}
        if self.id is None:
            known["text"] = self.text
        if self.claimed is not None:
            known["claimed"] = self.claimed
        known["status"] = self.done.result if self.done is not None else self.status
        return known if self.error is None else {**known, "error": self.error}


class Results:
    """Takes note of every row that is over.

    Args:
        job: what is done.
        screen: where failures are told.
        manifest: where each row has a line, if anywhere.
        write: prints one row, if that is wanted.

    Attributes:
        counts: the figures.
        not_sent: rows that were refused before anything was sent.
        earlier: failures that were an earlier run's.
    """

    def __init__(
        self,
        job: Job[Client],
        screen: Screen,
        manifest: Manifest | None,
        write: Callable[[dict[str, JSON]], None] | None,
    ) -> None:
        self._when_skipped = job.when_skipped
        self._screen = screen
        self._failures = Failures(screen)
        self._manifest = manifest
        self._write = write
        self.counts = dict.fromkeys(("devices", *job.results, "failed", "unknown", "skipped"), 0)
        self.not_sent = self.earlier = 0

    @property
    def are_good(self) -> bool:
        """Whether every row so far is done."""
        return not self.counts["failed"] and not self.counts["unknown"]

    def admits(self, row: Row | BadRow, job: Job[Client], settings: JobSettings) -> Row | None:
        """*row* if it can be done; a row that cannot has failed, and is no item of the run."""
        if isinstance(row, BadRow):
            # Whatever stands there, it is no device of this fleet.
            told = _Told(line=row.line, id=None, text=row.id, status="failed", error=row.reason)
        else:
            try:
                job.check(row, settings)
            except RowError as error:
                told = _Told(line=row.line, id=row.id, status="failed", error=str(error))
            else:
                return row
        self.not_sent += 1
        self._note(told)
        return None

    def take(self, outcome: Outcome[Row, Done]) -> None:
        """Note what became of a row that was sent, or was before.

        Raises:
            Exception: that of the outcome, if it is none that a row can be blamed for.
        """
        error, row = outcome.error, outcome.item
        if error is not None and not isinstance(error, (IotoError, OSError)):
            raise error
        self.earlier += isinstance(error, EarlierError)
        done = self._when_skipped if outcome.status == "skipped" else outcome.value
        claimed = done.claimed if done is not None else error.claimed if isinstance(error, RowError) else None
        self._note(
            _Told(
                line=row.line,
                id=row.id,
                status=outcome.status,
                done=done,
                error=None if error is None else str(error),
                claimed=claimed,
                attempts=outcome.attempts,
                elapsed=outcome.elapsed,
            )
        )

    def _note(self, told: _Told) -> None:
        counts = self.counts
        counts["devices"] += 1
        if told.status != "ok":
            counts[told.status] += 1
        if told.done is not None:
            counts[told.done.result] += 1
        if told.claimed is not None:
            counts["claimed" if told.claimed == "now" else "already_claimed"] += 1
        if self._manifest is not None:
            self._manifest.write(told.entry())
        if self._write is not None:
            self._write(told.members())
        if told.error is not None:
            self._failures.tell(told.line, told.id or told.text or "no id", told.error)

    def finish(self, journal: object) -> None:
        """Say on stderr what the lines there have left out."""
        self._failures.finish("--output jsonl tells of all" if self._manifest is None else f"see {self._manifest.path}")
        if self.earlier:
            self._screen.say(f"{self.earlier} of them failed in an earlier run: --retry-failed tries them again")
        if self.counts["skipped"]:
            self._screen.say(f"{self.counts['skipped']} skipped: {journal} says that they are done")


def printer(form: Form, job: Job[Client]) -> Callable[[dict[str, JSON]], None]:
    """What prints a row on stdout, at once: who reads it may be another program."""
    columns = (*_COLUMNS, *(() if job.when_skipped is None else ("claimed",)), *job.shown)
    if form == "jsonl":
        return lambda members: _print(orjson.dumps(members).decode())
    if form == "csv":
        _print(_csv(columns))
        return lambda members: _print(_csv([_cell(members.get(name)) for name in columns]))
    _print(_aligned({"line": "line", "id": "id", "status": "status"}, "result"))
    return lambda members: _print(_aligned(members, _detail(members)))


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _csv(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _cell(value: JSON) -> str:
    return "" if value is None else value if isinstance(value, str) else orjson.dumps(value).decode()


def _aligned(members: dict[str, JSON], detail: str) -> str:
    name = members["id"] or members.get("text") or "-"
    return f"{members['line']:>8}  {name!s:<20}  {members['status']!s:<8}  {detail}".rstrip()


def _detail(members: dict[str, JSON]) -> str:
    words = [_cell(members.get("error") or members.get("result"))]
    words += [f"{name}={_cell(value)}" for name, value in members.items() if name not in (*_COLUMNS, "text")]
    return " ".join(filter(None, words))
