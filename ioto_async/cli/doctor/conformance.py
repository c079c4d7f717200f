"""``ioto-async doctor --conformance``: which of the assumptions of this package hold at a cloud."""

import asyncio
import errno
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from ...conformance import ASSUMPTIONS, Assumption, Finding, Report, Run, Verdict
from ...errors import InvalidArgumentError, MissingSettingError
from ..files import check_own, is_stream, write_private
from ..options import RunOptions
from ..signals import told_of_ending_signals
from .target import Target

__all__ = ["Conformance"]

_OURS: Final = ("device", "only")
"""Arguments of a run that are flags here."""
_WIDTH: Final = max(len(verdict.value) for verdict in Verdict)


@attrs.frozen(kw_only=True)
class Conformance:
    """What is to be checked, and where the report goes."""

    write: bool
    devices: tuple[str, ...]
    only: tuple[str, ...]
    rate: str
    limit: float
    report: Path | None
    as_json: bool

    async def run(self, target: Target) -> int:
        """Make the checks at *target*, print them, write the report, and return the exit status.

        Raises:
            InvalidArgumentError: an option or a setting does not fit.
            CallError: the cloud cannot be reached, or refuses the credentials.
            OSError: the report cannot be written.
        """
        self._check_report()
        rate = RunOptions(rate=self.rate).limits().rate
        assert rate is not None
        try:
            run = Run(
                environ=target.environ,
                write=self.write,
                devices=self.devices,
                only=self.only,
                rate=rate,
                timeout=self.limit,
                tell=_nothing if self.as_json else _print,
            )
            ended_by = await _run(run)
        except MissingSettingError:
            raise
        except InvalidArgumentError as error:
            is_ours = str(error).partition(":")[0] in _OURS
            raise InvalidArgumentError(f"--{error}" if is_ours else str(error)) from None
        self._write_report(run.report)
        if self.as_json:
            sys.stdout.write(json.dumps(run.report.to_dict()) + "\n")
        else:
            self._print_end(run.report)
        for text in run.report.left:
            sys.stderr.write(f"ioto-async: not removed, remove it yourself: {text}\n")
        if ended_by is not None:
            return 128 + ended_by
        return int(bool(run.report.counts[Verdict.DIFFERS.value] or run.report.left))

    def _check_report(self) -> None:
        path = self.report
        if path is None or is_stream(path):
            return
        try:
            check_own(path)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"--report: {error}") from None
        folder = path.absolute().parent
        code = errno.ENOENT if not folder.is_dir() else errno.EISDIR if path.is_dir() else None
        if code is None and not os.access(folder, os.W_OK):
            code = errno.EACCES
        if code is not None:
            raise InvalidArgumentError(f"--report: {os.strerror(code)}: {path}")

    def _write_report(self, report: Report) -> None:
        if self.report is None:
            return
        text = report.to_json() if self.report.suffix == ".json" else report.to_markdown()
        if is_stream(self.report):
            with self.report.open("a") as stream:
                stream.write(text)
        else:
            write_private(self.report, text)

    def _print_end(self, report: Report) -> None:
        counts = ", ".join(f"{count} {verdict}" for verdict, count in report.counts.items())
        lines = [*_skipped(report), "", counts if report.is_complete else f"{counts}; the others were not reached"]
        if self.report is not None:
            lines.append(f"report: {self.report} (no secrets, identifiers masked; look it over, then send it)")
        sys.stdout.write("\n".join(lines) + "\n")


def _nothing(assumption: Assumption, finding: Finding) -> None:
    """Print nothing."""


def _print(assumption: Assumption, finding: Finding) -> None:
    if finding.verdict is Verdict.SKIPPED:
        return  # those are printed together
    lines = [f"{assumption.number:<5}{finding.verdict.value:<{_WIDTH + 2}}{finding.text}"]
    if finding.verdict is Verdict.DIFFERS:
        lines.append(f"{'':<5}assumed: {assumption.says}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _skipped(report: Report) -> Iterator[str]:
    """A line for each reason for which assumptions were not checked that can be."""
    reasons: dict[str, list[str]] = {}
    for number, finding in report.findings.items():
        if finding.verdict is Verdict.SKIPPED and not ASSUMPTIONS[number].why_not:
            reasons.setdefault(finding.text, []).append(number)
    for reason, numbers in reasons.items():
        yield f"     {Verdict.SKIPPED.value:<{_WIDTH + 2}}{', '.join(numbers)}: {reason}"


async def _run(run: Run) -> signal.Signals | None:
    """Run the checks, and return the signal that has ended them before their end, if one has."""
    ended_by: list[signal.Signals] = []
    task = asyncio.ensure_future(run.run())

    def end(number: signal.Signals) -> None:
        if not ended_by:
            sys.stderr.write(f"ioto-async: {number.name}: removing what was written\n")
        ended_by.append(number)
        task.cancel()

    with told_of_ending_signals(end):
        try:
            await task
        except asyncio.CancelledError:
            if not ended_by:
                raise
    return ended_by[0] if ended_by and not run.report.is_complete else None
