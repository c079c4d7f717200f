"""What the control API acts on, and how it reads what a request gives."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from ..faults import Faults
from ..mqtt.broker import Message
from ..recent import Dated, Recent
from ..rest.app import Received
from ..state.cloud import Cloud

__all__ = ["Controlled", "cloud_of", "members_of", "one_of", "text_of", "whole_of"]


class Controlled(Protocol):
    """What the control API acts on."""

    faults: Faults
    requests: Recent[Received]
    messages: Dated[Message]
    run: str

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
    def clouds(self) -> list[Cloud]:
        """The state of each cloud."""

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


def cloud_of(emulator: Controlled, members: Mapping[str, Any]) -> Cloud:
    """Return the cloud with the number in *members*, the first one without."""
    clouds = emulator.clouds
    return clouds[whole_of(members, "cloud", 1, 1, len(clouds)) - 1]


def whole_of(members: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    """Return a number of *members*; in a query it is a text."""
    value = members.get(name, default)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name}: expected a number from {least} to {most}, got {value!r}")
    return value


def text_of(members: Mapping[str, Any], name: str) -> str:
    """Return a text of *members*, empty if it is not there."""
    value = members.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{name}: expected a text, got {value!r}")
    return value


def one_of(members: Mapping[str, Any], name: str, choices: Collection[str], default: str) -> str:
    """Return a text of *members* that is one of *choices*."""
    value = members.get(name, default)
    if value not in choices:
        raise ValueError(f"{name}: expected {', '.join(filter(None, choices))}, got {value!r}")
    return str(value)
