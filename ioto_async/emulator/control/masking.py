"""Hides tokens, passwords and keys in what people look at."""

import re
from collections.abc import Callable
from typing import Any, Final

__all__ = ["MASK", "masked"]

MASK: Final = "•••"
# The key of a product is its token.
_SECRET: Final = re.compile(r"token|passw|secret|private|credential|signature|^product(id)?$", re.IGNORECASE)
_ULID: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_JWT_OR_PEM: Final = re.compile(
    r"eyJ[\w-]+\.[\w-]+\.[\w-]*|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL
)


def masked(value: Any, is_token: Callable[[str], bool]) -> Any:
    """Return *value*, JSON, without what is secret in it: by the name of a member, or as *is_token* knows it."""
    if isinstance(value, dict):
        return {
            masked(name, is_token): MASK if member and _SECRET.search(name) else masked(member, is_token)
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [masked(member, is_token) for member in value]
    if not isinstance(value, str):
        return value
    text = _JWT_OR_PEM.sub(MASK, value)
    return _ULID.sub(lambda match: MASK if is_token(match[0]) else match[0], text)
