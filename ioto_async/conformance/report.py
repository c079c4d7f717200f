"""The report of a run of checks: what can be sent to somebody else, as Markdown or JSON."""

import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import orjson

from .._version import __version__
from .finding import MARK, Finding, Verdict
from .masking import Masks
from .table import ASSUMPTIONS

__all__ = ["Report"]

_ORDER: Final = (Verdict.DIFFERS, Verdict.UNCLEAR, Verdict.HOLDS, Verdict.SKIPPED)
_LONGEST: Final = 400
"""Characters of a text that are shown."""


@attrs.define(kw_only=True)
class Report:
    """What the checks have found out. Its texts hold no secrets, and stand-ins for what identifies.

    Attributes:
        write: whether checks might write.
        devices: how many devices were named.
        findings: the finding of each assumption that was looked at so far, by its number.
        left: what was written and could not be taken back, and why; not masked, as the user is to find it.
        is_complete: whether all checks have ended.
        date: when the run began.
    """

    write: bool
    devices: int
    findings: dict[str, Finding] = attrs.field(factory=dict)
    left: list[str] = attrs.field(factory=list)
    is_complete: bool = False
    date: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    masks: Masks = attrs.field(factory=lambda: Masks(MARK), repr=False)

    def add(self, number: str, finding: Finding) -> Finding:
        """Note the *finding* on an assumption, masked."""
        masked = attrs.evolve(finding, text=self.masks.mask(" ".join(finding.text.split()))[:_LONGEST])
        self.findings[number] = masked
        return masked

    @property
    def counts(self) -> Mapping[str, int]:
        """How many assumptions have each verdict."""
        verdicts = [finding.verdict for finding in self.findings.values()]
        return {verdict.value: verdicts.count(verdict) for verdict in Verdict}

    def to_json(self) -> str:
        """Return the report as JSON."""
        return orjson.dumps(self.to_dict(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            **self._head(),
            "counts": dict(self.counts),
            "left": [self.masks.mask(text) for text in self.left],
            "findings": [
                {
                    "number": number,
                    "assumed": ASSUMPTIONS[number].says,
                    "verdict": finding.verdict.value,
                    "seen": finding.text,
                }
                for number, finding in self.findings.items()
            ],
        }

    def _head(self) -> dict[str, Any]:
        return {
            "date": self.date.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "ioto_async": __version__,
            "python": platform.python_version(),
            "write": self.write,
            "devices": self.devices,
            "complete": self.is_complete,
        }

    def to_markdown(self) -> str:
        """Return the report as Markdown."""
        lines = ["# Conformance of an Ioto cloud", ""]
        lines += [f"- {name}: {_word(value)}" for name, value in self._head().items()]
        lines += [f"- {verdict}: {count}" for verdict, count in self.counts.items()]
        for verdict in _ORDER:
            lines += self._section(verdict)
        if self.left:
            lines += ["", "## Not taken back", "", *(f"- {_cell(self.masks.mask(text))}" for text in self.left)]
        return "\n".join(lines) + "\n"

    def _section(self, verdict: Verdict) -> Iterator[str]:
        found = {number: each for number, each in self.findings.items() if each.verdict is verdict}
        if not found:
            return
        title = verdict.value.capitalize()
        what = "why" if verdict in (Verdict.UNCLEAR, Verdict.SKIPPED) else "seen"
        yield from ("", f"## {title}", "", f"| | assumed | {what} |", "| --- | --- | --- |")
        for number, finding in found.items():
            yield f"| {number} | {_cell(ASSUMPTIONS[number].says)} | {_cell(finding.text)} |"


def _word(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _cell(text: str) -> str:
    """*text* as it can stand in a table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
