"""A cloud that can be told to leave assumptions."""

from collections.abc import AsyncIterator

import pytest

from ioto_async.emulator import Emulator
from ioto_async.emulator.otherwise import OTHERWISE


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    # A cloud that leaves an assumption answers all requests by its application; which one is set before each row.
    async with Emulator(mqtt=False, otherwise=[next(iter(OTHERWISE))]) as emulator:
        yield emulator
