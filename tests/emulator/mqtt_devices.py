"""Devices of an embedded cloud that are claimed and provisioned, and stock MQTT clients for them."""

import asyncio
import json
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiomqtt
import attrs

from ioto_async.emulator import Emulator
from tests.rawserver import GUARD

if TYPE_CHECKING:
    from .conftest import Post  # which makes fixtures of what is here

RULE = "$aws/rules/IotoDevice/"


@attrs.frozen
class Device:
    """A device with what ``device/provision`` answered."""

    id: str
    host: str
    port: int
    pem: Path
    ca: str

    def context(self, *protocols: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(self.pem)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def client(self, **options: Any) -> aiomqtt.Client:
        own: dict[str, Any] = {"identifier": self.id, "tls_context": self.context("x-amzn-mqtt-ca")}
        return aiomqtt.Client(self.host, self.port, **own | options)

    def topic(self, operation: str) -> str:
        return f"ioto/service/{self.id}/{operation}"

    def rule(self, operation: str) -> str:
        """The topic of *operation* by basic ingest, as devices use it where no reply is wanted."""
        return RULE + self.topic(operation)

    @property
    def mine(self) -> str:
        return f"ioto/device/{self.id}/#"


class Fleet:
    """Makes devices of a cloud."""

    def __init__(self, emu: Emulator, post: "Post", folder: Path) -> None:
        self._emu = emu
        self._post = post
        self._folder = folder

    async def __call__(self, id: str = "DEV0000001", *, account_id: str | None = None) -> Device:
        """Register, claim and provision a device."""
        self._emu.cloud.register_device(id)
        self._emu.cloud.claim_device(id, account_id)
        return await self.provision(id)

    async def provision(self, id: str) -> Device:
        reply = (await self._post("/tok/device/provision", {"id": id})).json
        pem = self._folder / f"{id}.pem"
        pem.write_text(reply["certificate"] + reply["key"])
        return Device(id, reply["endpoint"], reply["port"], pem, self._emu.ca)


async def received(client: aiomqtt.Client) -> tuple[str, bytes]:
    """The next message: its topic and its payload."""
    async with asyncio.timeout(GUARD):
        message = await anext(aiter(client.messages))
    assert isinstance(message.payload, bytes)
    return message.topic.value, message.payload


async def asked(client: aiomqtt.Client, device: Device, request: str, body: object = None) -> bytes:
    """Send a request with a sequence number, and return the payload of its reply."""
    payload = None if body is None else json.dumps(body)
    await client.publish(device.topic(request), payload, qos=1)
    topic, reply = await received(client)
    assert topic == f"ioto/device/{device.id}/{request}"
    return reply


async def item(emu: Emulator, post: "Post", device: Device) -> dict[str, Any]:
    """The item of the model Device, by REST."""
    body = {"_type": "Device", "accountId": emu.account_id, "id": device.id}
    found: dict[str, Any] = (await post("/tok/generic/get", body)).json
    return found


async def becomes(emu: Emulator, post: "Post", device: Device, connection: str) -> dict[str, Any]:
    """The same, once it says *connection*."""
    async with asyncio.timeout(GUARD):
        while (found := await item(emu, post, device)).get("connection") != connection:
            await asyncio.sleep(0.005)
    return found
