"""A cloud and a device of it, for clients that are not this package's."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from ioto_async.emulator import Emulator
from tests.emulator.conftest import Post
from tests.emulator.mqtt_devices import Device, Fleet


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator:
        yield emulator


@pytest.fixture
async def post(emu: Emulator) -> AsyncIterator[Post]:
    async with aiohttp.ClientSession() as session:
        yield Post(emu, session)


@pytest.fixture
def fleet(emu: Emulator, post: Post, tmp_path: Path) -> Fleet:
    return Fleet(emu, post, tmp_path)


@pytest.fixture
async def device(fleet: Fleet) -> Device:
    return await fleet()
