"""A cassette that is played to an embedded cloud: what that is seeded with, and what it reports."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ioto_async import BadRequestError, Cassette, IotoClient, MetricQuery
from ioto_async.cli import _run
from ioto_async.emulator import Emulator
from ioto_async.emulator.replay.comparing import differences
from ioto_async.emulator.replay.names import Names
from ioto_async.emulator.replay.playing import Report, lines, replay
from ioto_async.emulator.replay.reading import read as read_here
from ioto_async.transport.cassette_file import Exchange, Head, append, begin
from ioto_async.transport.cassette_file import read as read_there
from tests.rows import each_row

ALIAS = "MASK0123456789AB"
Script = Callable[[IotoClient, Emulator], Awaitable[None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trip.cassette"


async def recorded(path: Path, before: Script, script: Script, *, mask: bool = True) -> None:
    """Record *script* with a cloud in which *before* has happened."""
    async with Emulator(mqtt=False) as emulator:
        for number in range(4):
            emulator.cloud.register_device(f"M72DANY8B{number}", version=f"1.0.{number}", test=number == 1)
        for number in (1, 2):
            emulator.cloud.claim_device(f"M72DANY8B{number}")
        async with IotoClient.from_env(emulator.env) as client:
            await before(client, emulator)
        async with IotoClient.from_env(emulator.env, cassette=Cassette(path, mask=mask)) as client:
            await script(client, emulator)


async def played(path: Path) -> Report:
    async with Emulator(mqtt=False) as emulator:
        return await replay(emulator.cloud, path)


async def nothing(client: IotoClient, emulator: Emulator) -> None: ...


async def setting(client: IotoClient, emulator: Emulator) -> None:
    """What is there before a trip."""
    emulator.cloud.add_user("ann@app.example", role="admin", first="Ann")
    await client.store.set("M72DANY8B1", "old", 5)
    context = {"deviceId": "M72DANY8B1", "metric": "temperature", "value": 21.5}
    await client.action.invoke("MetricSample", context=context)


async def trip(client: IotoClient, emulator: Emulator) -> None:
    """Something of every controller that a cloud can be seeded for."""
    await client.device.claim("M72DANY8B0")
    await client.device.find()
    query = MetricQuery("temperature", {"Device": "M72DANY8B1"}, "avg", period=3600)
    await client.metric.fetch("M72DANY8B1", [query])
    async for _ in client.device.find(limit=1):
        pass
    await client.device.get("M72DANY8B1")
    await client.store.get("M72DANY8B1", "old")
    await client.store.set("M72DANY8B1", "new", 7)
    await client.store.find("M72DANY8B1")
    await client.user.find()
    await client.user.create("bob@app.example", "user")
    await client.account.get()
    await client.device.provision("M72DANY8B2")
    dashboard = await client.dashboard.create("Overview")
    assert dashboard.id is not None
    await client.dashboard.get(dashboard.id)
    await client.builder.device.get("M72DANY8B3")
    await client.builder.device.find()
    await client.device.release("M72DANY8B0")
    await client.test.ping()
    await client.file.upload("x.txt", b"hello")
    await client.file.list()
    with pytest.raises(BadRequestError):
        await client.device.get("NOSUCH1234")


@pytest.mark.parametrize("mask", [True, False])
async def test_a_cloud_answers_as_the_one_that_was_recorded(path: Path, mask: bool) -> None:
    await recorded(path, setting, trip, mask=mask)
    report = await played(path)
    assert lines(report) == []
    assert report.figures()["same"] == len(report.played) - 2
    assert [each.skipped for each in report.played if each.skipped] == [
        "a file",
        "the files themselves are not recorded",
    ]
    assert report.seeded == {"devices": 4, "items": 1, "users": 2, "accounts": 1, "metrics": 1}


async def test_what_a_request_has_made_was_not_there_before(path: Path) -> None:
    async def script(client: IotoClient, emulator: Emulator) -> None:
        await client.store.set("M72DANY8B1", "new", 7)
        await client.store.get("M72DANY8B1", "new")
        await client.builder.device.register("M72DANY8B9", emulator.product_token)
        await client.device.claim("M72DANY8B9")

    await recorded(path, nothing, script)
    report = await played(path)
    assert lines(report) == []
    assert report.seeded["items"] == 0
    assert report.seeded["devices"] == 1


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


@each_row(
    "old, new, expected",
    {
        "a value": ('"product": "Demo"', '"product": "Other"', "reply.product: recorded 'Other', here 'Demo'"),
        "a type": ('"product": "Demo"', '"product": 5', "reply.product: recorded 5, here 'Demo'"),
        "one more there": (
            '"product": "Demo"',
            '"product": "Demo", "place": "attic"',
            "reply.place: recorded 'attic', h",
        ),
        "one more here": ('"product": "Demo",', "", "reply.product: recorded nothing, here 'Demo'"),
        "no date": ('"accessed": "20', '"accessed": "x20', "reply.accessed: recorded 'x20"),
        "a text": ('"Cannot find device"', '"No such device"', "status: recorded '400 No such"),
        "a status": ('{"status": 400, "text"', '{"status": 404, "text"', "status: recorded '404 Cannot find dev"),
    },
)
async def test_each_difference_is_told(tmp_path: Path, old: str, new: str, expected: str) -> None:
    async def script(client: IotoClient, emulator: Emulator) -> None:
        await client.device.get("M72DANY8B1")
        with pytest.raises(BadRequestError):
            await client.device.get("NOSUCH1234")

    path = tmp_path / f"{len([*tmp_path.iterdir()])}.cassette"
    await recorded(path, nothing, script)
    changed(path, old, new)
    (line,) = lines(await played(path))
    if "No such device" in new:
        assert line.endswith("device/get: reply: recorded 'No such device', here 'Cannot find device'")
    else:
        assert expected in line
        assert line.startswith("line ")


def compared(recorded: Any, here: Any) -> list[str]:
    return [str(difference) for difference in differences(recorded, here, Names(), is_page=False)]


@each_row(
    "recorded, here",
    {
        "dates": ("2024-01-23T02:03:57.062Z", "2030-01-01T00:00:00Z"),
        "keys": ({"id": ALIAS, "deviceId": ALIAS}, {"id": "D1", "deviceId": "D1"}),
        "secrets": ({"token": "***"}, {"token": "abc"}),
        "URLs": ("https://masked.example/MASK0123456789AB", "http://127.0.0.1:5/x?y=z"),
        "PEM": ("-----BEGIN CERTIFICATE-----\n***", "-----BEGIN CERTIFICATE-----\nMIIB"),
        "text with masks": (f"Cannot find {ALIAS} here", "Cannot find D1 here"),
        "the order of records": ([{"key": "a"}, {"key": "b"}], [{"key": "b"}, {"key": "a"}]),
        "numbers": ({"value": 1}, {"value": 1.0}),
        "times": ({"timestamp": 5}, {"timestamp": 6}),
    },
)
def test_what_each_side_has_of_its_own_is_no_difference(recorded: Any, here: Any) -> None:
    assert compared(recorded, here) == []


@each_row(
    "recorded, here, expected",
    {
        "one key for two": (
            [ALIAS, ALIAS],
            ["D1", "D2"],
            [f"reply[1]: recorded '{ALIAS}', here 'D2'"],
        ),
        "a number and a boolean": ({"value": 1}, {"value": True}, ["reply.value: recorded 1, here True"]),
        "a time and none": ({"timestamp": 5}, {"timestamp": None}, ["reply.timestamp: recorded 5, here None"]),
        "an empty secret": ({"token": "***"}, {"token": ""}, ["reply.token: recorded '***', here ''"]),
        "fewer": ([1, 2], [1], ["reply.length: recorded 2, here 1"]),
        "another PEM": ("-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----", None),
        "text": (f"Cannot find {ALIAS}", "Not found: D1", None),
        "an object and text": ({"a": 1}, "a", None),
    },
)
def test_what_is_compared_is(recorded: Any, here: Any, expected: list[str] | None) -> None:
    found = compared(recorded, here)
    assert found == expected if expected is not None else len(found) == 1


# The format -------------------------------------------------------------------------------------------------------


async def test_both_sides_read_the_same_in_a_cassette(path: Path) -> None:
    await recorded(path, setting, trip)
    append(path, Exchange({"to": "cloud", "operation": "test/ping", "credentials": "none"}, None, "no reply"))
    there, here = read_there(path).exchanges, read_here(path)
    assert len(there) == len(here) > 20
    for ours, theirs in zip(here, there, strict=True):
        request, reply = theirs.request, theirs.reply or {}
        assert (ours.line, ours.to, ours.operation) == (theirs.line, request["to"], request["operation"])
        assert (ours.credentials, ours.query) == (request["credentials"], request.get("query", {}))
        assert ours.body == request.get("body")
        assert ours.status == (reply["status"] if theirs.failure is None else 0)
        assert ours.reply == reply.get("text", reply.get("body"))


def test_what_is_no_cassette_is_told_with_the_line(path: Path) -> None:
    path.write_text("id\n")
    with pytest.raises(ValueError, match=r"line 1: expected a line \{"):
        read_here(path)
    begin(path, Head("5a17"))
    with path.open("a") as file:
        file.write('{\n  "request": {\n    "to": 5x\n}\n}\n')
    with pytest.raises(ValueError, match="line 9: not JSON"):
        read_here(path)


# The command ------------------------------------------------------------------------------------------------------


async def get(client: IotoClient, emulator: Emulator) -> None:
    await client.device.get("M72DANY8B1")


async def test_the_command_prints_the_differences_and_fails(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await recorded(path, nothing, get)
    assert await status("emulator", "--replay", str(path)) == 0
    assert capsys.readouterr().out == "1 exchange: 1 the same, 0 different (0 differences), 0 not compared\n"
    changed(path, '"product": "Demo"', '"product": "Other"')
    assert await status("emulator", "--replay", str(path)) == 1
    assert capsys.readouterr().out == (
        "line 7: device/get: reply.product: recorded 'Other', here 'Demo'\n"
        "1 exchange: 0 the same, 1 different (1 difference), 0 not compared\n"
    )
    assert await status("emulator", "--replay", str(path), "--json") == 1
    figures = json.loads(capsys.readouterr().out)
    assert figures["found"] == [
        {"line": 7, "operation": "device/get", "path": "reply.product", "recorded": "Other", "here": "Demo"}
    ]
    assert figures["seeded"]["devices"] == 1


async def status(*arguments: str) -> int:
    return await asyncio.to_thread(_run, arguments)


@each_row(
    "arguments, message",
    [
        (["--json"], "--json: expected --replay beside it"),
        (["--replay", "a", "--devices", "5"], "--devices: expected no --replay beside it, which serves nothing"),
        (["--replay", "a", "--exec", "true"], "--exec: expected no --replay beside it, which serves nothing"),
        (["--replay", "no/such"], "--replay: no/such: No such file or directory"),
        (["--replay", __file__], f"--replay: {__file__}: line 1: expected a line {{"),
    ],
)
def test_wrong_usage_is_told(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert _run(["emulator", *arguments]) == 2
    assert capsys.readouterr().err == f"ioto-async: {message}\n"
