"""What the tests of the embedded cloud share: a cloud, and raw HTTP without this package's client."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from ioto_async.emulator import Emulator

from .mqtt_devices import Device, Fleet


@attrs.frozen
class Reply:
    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Post:
    """Sends one request to the cloud: ``await post("/tok/device/get", {"id": ...})``."""

    def __init__(self, emu: Emulator, session: aiohttp.ClientSession) -> None:
        self._emu = emu
        self._session = session

    async def __call__(
        self,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Reply:
        """Send *body* as JSON, or *data* as it is, with the CloudAPI token unless another or ``""`` is given."""
        if data is None:
            data = b"" if body is None else json.dumps(body).encode()
        token = self._emu.token if token is None else token
        every = {"Content-Type": "application/json"} | ({"Authorization": token} if token else {})
        async with self._session.request(
            method, self._emu.api + path, data=io.BytesIO(data), headers=every | dict(headers or {})
        ) as response:
            return Reply(response.status, await response.text(), response.headers)

    async def register(self, **body: object) -> Reply:
        """Register a device as the agent does."""
        product = self._emu.product_token
        return await self("/api/device/register", {"product": product} | body, token=f"bearer {product}")

    async def login(self, path: str, body: object = None, *, token: str | None = None) -> Reply:
        """Send a request as a web app does after the sign-in."""
        token = self._emu.login_token if token is None else token
        return await self(path, body, token=token, headers={"Origin": f"https://{self._emu.origin}"})

    async def device_token(self, id: str = "DEV0000001") -> str:
        """Register and claim a device and return its token."""
        self._emu.cloud.register_device(id)
        self._emu.cloud.claim_device(id)
        return str((await self.register(id=id)).json["token"])


@pytest.fixture
def mqtt() -> bool:
    """Whether ``emu`` serves MQTT, which costs each test some milliseconds; modules that need it say True."""
    return False


@pytest.fixture
async def emu(mqtt: bool) -> AsyncIterator[Emulator]:
    async with Emulator(mqtt=mqtt) as emulator:
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


async def exchange(api: str, request: bytes) -> bytes:
    """Send bytes as they are, and return all that comes back until the server closes the connection."""
    host, _, port = api.rpartition("//")[2].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def request_bytes(path: str, token: str, body: bytes = b"", *, headers: bytes = b"") -> bytes:
    return (
        (
            f"POST {path} HTTP/1.1\r\nHost: cloud\r\nConnection: close\r\nAuthorization: {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        ).encode()
        + headers
        + b"\r\n"
        + body
    )
