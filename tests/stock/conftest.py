"""A cloud and a device of it, for clients that are not this package's."""

from collections.abc import AsyncIterator

import pytest

from ioto_async.emulator import Emulator
from tests.emulator.conftest import device, fleet, post

__all__ = ["device", "emu", "fleet", "post"]


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator
