"""Which keys a journal has, in few bytes each.

A million keys in a dict are over a hundred megabytes. Here a line is eight bytes of the hash of its key and eight that
say where in the journal it is; what two keys with one hash have in common ends there, as the line itself has the key.
A further line of a key does not replace the earlier one, which would have to be looked for, but is found first.
"""

from collections.abc import Callable
from struct import Struct
from typing import Final

__all__ = ["Index"]

_BUCKETS: Final = 1 << 12
_HASH: Final = Struct("<q")
_OFFSET: Final = Struct("<Q")
_RECORD: Final = Struct("<qQ")


class Index:
    """Where the last line of each key is.

    Args:
        key_at: reads the key of the line at an offset.
    """

    __slots__ = ("_buckets", "_key_at")

    def __init__(self, key_at: Callable[[int], str]) -> None:
        self._key_at = key_at
        self._buckets: list[bytearray | None] = [None] * _BUCKETS

    def get(self, key: str) -> int | None:
        """The offset that was put for *key*."""
        digest = hash(key)
        bucket = self._buckets[digest % _BUCKETS]
        if bucket is None:
            return None
        wanted = _HASH.pack(digest)
        at = bucket.rfind(wanted)
        while at >= 0:
            if at % _RECORD.size == 0:
                offset: int = _OFFSET.unpack_from(bucket, at + _HASH.size)[0]
                if self._key_at(offset) == key:
                    return offset
            at = bucket.rfind(wanted, 0, at + _HASH.size - 1)
        return None

    def put(self, key: str, offset: int) -> None:
        """Note *offset* for *key*, in place of an earlier one."""
        digest = hash(key)
        number = digest % _BUCKETS
        bucket = self._buckets[number]
        if bucket is None:
            bucket = self._buckets[number] = bytearray()
        bucket += _RECORD.pack(digest, offset)
