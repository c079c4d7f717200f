"""Downloads of files and images: ranges, conditions, and what the vendor's C updater needs of them."""

import hashlib
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest
from yarl import URL

from ioto_async.emulator import Emulator, Fault
from ioto_async.emulator.rest.conditions import Failed, select
from ioto_async.emulator.server import _url
from ioto_async.emulator.state.files import CHUNK
from tests.rows import each_row

from .conftest import Post, exchange

ETAG = '"abc"'
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
MODIFIED = 784_111_777
BEFORE, AFTER = "Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"


@each_row(
    "headers, status, part",
    [
        ({}, 200, (0, 10)),
        ({"Range": "bytes=0-3"}, 206, (0, 4)),
        ({"Range": "bytes=9-"}, 206, (9, 10)),
        ({"Range": "bytes=4-100"}, 206, (4, 10)),
        ({"Range": "bytes=-3"}, 206, (7, 10)),
        ({"Range": "bytes=-30"}, 206, (0, 10)),
        ({"Range": "Bytes=0-0 "}, 206, (0, 1)),
        ({"Range": "bytes=3-2"}, 200, (0, 10)),
        ({"Range": "bytes=-"}, 200, (0, 10)),
        ({"Range": "bytes=0-1,4-5"}, 200, (0, 10)),
        ({"Range": "lines=0-1"}, 200, (0, 10)),
        ({"Range": "bytes=a-b"}, 200, (0, 10)),
        ({"Range": "bytes=0-1", "If-Range": ETAG}, 206, (0, 2)),
        ({"Range": "bytes=0-1", "If-Range": DATE}, 206, (0, 2)),
        ({"Range": "bytes=0-1", "If-Range": '"other"'}, 200, (0, 10)),
        ({"Range": "bytes=0-1", "If-Range": BEFORE}, 200, (0, 10)),
        ({"If-None-Match": ETAG}, 304, (0, 0)),
        ({"If-None-Match": "abc"}, 304, (0, 0)),
        ({"If-None-Match": '"x", W/"abc"'}, 304, (0, 0)),
        ({"If-None-Match": "*"}, 304, (0, 0)),
        ({"If-None-Match": '"x"'}, 200, (0, 10)),
        ({"If-None-Match": '"x"', "If-Modified-Since": DATE}, 200, (0, 10)),
        ({"If-None-Match": ETAG, "Range": "bytes=0-1"}, 304, (0, 0)),
        ({"If-Modified-Since": DATE}, 304, (0, 0)),
        ({"If-Modified-Since": BEFORE}, 200, (0, 10)),
        ({"If-Modified-Since": "yesterday"}, 200, (0, 10)),
        ({"If-Match": ETAG}, 200, (0, 10)),
        ({"If-Match": "*", "If-Unmodified-Since": BEFORE}, 200, (0, 10)),
        ({"If-Unmodified-Since": AFTER, "Range": "bytes=1-1"}, 206, (1, 2)),
    ],
)
def test_a_request_selects(headers: Mapping[str, str], status: int, part: tuple[int, int]) -> None:
    selection = select(headers, 10, ETAG, MODIFIED)
    assert (selection.status, (selection.start, selection.stop)) == (status, part)
    content_range = {"Content-Range": f"bytes {part[0]}-{part[1] - 1}/10"} if status == 206 else {}
    assert selection.headers == content_range


@each_row(
    "headers, size, status",
    [
        ({"Range": "bytes=10-"}, 10, 416),
        ({"Range": "bytes=-0"}, 10, 416),
        ({"Range": "bytes=0-"}, 0, 416),
        ({"If-Match": '"x"'}, 10, 412),
        ({"If-Match": 'W/"abc"'}, 10, 412),
        ({"If-Match": '"x"', "If-None-Match": ETAG}, 10, 412),
        ({"If-Unmodified-Since": BEFORE}, 10, 412),
    ],
)
def test_what_is_not_there_or_not_as_expected_is_an_error(headers: Mapping[str, str], size: int, status: int) -> None:
    with pytest.raises(Failed) as caught:
        select(headers, size, ETAG, MODIFIED)
    assert caught.value.status == status
    if status == 416:
        assert caught.value.headers == {"Content-Range": f"bytes */{size}"}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def file_url(post: Post, content: bytes, session: aiohttp.ClientSession) -> URL:
    """Where a file of that *content* can be got."""
    url, upload = [
        URL((await post("/tok/file/getSignedUrl", {"command": command, "filename": "a.bin"})).json, encoded=True)
        for command in ("get", "put")
    ]
    async with session.put(upload, data=content) as reply:
        assert reply.status == 200
    return url


async def image_url(emu: Emulator, post: Post, content: bytes) -> URL:
    """Where an image of that *content* can be got."""
    emu.cloud.claim_device(emu.cloud.register_device("DEV0000001"))
    emu.cloud.add_update("2.0.0", content)
    body = {"id": "DEV0000001", "product": emu.product_token, "version": "1.0.0"}
    return URL((await post("/tok/provision/update", body)).json["url"], encoded=True)


async def test_files_and_images_come_in_ranges_and_under_conditions(
    emu: Emulator, post: Post, session: aiohttp.ClientSession
) -> None:
    content = bytes(range(251)) * (CHUNK // 100)
    etag = f'"{hashlib.md5(content).hexdigest()}"'
    urls = {"a file": await file_url(post, content, session), "an image": await image_url(emu, post, content)}

    @each_row("url", urls)
    async def is_served(url: URL) -> None:
        for start, stop in ((0, 1), (CHUNK - 1, CHUNK + 1), (CHUNK, 2 * CHUNK), (CHUNK + 5, len(content)), (3, 9)):
            async with session.get(url, headers={"Range": f"bytes={start}-{stop - 1}"}) as reply:
                assert (reply.status, await reply.read()) == (206, content[start:stop])
                assert reply.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(content)}"
                assert reply.headers["Content-Length"] == str(stop - start)
        async with session.get(url) as reply:
            assert (reply.status, await reply.read(), reply.headers["ETag"]) == (200, content, etag)
            assert reply.headers["Accept-Ranges"] == "bytes"
        async with session.get(url, headers={"If-None-Match": etag}) as reply:
            assert (reply.status, await reply.read(), reply.headers["ETag"]) == (304, b"", etag)
        async with session.get(url, headers={"If-Match": '"x"'}) as reply:
            assert reply.status == 412
        async with session.get(url, headers={"Range": f"bytes={len(content)}-"}) as reply:
            assert (reply.status, reply.headers["Content-Range"]) == (416, f"bytes */{len(content)}")

    await is_served()


async def test_a_range_of_a_file_that_is_refused_is_told_as_s3_does(
    emu: Emulator, post: Post, session: aiohttp.ClientSession
) -> None:
    url = await file_url(post, b"content", session)
    async with session.get(url, headers={"Range": "bytes=7-"}) as reply:
        assert "<Code>InvalidRange</Code>" in await reply.text()
    async with session.get(url, headers={"If-Match": '"x"'}) as reply:
        assert "<Code>PreconditionFailed</Code>" in await reply.text()
    async with session.get(url) as reply:
        date = reply.headers["Last-Modified"]
    async with session.get(url, headers={"If-Modified-Since": date}) as reply:
        assert reply.status == 304


async def test_the_connection_ends_with_an_image(emu: Emulator, post: Post) -> None:
    path = (await image_url(emu, post, b"firmware")).raw_path
    for method, body in (("GET", b"firmware"), ("HEAD", b"")):
        reply = await exchange(emu.api, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, got = reply.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close" in head
        assert b"\r\nContent-Length: 8" in head
        assert got == body
    emu.faults.add(Fault("download", status=503))
    assert b"\r\nConnection: close" in await exchange(emu.api, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


@each_row(
    "host, port, tls, url",
    [
        ("127.0.0.1", 8080, False, "http://127.0.0.1:8080"),
        ("::", 8080, False, "http://[::1]:8080"),
        ("0.0.0.0", 80, False, "http://127.0.0.1"),
        ("127.0.0.1", 443, False, "http://127.0.0.1:443"),
        ("127.0.0.1", 443, True, "https://localhost"),
        ("::1", 80, True, "https://localhost:80"),
        ("0.0.0.0", 8443, True, "https://localhost:8443"),
        ("cloud.example", 443, True, "https://cloud.example"),
        ("192.0.2.7", 443, True, "https://192.0.2.7"),
    ],
)
def test_a_url_has_a_name_under_tls_and_no_port_that_goes_without_saying(
    host: str, port: int, tls: bool, url: str
) -> None:
    assert _url(host, port, tls=tls) == url


async def test_images_are_named_by_a_host_that_is_in_the_certificate(post: Post) -> None:
    async with Emulator(tls=True) as emulator:
        assert URL(emulator.api).host == URL(emulator.cloud.files.url).host == "localhost"
