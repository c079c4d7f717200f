"""A cloud of canned replies, and a client of it, for the tests of what goes to the wire."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from ioto_async import IotoClient
from tests.methods import make_client
from tests.mocked import Cloud

for _name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
    # Those of whoever runs the tests have nothing to do with loopback.
    os.environ.pop(_name, None)
    os.environ.pop(_name.lower(), None)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud(b'{"id":"X"}') as cloud:
        yield cloud


@pytest.fixture
async def client(cloud: Cloud) -> AsyncIterator[IotoClient]:
    async with make_client() as client:
        yield client
