"""Topic names and topic filters (MQTT 3.1.1, section 4.7)."""

import re
from typing import Final

__all__ = ["MAX_SLASHES", "MAX_TOPIC", "is_filter", "is_topic", "matches"]

MAX_TOPIC: Final = 256
"""The most bytes that a topic or a filter may have at AWS IoT Core."""
MAX_SLASHES: Final = 7
"""How many slashes it may have there; the beginning that names a rule counts for neither."""

_RULE: Final = re.compile(r"\$aws/rules/[^/]+/")


def is_topic(text: str) -> bool:
    """Say whether *text* can be published to."""
    return _has_a_fit_length(text) and "+" not in text and "#" not in text


def is_filter(text: str) -> bool:
    """Say whether *text* can be subscribed to: ``+`` and ``#`` stand for whole levels, ``#`` for the last one alone."""
    *parents, last = text.split("/")
    return (
        _has_a_fit_length(text)
        and all(level == "+" or "+" not in level for level in (*parents, last))
        and all("#" not in level for level in parents)
        and (last == "#" or "#" not in last)
    )


def _has_a_fit_length(text: str) -> bool:
    if text.startswith("$"):
        text = text[found.end() :] if (found := _RULE.match(text)) else text
    return 0 < len(text.encode()) <= MAX_TOPIC and text.count("/") <= MAX_SLASHES


def matches(filter: str, topic: str) -> bool:
    """Say whether a message to *topic* is for a subscription of *filter*."""
    levels = topic.split("/")
    wanted = filter.split("/")
    # Wildcards do not reach the topics of the server itself (4.7.2).
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for number, level in enumerate(wanted):
        if level == "#":
            return True
        if number == len(levels) or level not in ("+", levels[number]):
            return False
    return len(levels) == len(wanted)
