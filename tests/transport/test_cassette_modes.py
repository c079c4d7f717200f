"""What a cassette does in each of its modes, and which arguments it takes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from ioto_async import Cassette, CassetteError, InvalidArgumentError, IotoClient
from ioto_async.transport.cassette_file import read
from tests.rawserver import reply, served
from tests.rows import each_row

from .cassettes import player, recorded


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trip.cassette"


async def test_once_records_and_then_plays(path: Path) -> None:
    for expected in (1, 1):
        async with served(reply(200, {"id": "DEV1"}), cassette=Cassette(path, "once")) as (server, client):
            await client.device.get("DEV1")
        assert len(read(path).exchanges) == expected
    assert server.requests == []


async def test_new_episodes_plays_what_there_is_and_records_the_rest(path: Path) -> None:
    await recorded(path, "DEV1")
    async with served(reply(200, {"id": "DEV2"}), cassette=Cassette(path, "new_episodes")) as (server, client):
        await client.device.get("DEV1")
        await client.device.get("DEV2")
    assert len(server.requests) == 1
    assert [exchange.request["body"] == {"id": "DEV2"} for exchange in read(path).exchanges] == [False, False]
    async with player(path, order="strict") as client:
        await client.device.get("DEV1")
        await client.device.get("DEV2")


async def test_append_adds_and_all_begins_anew(path: Path) -> None:
    for mode, count in (("append", 1), ("append", 2), ("all", 1)):
        async with served(reply(200, {"id": "DEV1"}), cassette=Cassette(path, mode)) as (_, client):  # type: ignore[arg-type]
            await client.device.get("DEV1")
        assert len(read(path).exchanges) == count


async def test_nothing_is_lost_where_nothing_is_recorded(path: Path) -> None:
    await recorded(path, "DEV1")
    before = path.read_bytes()
    async with served(cassette=Cassette(path, "all")):
        pass
    assert path.read_bytes() == before


@each_row(
    "make, kind, text",
    {
        "no file": (lambda path: Cassette(path, "none"), CassetteError, "no such cassette"),
        "a file of something else": (lambda path: Cassette(_written(path, "id\nDEV1\n")), CassetteError, "line 1: exp"),
        "not to be overwritten": (lambda path: Cassette(_written(path, "id\n"), "all"), CassetteError, "line 1: exp"),
        "a folder": (lambda path: Cassette(path.parent), InvalidArgumentError, "path: .* is no regular file"),
        "a mode": (
            lambda path: Cassette(path, cast("Any", "record")),
            InvalidArgumentError,
            "mode: expected one of none, once",
        ),
        "an order": (
            lambda path: Cassette(path, order=cast("Any", "any")),
            InvalidArgumentError,
            "order: expected one of loose",
        ),
        "a mask": (
            lambda path: Cassette(path, mask=cast("Any", 1)),
            InvalidArgumentError,
            "mask: expected True or False, got 1",
        ),
        "names": (lambda path: Cassette(path, ignore="now"), InvalidArgumentError, "ignore: expected names"),
        "no path": (lambda path: Cassette(""), InvalidArgumentError, "path: expected the path"),
        "an option": (
            lambda path: IotoClient("https://x.example", token="t", cassette=cast("Any", 5), environ={}),
            InvalidArgumentError,
            "cassette: expected a Cassette or the path of one, got int",
        ),
        "both variables": (
            lambda path: IotoClient(environ={"IOTO_RECORD": str(path), "IOTO_REPLAY": str(path)}),
            InvalidArgumentError,
            "IOTO_RECORD and IOTO_REPLAY: set one of them",
        ),
    },
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, make: Callable[[Path], object], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        make(tmp_path / "some.cassette")


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


async def test_a_mask_is_as_the_file_was_begun(path: Path) -> None:
    await recorded(path, "DEV1")
    with pytest.raises(InvalidArgumentError, match="was begun with mask=True"):
        Cassette(path, "append", mask=False)
