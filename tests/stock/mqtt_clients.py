"""Stock MQTT clients behind one interface, each used as its documentation says, with nothing of it changed."""

import asyncio
import base64
import functools
import importlib.util
import json
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.emulator.mqtt_devices import Device
from tests.rawserver import GUARD

__all__ = ["CLIENTS", "Client", "Message", "RefusedError", "why_not"]

_NODE_DRIVER: Final = Path(__file__).with_name("mqtt_js.js")
_ALPN: Final = "x-amzn-mqtt-ca"


class Message(NamedTuple):
    """What a client has received."""

    topic: str
    payload: bytes
    retain: bool = False


class RefusedError(Exception):
    """The client was refused; the text is its own."""


class Client(ABC):
    """A client that connects as a device.

    Attributes:
        package: what must be there for it: a module of Python, or ``node`` with a package of npm.
        not_authorized: how it says that it was refused with return code 5.
        takes_many_filters: whether it can put several filters into a SUBSCRIBE.
    """

    package: str
    not_authorized = "Not authorized"
    takes_many_filters = True

    def __init__(self, device: Device) -> None:
        self.device = device
        self._loop = asyncio.get_running_loop()
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        self._ended = asyncio.Event()

    @abstractmethod
    async def connect(
        self, identifier: str = "", *, clean: bool = True, will: Message | None = None, version: int = 4
    ) -> bool:
        """Connect as the device, or as *identifier* with its certificate; return whether a session was present.

        Raises:
            RefusedError: the cloud refuses it.
        """

    @abstractmethod
    async def subscribe(self, *filters: str) -> list[int]:
        """Subscribe with QoS 1 in one packet, and return what was granted."""

    @abstractmethod
    async def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        """Publish with QoS 1; return when it is acknowledged, if the client can tell."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect, if that has not happened yet."""

    async def receive(self) -> Message:
        """Return the next message."""
        async with asyncio.timeout(GUARD):
            return await self._received.get()

    async def wait_ended(self) -> None:
        """Wait until the cloud has ended the connection."""
        async with asyncio.timeout(GUARD):
            await self._ended.wait()

    def _note(self, topic: str, payload: bytes, retain: bool) -> None:
        """Take a message, in whatever thread."""
        self._loop.call_soon_threadsafe(self._received.put_nowait, Message(topic, bytes(payload), bool(retain)))

    def _note_end(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)


def _settle(future: asyncio.Future[Any], value: object) -> None:
    """Set the first of several results."""
    if not future.done():
        future.set_result(value)


class Paho(Client):
    """paho-mqtt with the thread of its own."""

    package = "paho"

    async def connect(
        self, identifier: str = "", *, clean: bool = True, will: Message | None = None, version: int = 4
    ) -> bool:
        from paho.mqtt.client import Client as PahoClient
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

        connected: asyncio.Future[tuple[Any, bool]] = self._loop.create_future()
        self._acknowledged: asyncio.Queue[int] = asyncio.Queue()
        self._granted: asyncio.Queue[list[int]] = asyncio.Queue()

        def on_connect(_: object, __: object, flags: Any, reason: Any, ___: object) -> None:
            # It connects again by itself.
            self._loop.call_soon_threadsafe(_settle, connected, (reason, flags.session_present))

        self._client: Any = PahoClient(
            CallbackAPIVersion.VERSION2,
            identifier or self.device.id,
            None if version == 5 else clean,
            protocol=MQTTProtocolVersion(version),
        )
        client: Any = self._client
        client.tls_set_context(self.device.context(_ALPN))
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        client.on_connect = on_connect
        client.on_disconnect = lambda *_: self._note_end()
        client.on_message = lambda _, __, message: self._note(message.topic, message.payload, message.retain)
        client.on_subscribe = lambda _, __, ___, reasons, ____: self._loop.call_soon_threadsafe(
            self._granted.put_nowait, [reason.value for reason in reasons]
        )
        client.on_publish = lambda _, __, mid, *___: self._loop.call_soon_threadsafe(self._acknowledged.put_nowait, mid)
        await asyncio.to_thread(client.connect, self.device.host, self.device.port)
        client.loop_start()
        async with asyncio.timeout(GUARD):
            reason, present = await connected
        if reason.is_failure:
            await self.close()
            raise RefusedError(str(reason))
        return bool(present)

    async def subscribe(self, *filters: str) -> list[int]:
        self._client.subscribe([(each, 1) for each in filters])
        async with asyncio.timeout(GUARD):
            return await self._granted.get()

    async def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        sent = self._client.publish(topic, payload, qos=1, retain=retain)
        async with asyncio.timeout(GUARD):
            assert await self._acknowledged.get() == sent.mid

    async def close(self) -> None:
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)


class Aiomqtt(Client):
    """aiomqtt, which is paho in the loop of asyncio."""

    package = "aiomqtt"

    async def connect(
        self, identifier: str = "", *, clean: bool = True, will: Message | None = None, version: int = 4
    ) -> bool:
        import aiomqtt

        options: dict[str, Any] = {"protocol": aiomqtt.ProtocolVersion(version)}
        if version == 4:
            options["clean_session"] = clean
        if will is not None:
            options["will"] = aiomqtt.Will(will.topic, will.payload, qos=1, retain=will.retain)
        if identifier:
            options["identifier"] = identifier
        self._client = self.device.client(**options)
        try:
            await self._client.__aenter__()
        except aiomqtt.MqttError as error:
            raise RefusedError(str(error)) from error
        self._reading = asyncio.create_task(self._read())
        # It does not tell whether there was a session.
        return not clean

    async def _read(self) -> None:
        import aiomqtt

        try:
            async for message in self._client.messages:
                assert isinstance(message.payload, bytes)
                self._note(message.topic.value, message.payload, message.retain)
        except aiomqtt.MqttError:
            self._note_end()

    async def subscribe(self, *filters: str) -> list[int]:
        codes: Any = await self._client.subscribe([(each, 1) for each in filters])
        return [getattr(code, "value", code) for code in codes]

    async def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        await self._client.publish(topic, payload, qos=1, retain=retain)

    async def close(self) -> None:
        if hasattr(self, "_reading"):
            self._reading.cancel()
            await self._client.__aexit__(None, None, None)


class Gmqtt(Client):
    """gmqtt."""

    package = "gmqtt"
    not_authorized = r"Connection Refused: not authorised"

    async def connect(
        self, identifier: str = "", *, clean: bool = True, will: Message | None = None, version: int = 4
    ) -> bool:
        import gmqtt

        last = will and gmqtt.Message(will.topic, will.payload, qos=1, retain=will.retain)
        self._client = gmqtt.Client(identifier or self.device.id, clean_session=clean, will_message=last)
        self._granted: asyncio.Queue[list[int]] = asyncio.Queue()
        present: list[bool] = []
        self._client.on_connect = lambda client, flags, result, properties: present.append(bool(flags))
        self._client.on_disconnect = lambda client, packet, error=None: self._note_end()
        self._client.on_subscribe = lambda client, mid, qos, properties: self._granted.put_nowait(list(qos))
        self._client.on_message = self._take
        context = self.device.context(_ALPN)
        try:
            async with asyncio.timeout(GUARD):
                await self._client.connect(self.device.host, self.device.port, ssl=context, version=version)
        except gmqtt.mqtt.handler.MQTTConnectError as error:
            await self.close()
            raise RefusedError(str(error)) from error
        return present[-1]

    async def _take(self, client: Any, topic: str, payload: bytes, qos: int, properties: Mapping[str, Any]) -> int:
        self._note(topic, payload, properties["retain"])
        return 0

    async def subscribe(self, *filters: str) -> list[int]:
        import gmqtt

        self._client.subscribe([gmqtt.Subscription(each, qos=1) for each in filters])
        async with asyncio.timeout(GUARD):
            return await self._granted.get()

    async def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        # It says nothing of an acknowledgement.
        self._client.publish(topic, payload, qos=1, retain=retain)

    async def close(self) -> None:
        self._client.stop_reconnect()
        await self._client.disconnect()


class AwsIot(Client):
    """awsiotsdk, which is awscrt with threads of its own."""

    package = "awsiot"
    # It expects what AWS IoT Core does, which closes the connection without a CONNACK.
    not_authorized = "AWS_ERROR_MQTT_PROTOCOL_ERROR"
    takes_many_filters = False

    def _options(self, identifier: str) -> dict[str, Any]:
        return {
            "endpoint": self.device.host,
            "port": self.device.port,
            "cert_filepath": str(self.device.pem.with_suffix(".crt")),
            "pri_key_filepath": str(self.device.pem.with_suffix(".key")),
            "ca_filepath": self.device.ca,
            "client_id": identifier or self.device.id,
        }

    async def connect(
        self, identifier: str = "", *, clean: bool = True, will: Message | None = None, version: int = 4
    ) -> bool:
        from awscrt import exceptions, mqtt
        from awsiot import mqtt_connection_builder

        # It takes certificate and key apart.
        certificate, marker, key = self.device.pem.read_text().partition("-----BEGIN PRIVATE KEY-----")
        self.device.pem.with_suffix(".crt").write_text(certificate)
        self.device.pem.with_suffix(".key").write_text(marker + key)
        if version == 5:
            return await self._connect_5(identifier)
        last = will and mqtt.Will(will.topic, mqtt.QoS.AT_LEAST_ONCE, will.payload, will.retain)
        self._connection = mqtt_connection_builder.mtls_from_path(
            **self._options(identifier),
            clean_session=clean,
            keep_alive_secs=30,
            # It goes on for as long where it is to disconnect meanwhile.
            reconnect_min_timeout_secs=1,
            reconnect_max_timeout_secs=1,
            will=last,
            on_connection_interrupted=lambda connection, error, **_: self._note_end(),
        )
        self._connection.on_message(lambda topic, payload, dup, qos, retain, **_: self._note(topic, payload, retain))
        try:
            async with asyncio.timeout(GUARD):
                connected = await asyncio.wrap_future(self._connection.connect())
        except exceptions.AwsCrtError as error:
            raise RefusedError(str(error)) from error
        return bool(connected["session_present"])

    async def _connect_5(self, identifier: str) -> bool:
        from awsiot import mqtt5_client_builder

        outcome: asyncio.Future[Any] = self._loop.create_future()
        stopped = asyncio.Event()

        def note(data: Any) -> None:
            self._loop.call_soon_threadsafe(_settle, outcome, data)

        client = mqtt5_client_builder.mtls_from_path(
            **self._options(identifier),
            on_lifecycle_connection_success=note,
            on_lifecycle_connection_failure=note,
            on_lifecycle_stopped=lambda _: self._loop.call_soon_threadsafe(stopped.set),
        )
        client.start()
        async with asyncio.timeout(GUARD):
            data = await outcome
            client.stop()
            await stopped.wait()
        raise RefusedError(data.connack_packet.reason_code.name)

    async def subscribe(self, *filters: str) -> list[int]:
        from awscrt import mqtt

        granted = []
        for each in filters:
            done, _ = self._connection.subscribe(each, mqtt.QoS.AT_LEAST_ONCE)
            try:
                async with asyncio.timeout(GUARD):
                    qos = (await asyncio.wrap_future(done))["qos"]
            except mqtt.SubscribeError:
                qos = None
            granted.append(0x80 if qos is None else qos.value)
        return granted

    async def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        from awscrt import mqtt

        done, _ = self._connection.publish(topic, payload, mqtt.QoS.AT_LEAST_ONCE, retain)
        async with asyncio.timeout(GUARD):
            await asyncio.wrap_future(done)

    async def close(self) -> None:
        async with asyncio.timeout(GUARD):
            await asyncio.wrap_future(self._connection.disconnect())


class MqttJs(Client):
    """MQTT.js in a process of its own, which takes JSON lines and says JSON lines."""

    package = "node mqtt"

    async def connect(
        self, identifier: str = "", *, clean: bool = True, will: Message | None = None, version: int = 4
    ) -> bool:
        pipe = asyncio.subprocess.PIPE
        self._child = await asyncio.create_subprocess_exec("node", str(_NODE_DRIVER), stdin=pipe, stdout=pipe)
        self._replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())
        pem = str(self.device.pem)
        files = {"cert": pem, "key": pem, "ca": self.device.ca}
        own = {"clientId": identifier or self.device.id, "clean": clean, "protocolVersion": version}
        options: dict[str, Any] = {"ALPNProtocols": [_ALPN]} | files | own
        if will is not None:
            text = will.payload.decode()
            options["will"] = {"topic": will.topic, "payload": text, "qos": 1, "retain": will.retain}
        url = f"mqtts://{self.device.host}:{self.device.port}"
        try:
            return bool(await self._ask("connect", url=url, options=options))
        except RefusedError:
            await self.close()
            raise

    async def _read(self) -> None:
        assert self._child.stdout is not None
        async for line in self._child.stdout:
            said = json.loads(line)
            if "message" in said:
                topic, payload, retain = said["message"]
                self._note(topic, base64.b64decode(payload), retain)
            elif "ended" in said:
                self._note_end()
            else:
                self._replies.put_nowait(said)

    async def _ask(self, do: str, **members: Any) -> Any:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({"do": do, **members}).encode() + b"\n")
        async with asyncio.timeout(GUARD):
            said = await self._replies.get()
        if "error" in said:
            raise RefusedError(said["error"])
        return said["reply"]

    async def subscribe(self, *filters: str) -> list[int]:
        return list(await self._ask("subscribe", filters=filters))

    async def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        await self._ask("publish", topic=topic, payload=payload, options={"qos": 1, "retain": retain})

    async def close(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        async with asyncio.timeout(GUARD):
            await self._child.wait()
            await self._reading


CLIENTS: Final[Mapping[str, Callable[[Device], Client]]] = {
    "paho": Paho,
    "aiomqtt": Aiomqtt,
    "gmqtt": Gmqtt,
    "awsiotsdk": AwsIot,
    "MQTT.js": MqttJs,
}


@functools.cache
def why_not(package: str) -> str | None:
    """Return why a client cannot be tried here, None if it can."""
    program, _, name = package.rpartition(" ")
    if not program:
        missing = importlib.util.find_spec(name) is None
        return f"{name} is not installed (it comes with the extra stock-clients)" if missing else None
    if shutil.which(program) is None:
        return f"{program} is not installed"
    looked_for = subprocess.run([program, "-e", f"require({name!r})"], capture_output=True, env=os.environ)
    return f"the npm package {name} is not found (NODE_PATH names where it is)" if looked_for.returncode else None
