"""Large replies: reading one takes long, so the loop gets its turns meanwhile, and the deadline holds."""

import asyncio
import math
import time
from typing import Final, TypeVar

from ..codec.reading import Steps
from ..errors import CallTimeoutError
from ..operations import Operation

__all__ = ["read_large"]

T = TypeVar("T")

_SLICE: Final = 0.01
"""Seconds of reading between two turns of the loop."""


async def read_large(steps: Steps[T], operation: Operation, began: float, timeout: float | None) -> T:  # noqa: ASYNC109
    """Do the *steps* of reading a reply.

    Args:
        steps: see `ioto_async.codec.reading.in_steps`.
        operation: what was called.
        began: when the attempt did, by `time.monotonic`.
        timeout: seconds that it may take; None for no limit.

    Raises:
        CallTimeoutError: it takes longer.
        CallError: the reply cannot be read, or tells of a failure.
    """
    due = math.inf if timeout is None else began + timeout
    while True:
        pause = time.monotonic() + _SLICE
        while (now := time.monotonic()) < pause:
            try:
                next(steps)
            except StopIteration as end:
                found: T = end.value
                return found
        if now >= due:
            steps.close()
            message = f"timed out after {timeout:g} s, while the reply was read"
            raise CallTimeoutError(message, operation=operation.name)
        await asyncio.sleep(0)
