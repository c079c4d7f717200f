"""Texts without what identifies anybody: each key, host and address has the same stand-in wherever it occurs."""

import re
from collections.abc import Callable
from typing import Any, Final

__all__ = ["Masks"]

_PATTERNS: Final = (
    (re.compile(r"-----BEGIN.*?(-----END[^-]*-----|$)", re.DOTALL), "KEY"),
    (re.compile(r"https?://[^\s\"'<>]+"), "URL"),
    (re.compile(r"[\w.+%-]+@[\w-]+(\.[\w-]+)+"), "MAIL"),
    (re.compile(r"\b(?:[\w-]+\.)+(?:com|net|org|io|me|dev|cloud|test|local)\b", re.IGNORECASE), "HOST"),
    (re.compile(r"\b\d{1,3}(\.\d{1,3}){3}\b"), "HOST"),
    (re.compile(r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b[0-9A-HJKMNP-TV-Z]{10}\b(?<!\b\d{10})"), "ID"),
    (re.compile(r"\b[A-Za-z0-9_+/=-]{32,}\b"), "SECRET"),
)
"""What looks like something that identifies, or gives access."""
_KINDS: Final = {
    "accountId": "ACC",
    "owner": "ACC",
    "deviceId": "DEV",
    "thing": "DEV",
    "cloudId": "CLOUD",
    "productId": "PRODUCT",
    "email": "MAIL",
    "first": "NAME",
    "last": "NAME",
    "domain": "HOST",
    "endpoint": "HOST",
}
"""Members whose values identify."""
_SHORTEST: Final = 4
"""Characters of a value that is looked for in texts; shorter ones are in every word."""


class Masks:
    """The stand-ins, such as ``DEV-1``, for what identifies.

    Args:
        own: begins the names that the checks give, which identify nobody.
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._known: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def add(self, kind: str, value: object) -> None:
        """Have *value*, if it is text of some length, replaced by a stand-in of a *kind*."""
        if isinstance(value, str) and len(value) >= _SHORTEST:
            self._stand_in(kind, value)

    def learn(self, operation: str, reply: Any) -> None:
        """Add what identifies in the JSON of a *reply* to an *operation*."""
        if isinstance(reply, list):
            for each in reply:
                self.learn(operation, each)
        elif isinstance(reply, dict):
            for name, value in reply.items():
                if isinstance(value, str) and value.startswith(self._own):
                    continue
                kind = _KINDS.get(name) or (_kind_of_id(operation) if name == "id" else None)
                if kind is not None:
                    self.add(kind, value)
                self.learn(operation, value)

    def mask(self, text: str) -> str:
        """*text* with stand-ins for what is known, and for what looks like it."""
        for value in sorted(self._known, key=len, reverse=True):
            text = text.replace(value, self._known[value])
        for pattern, kind in _PATTERNS:
            text = pattern.sub(self._replacement(kind), text)
        return text

    def _replacement(self, kind: str) -> Callable[[re.Match[str]], str]:
        return lambda match: match[0] if match[0].startswith(self._own) else self._stand_in(kind, match[0])

    def _stand_in(self, kind: str, value: str) -> str:
        if value not in self._known:
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
            self._known[value] = f"{kind}-{number}"
        return self._known[value]


def _kind_of_id(operation: str) -> str:
    controller = operation.partition("/")[0]
    return {"account": "ACC", "device": "DEV", "provision": "DEV", "user": "USER"}.get(controller, "ID")
