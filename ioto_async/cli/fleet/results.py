"""What is printed and written about each row of a fleet command."""

import csv
import io
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import attrs

from ...bulk import Status
from ...models import JSON
from ...models.value import json_text
from ..options import OutputFormat
from .jobs import Client, Done, Job

__all__ = ["Print", "RowResult", "printer"]

Print = Callable[[dict[str, JSON]], None]
"""Prints the members of a result."""

_COLUMNS: Final = ("id", "line", "status", "result", "error", "attempts", "elapsed")


@attrs.frozen(kw_only=True)
class RowResult:
    """The result of a row."""

    line: int
    id: str | None
    """None if the row has no valid ID."""
    text: str = ""
    """What it has instead."""
    status: Status
    done: Done | None = None
    error: str | None = None
    claimed: str | None = None
    """Whether the device was claimed: ``now``, ``before``, or None if claiming is not part of the job."""
    attempts: int = 0
    elapsed: float = 0.0
    done_at: datetime | None = None
    """When an earlier run has done it, if the journal says so."""

    def members(self) -> dict[str, JSON]:
        """The members of a line of the output."""
        known = self._row()
        known["status"] = self.status
        if self.done is not None:
            known["result"] = self.done.result
        if self.error is not None:
            known["error"] = self.error
        known |= {"attempts": self.attempts, "elapsed": round(self.elapsed, 6)}
        if self.done_at is not None:
            known["done_at"] = self.done_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        if self.claimed is not None:
            known["claimed"] = self.claimed
        return known | (self.done.shown if self.done is not None else {})

    def manifest_entry(self) -> dict[str, JSON]:
        """The members of a line of the manifest."""
        known = self._row()
        if self.claimed is not None:
            known["claimed"] = self.claimed
        known["status"] = self.done.result if self.done is not None else self.status
        return known if self.error is None else {**known, "error": self.error}

    def _row(self) -> dict[str, JSON]:
        row: dict[str, JSON] = {"id": self.id, "line": self.line}
        return row if self.id is not None else {**row, "text": self.text}


def printer(output: OutputFormat, job: Job[Client]) -> Print:
    """Print the header, if there is one, and return what prints a result on stdout at once, as a pipe may be read."""
    columns = (*_COLUMNS, *(() if job.when_skipped is None else ("claimed",)), *job.shown)
    if output == "jsonl":
        return lambda members: _print(json_text(members))
    if output == "csv":
        _print(_csv(columns))
        return lambda members: _print(_csv([_cell(members.get(name)) for name in columns]))
    _print(_table_line({"line": "line", "id": "id", "status": "status"}, "result"))
    return lambda members: _print(_table_line(members, _detail(members)))


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _csv(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _cell(value: JSON) -> str:
    return "" if value is None else value if isinstance(value, str) else json_text(value)


def _table_line(members: dict[str, JSON], detail: str) -> str:
    name = members["id"] or members.get("text") or "-"
    return f"{members['line']:>8}  {name!s:<20}  {members['status']!s:<8}  {detail}".rstrip()


def _detail(members: dict[str, JSON]) -> str:
    words = [_cell(members.get("error") or members.get("result"))]
    words += [f"{name}={_cell(value)}" for name, value in members.items() if name not in (*_COLUMNS, "text")]
    return " ".join(filter(None, words))
