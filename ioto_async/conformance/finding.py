"""What a check has found out about an assumption."""

from enum import Enum
from typing import Final

import attrs

__all__ = ["MARK", "Finding", "Unclear", "Verdict", "differs", "holds"]


MARK: Final = "ioto-async-conformance"
"""Begins the name of all that a check writes."""


class Verdict(Enum):
    """What is known of an assumption at a cloud."""

    HOLDS = "holds"
    DIFFERS = "does not hold"
    UNCLEAR = "cannot tell"
    SKIPPED = "not checked"


@attrs.frozen
class Finding:
    """A verdict, and what was seen or why there is none."""

    verdict: Verdict
    text: str


class Unclear(Exception):
    """A check cannot tell; the text says why, in a sentence without its end."""


def holds(seen: str) -> Finding:
    """The cloud does as it is assumed to, as what was *seen* shows."""
    return Finding(Verdict.HOLDS, seen)


def differs(seen: str) -> Finding:
    """The cloud does otherwise, as what was *seen* shows."""
    return Finding(Verdict.DIFFERS, seen)
