"""Replies of another form than the assumed one: what they mean is read where that is plain, and not in strict mode."""

from typing import Any

import pytest

from ioto_async import DecodeError, IotoClient
from ioto_async.codec.words import says_not_found
from ioto_async.models import Certificates
from ioto_async.mqtt.options import checked
from tests.methods import make_client
from tests.mocked import Cloud
from tests.rows import each_row

URL = "https://bucket.example/a?X-Amz-Signature=1"

FORMS: list[tuple[str, bytes, object]] = [
    ("url", b'{"url": "%b"}' % URL.encode(), URL),
    ("url", b'{"data": "%b", "paged": false}' % URL.encode(), URL),
    ("url", URL.encode() + b"\n", URL),
    ("file", b'"aGVsbG8="', b"hello"),
    ("file", b'{"data": "aGVsbG8="}', b"hello"),
    ("files", b'{"data": ["a.txt", "b/c.txt"]}', ["a.txt", "b/c.txt"]),
    ("files", b'["a.txt"]', ["a.txt"]),
    ("files", b'[{"filename": "a.txt"}, "b.txt", 5]', ["a.txt", "b.txt"]),
    ("dashboards", b'{"id": "D", "name": "Main"}', ["D"]),
    ("dashboards", b"{}", []),
    ("dashboards", b'[{"id": "D"}]', ["D"]),
    ("namespaces", b'["Embedthis/Device"]', ["Embedthis/Device"]),
    ("schema", b'{"schema": {"models": {}}}', {"models": {}}),
]
NOT_PLAIN: list[tuple[str, bytes]] = [
    ("url", b'{"url": "a.txt"}'),
    ("url", b'{"url": "%b", "other": "%b"}' % (URL.encode(), URL.encode())),
    ("url", b"<html>"),
    ("url", b"{}"),
    ("file", b"5"),
    ("dashboards", b'{"message": "Forbidden"}'),
    ("dashboards", b"5"),
    ("namespaces", b'"Embedthis/Device"'),
    ("namespaces", b"[1, 2]"),
]
STRICT = [(call, data) for call, data, _ in FORMS if call in ("url", "namespaces") or data in (b"{}", b'"aGVsbG8="')]


async def _read(client: IotoClient, call: str) -> Any:
    match call:
        case "url":
            return await client.file.get_signed_url(command="get", filename="a")
        case "file":
            return (await client.file.get("a")).content
        case "files":
            return [file.filename for file in (await client.file.list()).items]
        case "dashboards":
            return [dashboard.id for dashboard in (await client.dashboard.find()).items]
        case "namespaces":
            return (await client.metric.get_metric_list("C")).namespaces
        case _:
            return await client.metric.get_device_schema()


@each_row("call, data, expected", FORMS)
async def test_another_form_of_a_reply_is_read_for_what_it_means(call: str, data: bytes, expected: object) -> None:
    with Cloud(data):
        async with make_client() as client:
            assert await _read(client, call) == expected


@each_row("call, data", NOT_PLAIN)
async def test_a_reply_that_means_nothing_plain_is_refused(call: str, data: bytes) -> None:
    with Cloud(data):
        async with make_client() as client:
            with pytest.raises(DecodeError):
                await _read(client, call)


@each_row("call, data", STRICT)
async def test_a_strict_client_takes_the_documented_forms_alone(call: str, data: bytes) -> None:
    with Cloud(data):
        async with make_client(strict=True) as client:
            with pytest.raises(DecodeError):
                await _read(client, call)


async def test_another_form_is_logged_once_and_without_its_values(caplog: pytest.LogCaptureFixture) -> None:
    with Cloud(b'{"url": "%b"}' % URL.encode()):
        async with make_client() as client:
            for _ in range(2):
                await _read(client, "url")
    (message,) = caplog.messages
    assert message.startswith("file/getSignedUrl: reply at $: expected a string, got a URL within something else")
    assert "Amz" not in caplog.text


@each_row(
    "text, expected",
    [(b"pinged\n", "pinged"), (b'"pinged"', "pinged"), (b'"pinged\\n"', "pinged\n"), (b'"pinged', '"pinged')],
)
async def test_a_sign_of_life_is_text_or_a_json_string(text: bytes, expected: str) -> None:
    with Cloud(text):
        async with make_client() as client:
            assert await client.test.ping() == expected


@each_row(
    "words, expected",
    [
        ("No such device", True),
        ("Error: no such item", True),
        ("No such route", False),
        ("No such", False),
        ("There is no such device", False),
    ],
)
def test_words_that_say_that_something_is_not_there(words: str, expected: bool) -> None:
    assert says_not_found(words) is expected


@each_row(
    "endpoint, port, expected",
    [
        ("mqtt.example", None, ("mqtt.example", None)),
        ("mqtts://mqtt.example", 443, ("mqtt.example", 443)),
        ("ssl://mqtt.example:8883/", None, ("mqtt.example", 8883)),
        ("mqtts://mqtt.example:8883", 443, ("mqtt.example", 443)),
        ("ftp://mqtt.example", 443, ("ftp://mqtt.example", 443)),
    ],
)
def test_an_mqtt_endpoint_may_be_a_url(endpoint: str, port: int | None, expected: object) -> None:
    certs = checked(Certificates(id="D", certificate="C", key="K", endpoint=endpoint, port=port))
    assert (certs.endpoint, certs.port) == expected
