"""curl against signed URLs and update images: ranges, conditions, HEAD, and HTTPS with the CA of the cloud."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ioto_async.emulator import Emulator
from tests.emulator.conftest import Post
from tests.rawserver import GUARD

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


async def curl(*arguments: str) -> tuple[int, bytes]:
    """Run curl; return the status of the reply, and what it has written."""
    words = ("curl", "--silent", "--show-error", "--max-time", str(GUARD))
    told = "%{stderr}%{http_code}"
    child = await asyncio.create_subprocess_exec(
        *(*words, "--write-out", told, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(GUARD):
        stdout, stderr = await child.communicate()
    assert child.returncode == 0, stderr.decode()
    return int(stderr), stdout


async def signed(post: Post, command: str, **members: Any) -> str:
    reply = await post("/tok/file/getSignedUrl", {"filename": "notes.bin", "command": command, **members})
    return str(json.loads(reply.text))


@pytest.fixture
async def url(emu: Emulator, post: Post, tmp_path: Path) -> str:
    """A URL for GET of a file of the ten digits, which curl has sent."""
    (tmp_path / "digits").write_bytes(b"0123456789")
    put = await signed(post, "put", mimeType="text/plain", size=10)
    sent = await curl("--upload-file", str(tmp_path / "digits"), "--header", "Content-Type: text/plain", put)
    assert sent[0] == 200
    return await signed(post, "get")


async def test_curl_goes_on_with_a_download(url: str, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"01234")
    assert (await curl("--continue-at", "-", "--output", str(part), url))[0] == 206
    assert part.read_bytes() == b"0123456789"


async def test_curl_gets_ranges(url: str) -> None:
    for wanted, status, body in (("2-4", 206, b"234"), ("-3", 206, b"789"), ("7-", 206, b"789")):
        assert await curl("--range", wanted, url) == (status, body)
    assert (await curl("--range", "10-", url))[0] == 416


async def test_curl_gets_a_file_only_when_it_has_changed(url: str, post: Post, tmp_path: Path) -> None:
    tag, out = tmp_path / "tag", tmp_path / "out"
    keep = ("--etag-save", str(tag), "--etag-compare", str(tag), "--output", str(out))
    assert (await curl(*keep, url))[0] == 200
    assert out.read_bytes() == b"0123456789"
    assert (await curl(*keep, url))[0] == 304
    (tmp_path / "digits").write_bytes(b"9876543210")
    put = await signed(post, "put")
    assert (await curl("--upload-file", str(tmp_path / "digits"), put))[0] == 200
    assert (await curl(*keep, url))[0] == 200
    assert out.read_bytes() == b"9876543210"


async def test_a_head_is_refused_with_a_url_that_is_signed_for_get(url: str) -> None:
    assert (await curl("--head", url))[0] == 403


async def test_curl_reads_an_image_with_conditions_and_its_head_over_https(tmp_path: Path) -> None:
    async with Emulator(tls=True, mqtt=False) as emu:
        emu.cloud.add_update("2.0.0", b"0123456789")
        body = json.dumps({"id": emu.cloud.register_device("DEV1"), "version": "1.0.0", "product": emu.product_token})
        emu.cloud.claim_device("DEV1")
        words = ("--cacert", emu.ca, "--header", f"Authorization: {emu.token}", "--json", body)
        _, reply = await curl(*words, f"{emu.api}/tok/provision/update")
        image = ("--cacert", emu.ca, json.loads(reply)["url"])
        status, head = await curl("--head", *image)
        assert (status, b"\r\nContent-Length: 10\r\n" in head) == (200, True)
        assert await curl("--range", "3-5", *image) == (206, b"345")
        tag = tmp_path / "tag"
        keep = ("--etag-save", str(tag), "--etag-compare", str(tag))
        assert (await curl(*keep, *image))[0] == 200
        assert (await curl(*keep, *image))[0] == 304
