"""What a JSON Web Token says of itself, to tell one that was put in the wrong place; nothing is verified."""

import base64
from datetime import UTC, datetime
from typing import Final

import attrs
import orjson

from ...settings import is_number

__all__ = ["Claims", "parse_jwt"]


_LATEST: Final = 1e11
"""Epoch seconds; what is beyond is no date."""


@attrs.frozen
class Claims:
    """What a token says of itself."""

    use: str
    """``access``, ``id``, or what else it is for."""
    ends: datetime | None
    """When it ends or has ended, in UTC."""

    @property
    def has_ended(self) -> bool:
        """Whether it is known to have ended."""
        return self.ends is not None and self.ends <= datetime.now(UTC)


def parse_jwt(token: str) -> Claims | None:
    """The claims of *token*; None if it is no JSON Web Token."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        payload = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    if not isinstance(payload, dict):
        return None
    use, at = payload.get("token_use"), payload.get("exp", 0)
    ends = datetime.fromtimestamp(at, UTC) if is_number(at) and 0 < at < _LATEST else None
    return Claims(use if isinstance(use, str) and use.isalpha() else "access", ends)
