"""A cloud of canned replies, and a client of it, for the tests of what goes to the wire."""

from collections.abc import AsyncIterator, Iterator

import pytest

from ioto_async import IotoClient
from tests.methods import make_client
from tests.mocked import Cloud


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud(b'{"id":"X"}') as cloud:
        yield cloud


@pytest.fixture
async def client(cloud: Cloud) -> AsyncIterator[IotoClient]:
    async with make_client() as client:
        yield client
