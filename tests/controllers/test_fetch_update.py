"""The update helper: check, download, verify, install, report; against a scripted service."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ioto_async import (
    AuthenticationError,
    CallError,
    DecodeError,
    FetchedUpdate,
    InvalidArgumentError,
    IotoClient,
    NotFoundError,
    TransferError,
)
from ioto_async.emulator import Emulator, Fault
from tests.rawserver import RawServer, Request, Step, client_of, drop, reply
from tests.rows import each_row

IMAGE = b"firmware" * 1000
SUM = hashlib.sha256(IMAGE).hexdigest()
KEY = "0123456789-unguessable"
OFFER = {"checksum": SUM, "update": "U1", "version": "2.0.0"}


class Service:
    """Offers an update and serves the image from the API's own origin; keeps what it is told."""

    def __init__(self) -> None:
        self.offer: dict[str, Any] | None = None
        self.image = reply(200, IMAGE)
        self.reports: list[Any] = []
        self.report = reply(200, b"")
        self.downloads: list[Request] = []
        self.checks: list[Request] = []
        self.server = RawServer(handler=self.answer)

    def answer(self, request: Request) -> Step:
        if request.path == "/tok/provision/update":
            self.checks.append(request)
            return reply(200, OFFER | {"url": self.url} if self.offer is None else self.offer)
        if request.path == "/tok/provision/updateReport":
            self.reports.append(request.json)
            return self.report
        self.downloads.append(request)
        return self.image

    @property
    def url(self) -> str:
        return f"{self.server.url}/download/{KEY}"


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[Service, IotoClient]]:
    service = Service()
    async with service.server, client_of(service.server, **options) as client:
        yield service, client


def report(success: bool) -> dict[str, Any]:
    return {"id": "D1", "update": "U1", "success": success}


async def fetch(client: IotoClient, path: Path, **options: Any) -> FetchedUpdate | None:
    return await client.provision.fetch_update("D1", "P1", "1.0.0", path, **options)


async def failure(call: Awaitable[Any]) -> CallError:
    with pytest.raises(CallError) as caught:
        await call
    return caught.value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "image.bin"


def names(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir()]


async def test_an_update_is_checked_downloaded_and_reported(path: Path) -> None:
    async with serving() as (service, client):
        fetched = await fetch(client, path, test=True, properties={"pro": "true"})
    assert fetched is not None
    assert (fetched.path, fetched.size, fetched.reported) == (path, len(IMAGE), True)
    assert (fetched.offer.version, fetched.offer.update) == ("2.0.0", "U1")
    assert path.read_bytes() == IMAGE
    assert service.checks[0].json == {"id": "D1", "product": "P1", "version": "1.0.0", "test": True, "pro": "true"}
    assert service.reports == [report(True)]
    assert names(path) == ["image.bin"]


@each_row("offer", [{}, {"message": "up to date"}, {"url": ""}, {"version": "1.0.0"}])
async def test_without_a_url_there_is_nothing_to_install(offer: dict[str, Any], path: Path) -> None:
    async with serving() as (service, client):
        service.offer = offer
        assert await fetch(client, path) is None
    assert (service.downloads, service.reports, names(path)) == ([], [], [])


async def test_a_checksum_that_is_none_is_shown_in_part(path: Path) -> None:
    async with serving() as (service, client):
        service.offer = OFFER | {"url": service.url, "checksum": "bad\n" * 100_000}
        error = await failure(fetch(client, path))
    assert "got 'bad bad bad" in str(error)
    assert len(str(error)) < 200
    assert "\n" not in str(error)


@each_row(
    "change, member",
    [
        ({"checksum": None}, "checksum"),
        ({"checksum": SUM[1:]}, "checksum"),
        ({"checksum": f"{SUM[1:]}g"}, "checksum"),
        ({"update": None}, "update"),
        ({"version": None}, "version"),
        ({"url": f"http://images.example/{KEY}"}, "url"),
        ({"url": f"ftp://images.example/{KEY}"}, "url"),
        ({"url": f"/{KEY}"}, "url"),
    ],
)
async def test_an_offer_that_cannot_be_followed_is_an_error_that_names_the_member(
    change: dict[str, Any], member: str, path: Path
) -> None:
    async with serving(allow_http=True) as (service, client):
        service.offer = OFFER | {"url": service.url} | change
        error = await failure(fetch(client, path))
    assert isinstance(error, DecodeError)
    assert error.path == f"$.{member}"
    assert KEY not in str(error)
    assert (service.downloads, service.reports, names(path)) == ([], [], [])


@each_row(
    "options",
    [{"token": "t0ken-of-the-api"}, {"login": "t0ken-of-the-api", "origin": "o", "headers": {"X-More": "t0ken"}}],
)
async def test_no_token_goes_with_the_download_though_it_is_the_apis_own_host(
    options: dict[str, Any], path: Path
) -> None:
    service = Service()

    def answer(request: Request) -> Step:
        request.target = request.target if request.path.startswith(("/tok", "/down")) else f"/tok{request.target}"
        return service.answer(request)

    service.server.handler = answer
    async with service.server, client_of(service.server, **options) as client:
        assert await fetch(client, path) is not None
    (request,) = service.downloads
    assert "t0ken" not in repr(request.headers)
    assert request.header("Origin") is None


@each_row(
    "image, expected, actual",
    [
        (reply(200, b"other"), SUM, hashlib.sha256(b"other").hexdigest()),
        (reply(200, IMAGE, chunked=True), "a Content-Length", None),
        (reply(200, b"", length=(100 << 20) + 1, close=True), 100 << 20, (100 << 20) + 1),
    ],
)
async def test_an_image_that_is_not_what_was_offered_is_refused_and_reported(
    image: Step, expected: object, actual: object, path: Path
) -> None:
    path.write_text("old")
    async with serving() as (service, client):
        service.image = image
        error = await failure(fetch(client, path))
    assert isinstance(error, TransferError)
    assert (error.expected, error.actual) == (expected, actual)
    assert (path.read_text(), names(path)) == ("old", ["image.bin"])
    assert service.reports == [report(False)]


async def test_an_image_may_be_as_large_as_is_said(path: Path) -> None:
    async with serving() as (_, client):
        error = await failure(fetch(client, path, max_size=len(IMAGE) - 1))
        fetched = await fetch(client, path, max_size=len(IMAGE))
    assert isinstance(error, TransferError)
    assert fetched is not None


@each_row("status, error", [(404, NotFoundError), (403, AuthenticationError)])
async def test_a_download_that_is_refused_is_reported(status: int, error: type[CallError], path: Path) -> None:
    async with serving() as (service, client):
        service.image = reply(status, f"no image at {KEY}")
        told = await failure(fetch(client, path))
    assert (type(told), len(service.downloads), KEY in str(told)) == (error, 1, False)
    assert service.reports == [report(False)]


@each_row("asynchronous", [False, True])
async def test_what_installs_gets_the_path_of_the_whole_image_before_the_report(asynchronous: bool, path: Path) -> None:
    path.unlink(missing_ok=True)
    seen: list[tuple[Path, bytes, int]] = []

    async with serving() as (service, client):

        def look(image: Path) -> None:
            seen.append((image, image.read_bytes(), len(service.reports)))

        async def look_later(image: Path) -> None:
            await asyncio.sleep(0)
            look(image)

        fetched = await fetch(client, path, install=look_later if asynchronous else look)
    assert seen == [(path, IMAGE, 0)]
    assert (fetched is not None and fetched.reported, service.reports) == (True, [report(True)])


@each_row("reporting", [reply(200, b""), reply(500), drop()])
async def test_an_installation_that_fails_is_reported_and_its_error_comes_out(reporting: Step, path: Path) -> None:
    path.unlink(missing_ok=True)
    trouble = OSError("flash is worn out")

    async def install(_: Path) -> None:
        raise trouble

    async with serving() as (service, client):
        service.report = reporting
        with pytest.raises(OSError, match="worn out") as caught:
            await fetch(client, path, install=install)
    assert caught.value is trouble
    assert service.reports == [report(False)]
    assert path.read_bytes() == IMAGE


async def test_a_report_that_fails_is_a_warning_and_loses_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as (service, client):
        service.report = reply(400, "Cannot find update")
        with caplog.at_level(logging.WARNING, "ioto_async"):
            fetched = await fetch(client, path)
    assert fetched is not None
    assert (fetched.reported, path.read_bytes()) == (False, IMAGE)
    (record,) = [record for record in caplog.records if record.name == "ioto_async"]
    assert "Cannot find update" in record.getMessage()


@each_row("fails", [False, True])
async def test_nothing_is_reported_where_that_is_not_wanted(fails: bool, path: Path) -> None:
    async with serving() as (service, client):
        if fails:
            service.image = reply(404)
            await failure(fetch(client, path, report=False))
        else:
            fetched = await fetch(client, path, report=False)
            assert fetched is not None
            assert fetched.reported is False
    assert service.reports == []


async def test_a_cancelled_installation_reports_nothing(path: Path) -> None:
    begun = asyncio.Event()

    async def install(_: Path) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with serving() as (service, client):
        task = asyncio.create_task(fetch(client, path, install=install))
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert service.reports == []


async def test_progress_and_the_deadline_are_those_of_the_download(path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    async with serving() as (_, client):
        await fetch(client, path, progress=lambda *args: seen.append(args), timeout=None)
    assert seen[-1] == (len(IMAGE), len(IMAGE))


BAD: list[tuple[Callable[[Path], dict[str, Any]], str]] = [
    (lambda _: {"max_size": -1}, "max_size"),
    (lambda _: {"install": 17}, "install"),
    (lambda _: {"progress": 17}, "progress"),
    (lambda path: {"path": path.parent}, "path"),
    (lambda path: {"path": path / "no" / "folder"}, "path"),
    (lambda _: {"patience": 17}, "patience"),
    (lambda _: {"properties": {"id": "D2"}}, "id"),
]


@each_row("bad, name", BAD)
async def test_an_argument_that_does_not_fit_is_named_before_anything_is_sent(
    bad: Callable[[Path], dict[str, Any]], name: str, path: Path
) -> None:
    arguments: dict[str, Any] = {"path": path} | bad(path)
    async with serving() as (service, client):
        with pytest.raises(InvalidArgumentError, match=name):
            await client.provision.fetch_update("D1", "P1", "1.0.0", **arguments)
    assert service.server.requests == []


async def test_no_repr_shows_where_the_image_is(path: Path) -> None:
    async with serving() as (_, client):
        assert KEY not in repr(await fetch(client, path))


# The embedded cloud -----------------------------------------------------------------------------------------------


@each_row("fails", [False, True])
async def test_an_update_of_the_embedded_cloud_is_fetched_installed_and_reported(fails: bool, path: Path) -> None:
    path.unlink(missing_ok=True)
    installed: list[bytes] = []

    def install(image: Path) -> None:
        installed.append(image.read_bytes())
        if fails:
            raise OSError("flash is worn out")

    async with Emulator() as emulator, client_of(emulator.api, token=emulator.token) as client:
        emulator.cloud.register_device("DEV0000001")
        emulator.cloud.claim_device("DEV0000001")
        update = emulator.cloud.add_update("2.0.0", IMAGE)

        async def ask(version: str) -> FetchedUpdate | None:
            return await client.provision.fetch_update(
                "DEV0000001", emulator.product_token, version, path, install=install
            )

        if fails:
            with pytest.raises(OSError, match="worn out"):
                await ask("1.0.0")
        else:
            fetched = await ask("1.0.0")
            assert fetched is not None
            assert (fetched.offer.version, fetched.reported) == ("2.0.0", True)
            assert await ask("2.0.0") is None
        assert emulator.cloud.update_reports(update) == {"DEV0000001": not fails}
    assert installed == [IMAGE]


async def test_an_image_of_the_embedded_cloud_that_is_cut_is_fetched_again(path: Path) -> None:
    async with Emulator() as emulator, client_of(emulator.api, token=emulator.token) as client:
        emulator.cloud.register_device("DEV0000001")
        emulator.cloud.claim_device("DEV0000001")
        emulator.cloud.add_update("2.0.0", IMAGE)
        emulator.faults.add(Fault("download", truncate=True))
        await client.provision.fetch_update("DEV0000001", emulator.product_token, "1.0.0", path)
    assert path.read_bytes() == IMAGE
