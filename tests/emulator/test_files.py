import asyncio
import base64
import hashlib
import io
import logging
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from xml.etree import ElementTree

import aiohttp
import attrs
import pytest
from yarl import URL

from ioto_async.emulator import Emulator, Fault
from ioto_async.emulator.state.files import CHUNK
from tests.rows import each_row

from .conftest import Post, Reply, exchange
from .tables import each_row_after_reset

MB = 2**20


@attrs.frozen
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def error(self) -> str:
        """The code of an error of S3."""
        return ElementTree.fromstring(self.body).findtext("Code", "")


class Transfer:
    """Gets signed URLs and uses them, without this package's client."""

    def __init__(self, emu: Emulator, post: Post, session: aiohttp.ClientSession) -> None:
        self.emu = emu
        self._post = post
        self._session = session

    async def url(self, command: str | None = None, filename: str = "a.txt", **more: object) -> str:
        reply = await self._post("/tok/file/getSignedUrl", {"command": command, "filename": filename} | more)
        assert reply.status == 200, reply.text
        url: str = reply.json
        return url

    async def __call__(
        self, method: str, url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        async with self._session.request(
            method, URL(url, encoded=True), data=None if data is None else io.BytesIO(data), headers=headers
        ) as reply:
            return Answer(reply.status, await reply.read(), reply.headers)

    async def put(self, data: bytes, filename: str = "a.txt", **more: object) -> Answer:
        url = await self.url("put", filename, **more)
        return await self("PUT", url, data, {"Content-Type": str(more.get("mimeType", "text/plain"))})

    async def get(self, filename: str = "a.txt", **more: object) -> Answer:
        return await self("GET", await self.url("get", filename, **more))


@pytest.fixture
async def transfer(emu: Emulator, post: Post) -> AsyncIterator[Transfer]:
    async with aiohttp.ClientSession() as session:
        yield Transfer(emu, post, session)


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def put(post: Post, content: bytes = b"content", filename: str = "a.txt", **more: object) -> Reply:
    return await post("/tok/file/put", {"filename": filename, "data": encoded(content)} | more)


async def listed(post: Post, query: str = "", **body: object) -> list[str]:
    return [file["filename"] for file in (await post(f"/tok/file/list{query}", body)).json["data"]]


def content_of(emu: Emulator, filename: str = "a.txt", owner: str | None = None) -> bytes | None:
    """What the store has, without a request."""
    with emu.cloud.lock:
        file = emu.cloud.files.get(owner or emu.account_id, filename)
        if file is None:
            return None
        download = emu.cloud.files.read(file)
        try:
            return b"".join(iter(download.next, b""))
        finally:
            download.close()


def pieces(emu: Emulator) -> int:
    """How many pieces of whatever files the database holds."""
    with emu.cloud.lock:
        (count,) = emu.cloud._db.execute("SELECT count(*) FROM chunks").fetchone()
    return int(count)


# The operations


async def test_put_answers_the_record_of_the_file(emu: Emulator, post: Post) -> None:
    emu.cloud.clock = lambda: 1_700_000_000.123
    reply = await put(post, b"content", "notes/a b.txt", mimeType="text/plain")
    assert reply.json == {
        "filename": "notes/a b.txt",
        "mimeType": "text/plain",
        "size": 7,
        "checksum": hashlib.sha256(b"content").hexdigest(),
        "created": "2023-11-14T22:13:20.123Z",
        "updated": "2023-11-14T22:13:20.123Z",
    }


async def test_get_has_the_content_beside_the_record(post: Post) -> None:
    content = bytes(range(256))
    record = (await put(post, content)).json
    reply = await post("/tok/file/get", {"filename": "a.txt"})
    assert reply.json == record | {"data": encoded(content)}
    assert record["mimeType"] == "application/octet-stream"


async def test_a_file_that_is_not_there_is_an_empty_object(post: Post) -> None:
    assert (await post("/tok/file/get", {"filename": "a.txt"})).json == {}


async def test_a_second_put_replaces_the_file_and_keeps_its_date(emu: Emulator, post: Post) -> None:
    emu.cloud.clock = lambda: 0.0
    await put(post, b"first" * CHUNK)
    emu.cloud.clock = lambda: 1.0
    record = (await put(post, b"second")).json
    assert (record["created"], record["updated"]) == ("1970-01-01T00:00:00.000Z", "1970-01-01T00:00:01.000Z")
    assert content_of(emu) == b"second"
    assert pieces(emu) == 1


async def test_an_empty_file_is_a_file(emu: Emulator, post: Post) -> None:
    assert (await put(post, b"")).json["size"] == 0
    assert (await post("/tok/file/get", {"filename": "a.txt"})).json["data"] == ""


@each_row_after_reset("data", ["YQ", "Y Q==", "YQ==\n", "YQ==YQ==", "Y-==", "ä", "=" * 4])
async def test_data_that_is_not_strict_base64_is_refused(post: Post, data: str) -> None:
    reply = await post("/tok/file/put", {"filename": "a.txt", "data": data})
    assert (reply.status, reply.text) == (400, "data must be base64")


async def test_what_is_missing_is_named(post: Post) -> None:
    for path, body, missing in (
        ("get", {}, "filename"),
        ("put", {"data": ""}, "filename"),
        ("put", {"filename": "a"}, "data"),
        ("remove", {"mimeType": "text/plain"}, "filename"),
        ("getSignedUrl", {}, "filename"),
    ):
        reply = await post(f"/tok/file/{path}", body)
        assert (reply.status, reply.text) == (400, f"Missing {missing}")


NAMES = ["/a", "..", "../a", "a/../b", "a/.", "./a", "a\nb", "\x00", "a\x7f", "a\x85", "n" * 1025]


@each_row_after_reset("filename", NAMES)
@each_row_after_reset("path", ["get", "put", "remove", "getSignedUrl"])
async def test_a_name_that_leaves_the_storage_is_refused(post: Post, path: str, filename: str) -> None:
    reply = await post(f"/tok/file/{path}", {"filename": filename, "data": "", "command": "put"})
    assert reply.status == 400
    assert reply.text.startswith("filename must be a path inside the storage of up to 1024 characters: ")


@each_row_after_reset(
    "filename", ["a", "..a/...", "a b", "ä/ß.txt", "a//b", "a/", "%2e%2e/a", "a?b#c&d=+;", "\\", "n" * 1024]
)
async def test_any_other_name_is_stored_and_transferred_under_it(
    emu: Emulator, post: Post, transfer: Transfer, filename: str
) -> None:
    assert (await transfer.put(b"content", filename)).status == 200
    assert (await listed(post)) == [filename]
    assert (await transfer.get(filename)).body == b"content"
    assert (await transfer("DELETE", await transfer.url("delete", filename))).status == 204
    assert (await listed(post)) == []


@each_row_after_reset("filename", [1, ["a"], {"a": 1}, True])
async def test_a_name_that_is_no_text_is_refused(post: Post, filename: object) -> None:
    for path in ("put", "remove", "getSignedUrl"):
        reply = await post(f"/tok/file/{path}", {"filename": filename, "data": ""})
        assert (reply.status, reply.text) == (400, "filename must be of type string")


@each_row_after_reset("mime_type", ["text", "text/", "/plain", "text/plain\r\nX: y", "t" * 250 + "/plain", "ä/b"])
async def test_a_type_that_is_no_media_type_is_refused(post: Post, mime_type: str) -> None:
    for path in ("put", "getSignedUrl"):
        reply = await post(f"/tok/file/{path}", {"filename": "a", "data": "", "mimeType": mime_type})
        assert reply.status == 400
        assert reply.text.startswith("mimeType must be a media type such as image/png, not ")


async def test_a_list_is_narrowed_by_members_of_the_records(post: Post) -> None:
    await put(post, b"1", "a/1", mimeType="text/plain")
    await put(post, b"22", "b/2", mimeType="text/plain")
    await put(post, b"22", "b/3", mimeType="image/png")
    assert await listed(post) == ["a/1", "b/2", "b/3"]
    assert await listed(post, filename="b/2") == ["b/2"]
    assert await listed(post, mimeType="text/plain", size=2) == ["b/2"]
    assert await listed(post, checksum=hashlib.sha256(b"22").hexdigest(), mimeType=None) == ["b/2", "b/3"]
    assert await listed(post, colour="red") == []
    assert (await post("/tok/file/list", {})).json["data"][0].keys() == (await put(post)).json.keys()


async def test_a_list_pages_there_and_back(post: Post) -> None:
    for number in (3, 1, 2):
        await put(post, filename=f"{number}")
    first = (await post("/tok/file/list?limit=2", {})).json
    assert [file["filename"] for file in first["data"]] == ["1", "2"]
    second = (await post(f"/tok/file/list?limit=2&next={quote(first['next'])}", {})).json
    assert [file["filename"] for file in second["data"]] == ["3"]
    assert "next" not in second
    assert await listed(post, f"?limit=2&prev={quote(second['prev'])}") == ["1", "2"]


async def test_a_file_is_removed_once_or_twice_with_all_its_pieces(emu: Emulator, post: Post) -> None:
    await put(post, bytes(3 * CHUNK), "a")
    await put(post, b"other", "b")
    for _ in range(2):
        reply = await post("/tok/file/remove", {"filename": "a"})
        assert (reply.status, reply.text) == (200, "{}")
    assert await listed(post) == ["b"]
    assert pieces(emu) == 1


async def test_a_file_too_large_for_a_reply_needs_a_signed_url(emu: Emulator, post: Post) -> None:
    await put(post, bytes(4 * MB))
    assert (await post("/tok/file/get", {"filename": "a.txt"})).status == 200
    await put(post, bytes(4 * MB + 1))
    reply = await post("/tok/file/get", {"filename": "a.txt"})
    assert (reply.status, reply.text) == (
        400,
        "filename has 4194305 bytes, too many for a reply; download it from a signed URL",
    )


# Whose files they are


async def test_accounts_do_not_see_each_others_files(emu: Emulator, post: Post, transfer: Transfer) -> None:
    other = emu.cloud.add_account("Other", "other@ioto.test")
    token = emu.cloud.create_token("login", account_id=other)
    await put(post, b"mine")
    await put(post, b"theirs", accountId=other)
    assert (await post.login("/file/get", {"filename": "a.txt"}, token=token)).json["data"] == encoded(b"theirs")
    assert len((await post.login("/file/list", {}, token=token)).json["data"]) == 1
    await post.login("/file/remove", {"filename": "a.txt"}, token=token)
    assert content_of(emu, owner=other) is None
    assert content_of(emu) == b"mine"
    url = (await post.login("/file/getSignedUrl", {"filename": "a.txt"}, token=token)).json
    assert (await transfer("GET", url)).status == 404
    assert (await transfer("GET", url.replace(other, emu.account_id))).error == "SignatureDoesNotMatch"


@each_row_after_reset("path", ["get", "getSignedUrl", "list", "put", "remove"])
async def test_a_caller_of_an_account_may_not_name_another(emu: Emulator, post: Post, path: str) -> None:
    other = emu.cloud.add_account("Other", "other@ioto.test")
    body = {"filename": "a", "data": "", "accountId": other}
    assert (await post.login(f"/file/{path}", body)).status == 403
    assert (await post(f"/tok/file/{path}", body, token=await post.device_token())).status == 403
    assert (await post.login(f"/file/{path}", body | {"accountId": emu.account_id})).status == 200
    assert (await post(f"/tok/file/{path}", body | {"accountId": "nobody"})).text == "Cannot find account"


async def test_a_device_has_its_files_in_its_account_under_its_id(
    emu: Emulator, post: Post, transfer: Transfer
) -> None:
    token = await post.device_token()
    body = {"command": "put", "filename": "log.txt", "mimeType": "text/plain", "size": "3"}
    url = (await post("/tok/device/getSignedUrl", body, token=token)).json
    assert (await transfer("PUT", url, b"log", {"Content-Type": "text/plain"})).status == 200
    assert await listed(post) == ["DEV0000001/log.txt"]
    url = (await post("/tok/device/getSignedUrl", {"id": "DEV0000001", "filename": "log.txt"})).json
    assert (await transfer("GET", url)).body == b"log"


@each_row_after_reset("filename", ["../DEV0000002/log.txt", "..", "./x", "/x", "", None, "n" * 1020])
async def test_a_device_stays_under_its_id(post: Post, filename: object) -> None:
    token = await post.device_token()
    reply = await post("/tok/device/getSignedUrl", {"filename": filename}, token=token)
    assert reply.status == 400
    assert "filename" in reply.text


async def test_the_agent_uploads_as_it_does(emu: Emulator, post: Post, transfer: Transfer) -> None:
    token = await post.device_token()
    body = {"id": "DEV0000001", "command": "put", "filename": "/a.jpg"[1:], "mimeType": "image/jpeg", "size": "5"}
    url = (await post("/tok/file/getSignedUrl", body, token=f"bearer {token}")).text.strip('"')
    assert (await transfer("PUT", url, b"bytes", {"Content-Type": "image/jpeg"})).status == 200
    assert content_of(emu, "a.jpg") == b"bytes"


async def test_a_device_that_is_named_must_be_the_callers(emu: Emulator, post: Post) -> None:
    other = emu.cloud.add_account("Other", "other@ioto.test")
    emu.cloud.register_device("DEV0000002")
    emu.cloud.claim_device("DEV0000002", other)
    body = {"id": "DEV0000002", "filename": "a.txt"}
    reply = await post("/tok/file/getSignedUrl", body, token=await post.device_token())
    assert (reply.status, reply.text) == (400, "Cannot find device")
    assert f"/{other}/a.txt?" in (await post("/tok/file/getSignedUrl", body)).json


async def test_a_device_that_is_named_is_the_one_that_calls(emu: Emulator, post: Post) -> None:
    token = await post.device_token()
    emu.cloud.register_device("DEV0000002")
    emu.cloud.claim_device("DEV0000002")
    for id, status in (("DEV0000001", 200), ("DEV0000002", 400)):
        reply = await post("/tok/device/getSignedUrl", {"id": id, "filename": "log.txt"}, token=token)
        assert reply.status == status
    assert reply.text == "Cannot find device"


async def test_a_device_writes_nothing_in_the_folder_of_another(emu: Emulator, post: Post, transfer: Transfer) -> None:
    token = await post.device_token()
    emu.cloud.register_device("DEV0000002")
    emu.cloud.claim_device("DEV0000002")
    emu.cloud.register_device("DEV0000003")
    emu.cloud.claim_device("DEV0000003", emu.cloud.add_account("Other", "other@ioto.test"))
    await put(post, b"log", "DEV0000002/log.txt")

    async def statuses(filename: str) -> set[int]:
        body = {"filename": filename, "data": ""}
        asked = [("put", body), ("remove", body), *(("getSignedUrl", body | {"command": c}) for c in ("put", "delete"))]
        replies = [await post(f"/tok/file/{path}", body, token=token) for path, body in asked]
        assert {reply.text for reply in replies if reply.status == 403} <= {
            "filename is in the folder of another device"
        }
        return {reply.status for reply in replies}

    assert await statuses("DEV0000002/log.txt") == {403}
    assert content_of(emu, "DEV0000002/log.txt") == b"log"
    # Nobody is told what there is in other accounts; there it is no folder of a device.
    for filename in ("DEV0000001/log.txt", "a.txt", "notes/a.txt", "DEV0000002", "DEV0000003/log.txt"):
        assert await statuses(filename) == {200}


@each_row_after_reset("role, may", [("user", False), ("admin", True), ("owner", True)])
async def test_a_url_that_writes_needs_the_role_that_putting_a_file_needs(
    emu: Emulator, post: Post, role: Any, may: bool
) -> None:
    token = emu.cloud.create_token("login", role=role)
    for command in ("put", "delete"):
        reply = await post.login("/file/getSignedUrl", {"filename": "a", "command": command}, token=token)
        assert (reply.status, "needs the role edit" in reply.text) == ((200, False) if may else (403, True))
    for more in ({"command": "get"}, {}):
        reply = await post.login("/file/getSignedUrl", {"filename": "a"} | more, token=token)
        assert reply.status == 200


async def test_a_device_or_an_app_admin_that_may_not_edit_gets_no_url_that_writes(emu: Emulator, post: Post) -> None:
    token = await post.device_token()
    for name in ("device", "admin"):
        emu.cloud.roles[name] = [role for role in emu.cloud.roles[name] if role != "edit"]
    admin = emu.cloud.create_token("login", role="admin")
    for command, status in (("get", 200), ("put", 403), ("delete", 403)):
        body = {"filename": "a", "command": command}
        assert (await post("/tok/device/getSignedUrl", body, token=token)).status == status
        assert (await post.login("/manager/getSignedUrl", body, token=admin)).status == status


# Signed URLs


async def test_a_signed_url_is_of_another_origin_and_shows_what_it_is_for(emu: Emulator, transfer: Transfer) -> None:
    emu.cloud.clock = lambda: 1000.5
    url = urlsplit(await transfer.url("put", "notes/a b.txt", mimeType="image/svg+xml", size=7))
    assert f"{url.scheme}://{url.netloc}" != emu.api
    assert url.path == f"/{emu.account_id}/notes/a%20b.txt"
    query = dict(parse_qsl(url.query))
    assert len(query.pop("signature")) == 64
    assert query == {"command": "put", "expires": "1900", "size": "7", "mimeType": "image/svg+xml"}


async def test_a_file_is_uploaded_downloaded_and_deleted(emu: Emulator, transfer: Transfer) -> None:
    content = bytes(range(256)) * 4096
    answer = await transfer.put(content, mimeType="image/png", size=len(content))
    etag = f'"{hashlib.md5(content).hexdigest()}"'
    assert (answer.status, answer.body, answer.headers["ETag"]) == (200, b"", etag)
    answer = await transfer("GET", await transfer.url())
    assert (answer.status, answer.body) == (200, content)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Length"] == str(len(content))
    assert answer.headers["ETag"] == etag
    assert answer.headers["x-amz-checksum-sha256"] == encoded(hashlib.sha256(content).digest())
    answer = await transfer("DELETE", await transfer.url("delete"))
    assert (answer.status, answer.body) == (204, b"")
    assert content_of(emu) is None
    assert (await transfer("DELETE", await transfer.url("delete"))).status == 204


async def test_a_download_is_dated_by_the_last_change(emu: Emulator, transfer: Transfer) -> None:
    emu.cloud.clock = lambda: 784_111_777.9
    await transfer.put(b"content")
    assert (await transfer.get()).headers["Last-Modified"] == "Sun, 06 Nov 1994 08:49:37 GMT"


async def test_a_head_request_is_refused_as_the_method_is_signed(transfer: Transfer) -> None:
    await transfer.put(b"content")
    url = await transfer.url()
    answer = await transfer("HEAD", url)
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (403, b"", "application/xml")
    assert (await transfer("GET", url)).status == 200


async def test_the_type_of_an_upload_is_kept_if_none_was_signed(transfer: Transfer) -> None:
    url = await transfer.url("put")
    assert (await transfer("PUT", url, b"x", {"Content-Type": "text/csv; charset=utf-8"})).status == 200
    assert (await transfer.get()).headers["Content-Type"] == "text/csv; charset=utf-8"


async def test_a_file_that_is_not_there_is_not_found(transfer: Transfer) -> None:
    answer = await transfer.get()
    assert (answer.status, answer.error, answer.headers["Content-Type"]) == (404, "NoSuchKey", "application/xml")


def changed(url: str, **members: str | None) -> str:
    """The URL with other members; None takes one away."""
    parts = urlsplit(url)
    query = {name: value for name, value in (dict(parse_qsl(parts.query)) | members).items() if value is not None}
    return parts._replace(query=urlencode(query)).geturl()


@each_row_after_reset(
    "members",
    [
        {"command": "get"},
        {"command": None},
        {"expires": "9999999999"},
        {"expires": None},
        {"size": "8"},
        {"size": None},
        {"mimeType": "text/html"},
        {"mimeType": None},
        {"signature": "0" * 64},
        {"signature": ""},
        {"signature": "ä"},
        {"more": "x"},
    ],
)
async def test_every_member_of_the_url_is_signed(
    emu: Emulator, transfer: Transfer, members: dict[str, str | None]
) -> None:
    url = await transfer.url("put", mimeType="text/plain", size=7)
    headers = {"Content-Type": "text/plain"}
    answer = await transfer("PUT", changed(url, **members), b"content", headers)
    assert (answer.status, answer.error) == (403, "SignatureDoesNotMatch")
    assert content_of(emu) is None
    assert (await transfer("PUT", changed(url), b"content", headers)).status == 200


@each_row_after_reset("name", ["command", "expires", "size", "mimeType", "signature"])
async def test_no_member_of_the_url_may_be_there_twice(transfer: Transfer, name: str) -> None:
    url = await transfer.url("put", mimeType="text/plain", size=7)
    pair = urlencode({name: dict(parse_qsl(urlsplit(url).query))[name]})
    answer = await transfer("PUT", f"{url}&{pair}", b"content", {"Content-Type": "text/plain"})
    assert (answer.status, answer.error) == (403, "SignatureDoesNotMatch")


async def test_the_name_and_the_owner_are_signed(emu: Emulator, transfer: Transfer) -> None:
    await transfer.put(b"secret", "b.txt")
    url = await transfer.url("get", "a.txt")
    for other in (
        url.replace("a.txt", "b.txt"),
        url.replace("/a.txt", "/x/../b.txt"),
        url.replace(emu.account_id, "x"),
        url.replace("/a.txt", ""),
        url.replace(f"/{emu.account_id}/a.txt", "/"),
    ):
        assert (await transfer("GET", other)).error == "SignatureDoesNotMatch"


async def test_without_a_signature_nothing_is_had(emu: Emulator, transfer: Transfer) -> None:
    await transfer.put(b"content")
    for url in (changed(await transfer.url(), signature=None), f"{emu.cloud.files.url}/{emu.account_id}/a.txt"):
        answer = await transfer("GET", url)
        assert (answer.status, answer.error) == (403, "AccessDenied")


@each_row_after_reset(
    "command, method",
    [("get", "PUT"), ("get", "DELETE"), ("put", "GET"), ("put", "HEAD"), ("put", "DELETE"), ("delete", "GET")],
)
async def test_a_url_is_good_for_its_command_alone(
    emu: Emulator, transfer: Transfer, command: str, method: str
) -> None:
    await transfer.put(b"content")
    answer = await transfer(method, await transfer.url(command), b"" if method == "PUT" else None)
    assert answer.status == 403
    assert content_of(emu) == b"content"


async def test_a_url_ends_after_a_quarter_of_an_hour_of_the_clouds_clock(emu: Emulator, transfer: Transfer) -> None:
    await transfer.put(b"content")
    emu.cloud.clock = lambda: 1000.0
    url = await transfer.url()
    emu.cloud.clock = lambda: 1899.999
    assert (await transfer("GET", url)).status == 200
    emu.cloud.clock = lambda: 1900.0
    answer = await transfer("GET", url)
    assert (answer.status, answer.error) == (403, "AccessDenied")
    assert b"<Message>Request has expired</Message>" in answer.body


async def test_a_url_ends_with_a_reset(emu: Emulator, transfer: Transfer) -> None:
    url = await transfer.url("put")
    emu.reset()
    assert (await transfer("PUT", url, b"content")).error == "SignatureDoesNotMatch"
    assert (await transfer.put(b"content")).status == 200


@each_row_after_reset("header", ["Authorization", "X-Token"])
async def test_a_token_beside_the_signature_is_refused(emu: Emulator, transfer: Transfer, header: str) -> None:
    answer = await transfer("GET", await transfer.url(), headers={header: emu.token})
    assert (answer.status, answer.error) == (400, "InvalidArgument")


@each_row_after_reset("method", ["POST", "PATCH", "OPTIONS"])
async def test_another_method_is_not_allowed(transfer: Transfer, method: str) -> None:
    answer = await transfer(method, await transfer.url())
    assert (answer.status, answer.error) == (405, "MethodNotAllowed")


@each_row_after_reset("size", [-1, 1.5, 5 * 2**30 + 1, 1e300])
async def test_a_size_that_no_file_has_is_not_signed(post: Post, size: float) -> None:
    reply = await post("/tok/file/getSignedUrl", {"command": "put", "filename": "a", "size": size})
    assert (reply.status, reply.text) == (400, f"size must be a whole number of up to 5368709120 bytes, not {size}")


async def test_an_unknown_command_is_not_signed(post: Post) -> None:
    reply = await post("/tok/file/getSignedUrl", {"command": "list", "filename": "a"})
    assert (reply.status, reply.text) == (400, "command must be get, put or delete")


# Uploads


async def test_an_upload_is_of_the_signed_type_and_size(emu: Emulator, transfer: Transfer) -> None:
    url = await transfer.url("put", mimeType="image/png", size=7)
    for content, mime_type in ((b"content", "image/gif"), (b"content!", "image/png"), (b"", "image/png")):
        answer = await transfer("PUT", url, content, {"Content-Type": mime_type})
        assert (answer.status, answer.error) == (403, "SignatureDoesNotMatch")
    assert content_of(emu) is None


def head(url: str, *headers: str) -> bytes:
    parts = urlsplit(url)
    lines = (f"PUT {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close", *headers)
    return "\r\n".join((*lines, "", "")).encode()


def origin(emu: Emulator) -> str:
    return emu.cloud.files.url


async def test_an_upload_without_a_length_is_refused(emu: Emulator, transfer: Transfer) -> None:
    url = await transfer.url("put")
    body = b"7\r\ncontent\r\n0\r\n\r\n"
    reply = await exchange(origin(emu), head(url, "Transfer-Encoding: chunked") + body)
    assert reply.startswith(b"HTTP/1.1 411 ")
    assert b"<Code>MissingContentLength</Code>" in reply
    assert content_of(emu) is None


async def test_an_upload_beyond_five_gibibytes_is_refused_before_it_comes(emu: Emulator, transfer: Transfer) -> None:
    url = await transfer.url("put")
    reader, writer = await asyncio.open_connection(*origin(emu).removeprefix("http://").split(":"))
    writer.write(head(url, f"Content-Length: {5 * 2**30 + 1}"))
    assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    await writer.wait_closed()


async def until(emu: Emulator, count: int) -> None:
    """Wait until so many requests are noted."""
    while len(emu.requests) < count:
        await asyncio.sleep(0)


@each_row_after_reset("end", ["close", "abort"])
async def test_an_upload_that_is_cut_midway_leaves_the_old_file_and_no_word_in_the_log(
    emu: Emulator, transfer: Transfer, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    await transfer.put(b"old")
    url = await transfer.url("put")
    noted = len(emu.requests)
    _, writer = await asyncio.open_connection(*origin(emu).removeprefix("http://").split(":"))
    writer.write(head(url, f"Content-Length: {4 * CHUNK}") + bytes(2 * CHUNK))
    await writer.drain()
    while pieces(emu) < 2:
        await asyncio.sleep(0)
    getattr(writer.transport, end)()
    await writer.wait_closed()
    await until(emu, noted + 1)
    assert emu.requests[-1].status == 400
    assert content_of(emu) == b"old"
    assert pieces(emu) == 1
    # What is answered next is answered after the cut one is done with.
    assert (await transfer.get()).body == b"old"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_url_of_an_account_that_is_closed_by_now_takes_no_file(
    emu: Emulator, post: Post, transfer: Transfer
) -> None:
    other = emu.cloud.add_account("Other", "other@ioto.test")
    url = await transfer.url("put", accountId=other)
    emu.cloud.close_account(other)
    answer = await transfer("PUT", url, b"content")
    assert (answer.status, answer.error) == (404, "NoSuchUpload")
    assert content_of(emu, owner=other) is None
    assert pieces(emu) == 0


async def test_the_old_file_is_there_until_the_new_one_is_complete(emu: Emulator, transfer: Transfer) -> None:
    await transfer.put(b"old")
    url = await transfer.url("put")
    reader, writer = await asyncio.open_connection(*origin(emu).removeprefix("http://").split(":"))
    writer.write(head(url, "Content-Length: 3") + b"ne")
    await writer.drain()
    # Nobody waits for the rest of it.
    assert (await transfer.get()).body == b"old"
    writer.write(b"w")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()
    assert (await transfer.get()).body == b"new"


async def test_a_download_under_way_ends_with_the_file_that_it_began_with(emu: Emulator, transfer: Transfer) -> None:
    old = bytes(range(256)) * 64 * 1024
    await transfer.put(old)
    url = urlsplit(await transfer.url())
    reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=2**16)
    writer.write(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    received = await reader.readuntil(b"\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200 ")
    await transfer.put(b"new")
    assert pieces(emu) == len(old) // CHUNK + 1
    assert await reader.read() == old
    writer.close()
    await writer.wait_closed()
    while pieces(emu) > 1:
        await asyncio.sleep(0)
    assert (await transfer.get()).body == b"new"


async def test_a_reset_ends_transfers(emu: Emulator, transfer: Transfer) -> None:
    url = await transfer.url("put")
    reader, writer = await asyncio.open_connection(*origin(emu).removeprefix("http://").split(":"))
    writer.write(head(url, f"Content-Length: {CHUNK + 1}") + bytes(CHUNK))
    await writer.drain()
    while pieces(emu) < 1:
        await asyncio.sleep(0)
    emu.reset()
    writer.write(b"x")
    reply = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert reply.startswith(b"HTTP/1.1 404 ")
    assert content_of(emu) is None
    assert pieces(emu) == 0


class Pattern:
    """Bytes that are made as they are read, so that nobody holds them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.sha256 = hashlib.sha256()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number in range(self.size // CHUNK):
            piece = number.to_bytes(4) * (CHUNK // 4)
            self.sha256.update(piece)
            yield piece


@pytest.mark.slow
@each_row("in_file", [False, True])
async def test_forty_megabytes_pass_without_being_held(tmp_path: Path, in_file: bool) -> None:
    pattern, received, count = Pattern(40 * MB), hashlib.sha256(), 0
    async with (
        Emulator(db=tmp_path / "cloud.db" if in_file else None) as emu,
        aiohttp.ClientSession() as session,
    ):
        transfer = Transfer(emu, Post(emu, session), session)
        urls = [URL(await transfer.url(command), encoded=True) for command in ("put", "get")]
        tracemalloc.start()
        try:
            headers = {"Content-Length": str(pattern.size)}
            async with session.put(urls[0], data=pattern.__aiter__(), headers=headers) as reply:
                assert reply.status == 200
            async with session.get(urls[1]) as reply:
                async for piece in reply.content.iter_any():
                    received.update(piece)
                    count += len(piece)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # SQLite's memory is not traced: pieces of an in-memory cloud are in a temporary table, and that in a file.
        with emu.cloud.lock:
            schemas = emu.cloud._db.execute("PRAGMA table_list('chunks')").fetchall()
    assert [schema for schema, *_ in schemas] == ["main" if in_file else "temp"]
    assert count == pattern.size
    assert received.digest() == pattern.sha256.digest()
    assert peak < 10 * MB


# The rest


async def test_files_survive_a_restart_but_half_of_one_does_not(tmp_path: Path) -> None:
    db = tmp_path / "cloud.db"
    content = bytes(range(256)) * 4096
    async with Emulator(db=db) as emu, aiohttp.ClientSession() as session:
        await put(Post(emu, session), content)
        with emu.cloud.lock:
            half = emu.cloud.files.upload(emu.account_id, "half", None)
            half.write(content)
        assert pieces(emu) == 8
    async with Emulator(db=db) as emu, aiohttp.ClientSession() as session:
        assert (await Transfer(emu, Post(emu, session), session).get()).body == content
        assert pieces(emu) == 4
    emu = Emulator(db=db)
    async with emu:
        emu.reset()
        assert (content_of(emu), pieces(emu)) == (None, 0)


async def test_an_upload_under_way_ends_with_the_cloud(tmp_path: Path) -> None:
    db = tmp_path / "cloud.db"
    async with Emulator(db=db) as emu, aiohttp.ClientSession() as session:
        url = await Transfer(emu, Post(emu, session), session).url("put")
        reader, writer = await asyncio.open_connection(*origin(emu).removeprefix("http://").split(":"))
        writer.write(head(url, f"Content-Length: {2 * CHUNK}") + bytes(CHUNK))
        while pieces(emu) < 1:
            await asyncio.sleep(0)
    assert b"200" not in await reader.read()
    writer.close()
    await writer.wait_closed()
    async with Emulator(db=db) as emu:
        assert (content_of(emu), pieces(emu)) == (None, 0)


async def test_the_files_of_an_account_go_with_it(emu: Emulator, post: Post) -> None:
    other = emu.cloud.add_account("Other", "other@ioto.test")
    await put(post, b"theirs", accountId=other)
    await put(post, b"mine")
    with emu.cloud.lock:
        emu.cloud.files.remove_account(other)
    assert content_of(emu, owner=other) is None
    assert (content_of(emu), pieces(emu)) == (b"mine", 1)


async def test_a_transfer_is_noted_without_its_body_and_its_signature(emu: Emulator, transfer: Transfer) -> None:
    await transfer.put(b"content", size=7)
    received = emu.requests[-1]
    assert (received.method, received.path) == ("PUT", f"/{emu.account_id}/a.txt")
    assert (received.body, received.caller, received.status) == (b"", "public", 200)
    assert received.query.keys() == {"command", "expires", "size"}


async def test_a_defect_is_a_service_error_of_s3(
    emu: Emulator, transfer: Transfer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = await transfer.url()
    monkeypatch.setattr(emu.cloud.files, "get", lambda *_: 1 / 0)
    answer = await transfer("GET", url)
    assert (answer.status, answer.error) == (500, "InternalError")
    assert "ZeroDivisionError" in caplog.text
    assert "signature" not in caplog.text


# Faults


async def test_a_fault_answers_in_place_of_the_storage(emu: Emulator, transfer: Transfer) -> None:
    emu.faults.add(Fault("files", status=503, body="<Error/>", headers={"Retry-After": "1"}))
    answer = await transfer.put(bytes(MB))
    assert (answer.status, answer.body, answer.headers["Retry-After"]) == (503, b"<Error/>", "1")
    assert content_of(emu) is None
    assert (await transfer.put(b"content")).status == 200


@each_row_after_reset("reset, there", [("before", False), ("after", True)])
async def test_a_reset_cuts_an_upload_before_or_after_the_work(
    emu: Emulator, transfer: Transfer, reset: Any, there: bool
) -> None:
    request = head(await transfer.url("put"), "Content-Length: 7") + b"content"
    emu.faults.add(Fault("files", reset=reset))
    # Not by aiohttp, which sends a PUT again by itself.
    with pytest.raises(ConnectionResetError):
        await exchange(origin(emu), request)
    assert (content_of(emu) is not None) is there
    assert emu.requests[-1].status == 0


async def test_a_truncated_download_ends_early(emu: Emulator, transfer: Transfer) -> None:
    await transfer.put(bytes(3 * CHUNK))
    emu.faults.add(Fault("files", truncate=True))
    url = urlsplit(await transfer.url())
    request = f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    reply_head, _, body = (await exchange(origin(emu), request)).partition(b"\r\n\r\n")
    assert f"\r\nContent-Length: {3 * CHUNK}".encode() in reply_head
    assert len(body) == 3 * CHUNK // 2
    assert (await transfer.get()).body == bytes(3 * CHUNK)


async def test_faults_of_the_api_leave_transfers_alone(emu: Emulator, transfer: Transfer) -> None:
    url = await transfer.url("put")
    emu.faults.add(Fault("file/put", status=500))
    assert (await transfer("PUT", url, b"content")).status == 200
