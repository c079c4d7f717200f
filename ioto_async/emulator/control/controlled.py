"""What the control API acts on, and how it reads what a request gives."""

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from ..faults import Faults
from ..mqtt.broker import Message
from ..rest.app import Received

__all__ = ["Controlled", "members_of"]


class Controlled(Protocol):
    """What the control API acts on."""

    faults: Faults
    requests: deque[Received]
    messages: deque[Message]

    def reset(self) -> None:
        """Return to the state after the first start."""

    def info(self) -> Mapping[str, Any]:
        """Return what a client needs to know."""

    def status(self) -> Mapping[str, Any]:
        """Return how it goes."""

    def advance(self, span: float | timedelta) -> None:
        """Let time pass."""

    def seed(self, devices: int | Sequence[Mapping[str, Any]], *, claim: bool = False, cloud: int = 1) -> list[str]:
        """Register devices."""

    def snapshot(self) -> list[bytes]:
        """Return the state."""

    def restore(self, snapshot: list[bytes]) -> None:
        """Return to a state."""

    @property
    def time(self) -> datetime:
        """The time of the clouds."""


def members_of(given: Any, *names: str) -> Mapping[str, Any]:
    """Return the members of what a request gives that are not null.

    Raises:
        ValueError: it is no object, or has a member beyond *names*.
    """
    if not isinstance(given, dict):
        raise ValueError(f"expected an object, got {type(given).__name__}")
    for name in given:
        if name not in names:
            raise ValueError(f"{name!r} is not known; there {'are' if len(names) > 1 else 'is'} {', '.join(names)}")
    return {name: value for name, value in given.items() if value is not None}
