"""Failures as they are told on stderr: the first of them. Imports nothing of the package."""

from typing import Final, Protocol

__all__ = ["Failures", "Screen"]

_SHOWN: Final = 20


class Screen(Protocol):
    """Where failures are told, such as a `ProgressBar`."""

    def say(self, text: str) -> None:
        """Print a line."""


class Failures:
    """Tells of the first failures of a run, and counts the others."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._count = 0

    def tell(self, line: int, what: str, error: str) -> None:
        """Tell that the row on *line* has failed, and why."""
        self._count += 1
        if self._count <= _SHOWN:
            self._screen.say(f"line {line}: {what}: {error}")

    def finish(self, hint: str) -> None:
        """Say how many were left out, and where these are to be seen."""
        if self._count > _SHOWN:
            self._screen.say(f"and {self._count - _SHOWN} more: {hint}")
