"""Files of an account (reference, section 11; the vendor documents the operations, and not what they answer)."""

import binascii
from datetime import datetime
from typing import Any

import attrs

from ..errors import DecodeError
from .record import Record

__all__ = ["File"]


@attrs.define(kw_only=True)
class File(Record):
    """A file, as ``file/*`` shows it."""

    filename: str | None = None
    """Path of the file."""
    mime_type: str | None = None
    """Content type."""
    size: int | None = None
    """Bytes."""
    checksum: str | None = None
    """Checksum of the content; which one is not documented."""
    created: datetime | None = None
    updated: datetime | None = None
    data: str | None = attrs.field(default=None, repr=False)
    """The content in base64; ``content`` has it decoded. A list leaves it out."""
    extra: dict[str, Any] = attrs.field(factory=dict, repr=False)

    @property
    def content(self) -> bytes:
        """The bytes of the file.

        Raises:
            DecodeError: ``data`` is absent, or no base64.
        """
        if self.data is None:
            raise DecodeError("expected the content in base64, got none", operation="file/get", path="$.data")
        try:
            return binascii.a2b_base64(self.data, strict_mode=True)
        except ValueError:  # beyond ASCII, or no base64; the cause would show a part of the content
            pass
        raise DecodeError("expected base64, got other text", operation="file/get", path="$.data")
