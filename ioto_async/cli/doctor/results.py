"""What a check has found, and the report of all of them."""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, Self

import attrs

from ...models import JSON
from .target import Setting

__all__ = ["CheckResult", "Report", "Status", "failed", "ok", "skipped", "warning"]


class Status(StrEnum):
    """How a check has ended."""

    OK = "ok"
    WARNING = "warning"
    """Calls work, but something is likely to be wrong."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """It could not be made, or there was nothing to check; the summary says why."""


@attrs.frozen
class CheckResult:
    """What a check has found. None of its texts holds a secret."""

    status: Status
    summary: str
    """One sentence, without the name of the check."""
    hint: str | None = None
    """What to do next, if anything."""
    details: Mapping[str, JSON] = attrs.field(factory=dict)
    """The same for programs, by stable names."""
    exit_status: int = 0
    """Of a failed check: 1 anything else, 2 a setting is missing or malformed, 3 refused, 4 not reached."""
    name: str = ""
    """Of the check."""
    seconds: float = 0.0
    """How long it took."""

    def changed(self, change: Callable[[str], str]) -> Self:
        """The result with *change* applied to all of its texts."""
        hint = None if self.hint is None else change(self.hint)
        details = {name: _changed(value, change) for name, value in self.details.items()}
        return attrs.evolve(self, summary=change(self.summary), hint=hint, details=details)

    def to_dict(self) -> dict[str, JSON]:
        """The result as JSON."""
        return {
            "name": self.name,
            "status": str(self.status),
            "summary": self.summary,
            "hint": self.hint,
            "seconds": round(self.seconds, 3),
            "details": dict(self.details),
        }


def _changed(value: JSON, change: Callable[[str], str]) -> JSON:
    if isinstance(value, str):
        return change(value)
    return [_changed(each, change) for each in value] if isinstance(value, list) else value


def ok(summary: str, **details: JSON) -> CheckResult:
    """All is well."""
    return CheckResult(Status.OK, summary, details=details)


def warning(summary: str, hint: str, **details: JSON) -> CheckResult:
    """Calls work, but something is likely to be wrong."""
    return CheckResult(Status.WARNING, summary, hint, details)


def failed(summary: str, hint: str | None, *, exit_status: int = 1, **details: JSON) -> CheckResult:
    """Calls cannot work; see `CheckResult.exit_status`."""
    return CheckResult(Status.FAILED, summary, hint, details, exit_status)


def skipped(summary: str, hint: str | None = None, **details: JSON) -> CheckResult:
    """There was nothing to check."""
    return CheckResult(Status.SKIPPED, summary, hint, details)


@attrs.frozen
class Report:
    """The results of all checks, in their order."""

    settings: Mapping[str, Setting]
    """By name; where each came from."""
    checks: tuple[CheckResult, ...]

    def __getitem__(self, name: str) -> CheckResult:
        """The result of the check *name*.

        Raises:
            KeyError: there is none.
        """
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def count(self, status: Status) -> int:
        """How many checks have ended with *status*."""
        return sum(check.status is status for check in self.checks)

    @property
    def exit_status(self) -> int:
        """That of the first check that has failed, which is the cause of what follows; 0 if none has."""
        return next((check.exit_status for check in self.checks if check.status is Status.FAILED), 0)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON; its keys are always the same."""
        return {
            "ok": self.exit_status == 0,
            **{str(status): self.count(status) for status in _COUNTED},
            "settings": {name: setting.to_dict() for name, setting in self.settings.items()},
            "checks": [check.to_dict() for check in self.checks],
        }


_COUNTED: Final[Iterable[Status]] = (Status.WARNING, Status.FAILED, Status.SKIPPED)
