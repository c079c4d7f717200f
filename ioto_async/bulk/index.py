"""Which keys a journal has, in few bytes each.

A million keys in a dict are over a hundred megabytes. Here a key is eight bytes of its hash and eight that say where in
the journal its line is; what two keys with one hash have in common ends there, as the line itself has the key.
"""

from collections.abc import Callable
from typing import Final

__all__ = ["Index"]

_BUCKETS: Final = 1 << 12
_HASH: Final = 8
_RECORD: Final = 16


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
        at = self._find(bucket, digest, key)
        return None if at < 0 else int.from_bytes(bucket[at + _HASH : at + _RECORD], "little")

    def put(self, key: str, offset: int) -> None:
        """Note *offset* for *key*, in place of an earlier one."""
        digest = hash(key)
        number = digest % _BUCKETS
        bucket = self._buckets[number]
        if bucket is None:
            bucket = self._buckets[number] = bytearray()
        at = self._find(bucket, digest, key)
        if at < 0:
            bucket += digest.to_bytes(_HASH, "little", signed=True)
            bucket += offset.to_bytes(_RECORD - _HASH, "little")
        else:
            bucket[at + _HASH : at + _RECORD] = offset.to_bytes(_RECORD - _HASH, "little")

    def _find(self, bucket: bytearray, digest: int, key: str) -> int:
        """Where in *bucket* the record of *key* is, or -1."""
        wanted = digest.to_bytes(_HASH, "little", signed=True)
        at = bucket.find(wanted)
        while at >= 0:
            if at % _RECORD == 0:
                offset = int.from_bytes(bucket[at + _HASH : at + _RECORD], "little")
                if self._key_at(offset) == key:
                    return at
            at = bucket.find(wanted, at + 1)
        return -1
