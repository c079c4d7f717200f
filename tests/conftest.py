"""A cloud of canned replies, and a client of it, for the tests of what goes to the wire."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import settings

from ioto_async import IotoClient
from tests.methods import make_client
from tests.mocked import Cloud

for _name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
    # Those of whoever runs the tests have nothing to do with loopback.
    os.environ.pop(_name, None)
    os.environ.pop(_name.lower(), None)

# How long an example takes says how busy the machine is.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--eager", action="store_true", help="run all loops with asyncio.eager_task_factory (Python 3.12)")
    parser.addoption("--no-fast-path", action="store_true", help="send all requests through aiohttp's own layers")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--eager"):
        if sys.version_info < (3, 12):
            raise pytest.UsageError("--eager needs Python 3.12")
        asyncio.set_event_loop_policy(_EagerPolicy())
    if config.getoption("--no-fast-path"):
        patch("ioto_async.transport.pool.use_protocol", return_value=False).start()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # A cluster of Dask does not close in a loop with eager tasks.
    is_of_dask = collection_path.name in ("distributed", "test_fleet_dask.py")
    return True if is_of_dask and config.getoption("--eager") else None


class _EagerPolicy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        loop = super().new_event_loop()
        if sys.version_info >= (3, 12):
            loop.set_task_factory(asyncio.eager_task_factory)
        return loop


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud(b'{"id":"X"}') as cloud:
        yield cloud


@pytest.fixture
async def client(cloud: Cloud) -> AsyncIterator[IotoClient]:
    async with make_client() as client:
        yield client
