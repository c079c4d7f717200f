"""The one private name of asyncio that is used: until Python 3.14, `unittest.mock` knows by it what is asynchronous."""

import asyncio
from typing import Final

__all__ = ["IS_COROUTINE"]

_IS_COROUTINE: Final = "_is_coroutine"

IS_COROUTINE: Final[object] = getattr(asyncio.coroutines, _IS_COROUTINE, None)
"""The value that an attribute of that name has where something is to be taken for a coroutine function."""
