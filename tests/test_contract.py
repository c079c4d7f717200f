"""The client and the embedded cloud against the documented operations (``data/operations.json``), and nothing else."""

import asyncio
import inspect
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import attrs
import pytest
from cases import CASES, World, world
from documented import CURRENT, ROWS, Row, snake
from recorder import Exchange

from ioto_async import IotoClient
from ioto_async.emulator import Emulator

# What differs from the documents, and why ---------------------------------------------------------------------------

ACCOUNT_NAMED = {
    "alert/find", "alert/get", "alert/remove", "alert/update",
    "dashboard/create", "dashboard/find", "dashboard/get", "dashboard/remove", "dashboard/update",
    "device/claim", "device/release", "file/put",
    "user/create", "user/find", "user/get", "user/remove", "user/update", "user/updateRole",
}  # fmt: skip
"""What sends ``accountId`` though its table does not list it: an owner's token names the account that it acts for
(reference, section 3)."""

FAILS = {"builder:test/exception": 500}
"""What does not answer 200, because it is there to fail."""

SPELLED = {
    ("generic/create", "_type"): "type",
    ("action/invoke", "error"): "message",
    ("device/provision", "error"): "message",
    ("device/provision", "delay"): "delay",
}
"""Attributes that are not called like their member; what is raised is one of the error."""

NEVER_YET = {
    "device/claim": {"checked"},  # a device looks for updates once it is claimed
    "user/create": {"first", "last"},  # users name themselves
}
"""Members that a reply can not have, as nothing has set them by then."""

MANAGED = {"display", "versionCurrent"}
"""Set by manager/updateDisplay and manager/update; ``display`` is in older tables."""
SHOWN = {
    "action/find": {"message"},  # in older tables (reference, section 7)
    "action/get": {"message"},
    "device/provision": {"cloudType", "cloudName", "cloudRegion"},  # read by the agent (wire examples, 1.2)
    "manager/get": MANAGED,
    "manager/provision": MANAGED,
    "manager/update": MANAGED,
    "manager/updateDisplay": MANAGED,
    "provision/getCerts": {"cloudType", "cloudName", "cloudRegion"},
    "user/update": {"preferences"},  # accepted, but in no table of a reply
}
"""Members of replies that the tables do not list."""

CONVENIENCE = {
    "store.find", "store.get", "store.remove", "store.set",
    "file.upload", "file.download", "device.upload", "device.download", "manager.upload", "manager.download",
    "provision.fetch_update",
}  # fmt: skip
"""Methods that are made of documented calls."""

current = pytest.mark.parametrize("key", sorted(CURRENT))


# The runs -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Run:
    """What a case sent and got."""

    exchanges: list[Exchange]
    """Those of the operation."""
    paths: list[tuple[str, str]]
    """Method and path of the same requests, as the emulator saw them."""
    queries: list[dict[str, str]]
    results: list[Any]
    refusals: dict[str, tuple[int, str]]
    """By required member: the answer to a request without it."""


@cache
def run(key: str) -> Run:
    """Run the case of an operation in a world of its own; once, however many tests look at it."""
    return asyncio.run(_run(CURRENT[key]))


async def _run(row: Row) -> Run:
    async with world() as w:
        results = await CASES[row.key](w)
        recorder = w.cloud if row.api == "ioto" else w.builder
        received = [request for request in w.emulator.requests if _name(w, request.path) == row.key]
        exchanges = [exchange for exchange in recorder.exchanges if exchange.path.endswith(f"/{row.name}")]
        refusals = {
            member.name: await recorder.send(
                exchanges[-1].path, _without(exchanges[0].body, member.name), exchanges[-1].headers
            )
            for member in row.body
            if member.required
        }
        paths = [(request.method, request.path) for request in received]
        return Run(exchanges, paths, [dict(request.query) for request in received], results, refusals)


def _name(w: World, path: str) -> str:
    """Return the key of the row that a path of the emulator's server belongs to."""
    for base, prefix in ((w.emulator.builder, "builder:"), (w.emulator.api, "")):
        start = urlsplit(base).path.rstrip("/") + "/"
        if path.startswith(start):
            return prefix + path.removeprefix(start).removeprefix("tok/")
    return path


def _without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {member: value for member, value in body.items() if member != name}


def test_every_current_operation_has_a_case() -> None:
    assert len(ROWS) == 74
    assert len(CURRENT) == 65
    assert CASES.keys() == CURRENT.keys()


# Requests -----------------------------------------------------------------------------------------------------------


@current
def test_the_path_is_the_documented_one_and_every_request_a_post(key: str) -> None:
    row = CURRENT[key]
    base = "" if row.api == "ioto" else "/api"
    prefix = "" if key in ("builder:device/register", "user/login") else "/tok"
    expected = ("POST", f"{base}{prefix}/{row.name}")
    login = ("POST", f"{base}/{row.name}")
    paths = run(key).paths
    assert expected in paths
    assert set(paths) <= {expected, login}


@current
def test_every_documented_member_of_the_body_is_sent_under_its_name(key: str) -> None:
    documented = {member.name for member in CURRENT[key].body}
    sent = {name for exchange in run(key).exchanges for name in exchange.body}
    assert documented - sent == set()


@current
def test_nothing_else_is_sent_in_the_body(key: str) -> None:
    row = CURRENT[key]
    sent = {name for exchange in run(key).exchanges for name in exchange.body}
    beyond = sent - {member.name for member in row.body}
    if row.open:
        assert beyond, "the body is open: send a member of one's own"
    else:
        assert beyond == ({"accountId"} if key in ACCOUNT_NAMED else set())


@current
def test_a_body_holds_most_of_its_members_at_once(key: str) -> None:
    row = CURRENT[key]
    documented = {member.name for member in row.body}
    together = max(len(documented & exchange.body.keys()) for exchange in run(key).exchanges)
    assert together >= len(documented) - 1


@current
def test_the_query_has_the_documented_options_under_their_names(key: str) -> None:
    documented = {member.name for member in CURRENT[key].query}
    assert {name for query in run(key).queries for name in query} == documented


@current
def test_the_embedded_cloud_accepts_what_is_documented(key: str) -> None:
    statuses = {(exchange.status, exchange.received[:80] * (exchange.status != 200)) for exchange in run(key).exchanges}
    assert {status for status, _ in statuses} == {FAILS.get(key, 200)}, statuses


@current
def test_a_required_member_that_is_left_out_is_named_in_the_refusal(key: str) -> None:
    for name, (status, text) in run(key).refusals.items():
        assert status == 400, f"{name}: {status} {text}"
        assert name in text


# Replies ------------------------------------------------------------------------------------------------------------


def _records(value: Any) -> Iterator[dict[str, Any]]:
    """The records in a reply: itself, those of a page, and those of a list of lists."""
    if isinstance(value, list):
        for item in value:
            yield from _records(item)
    elif isinstance(value, dict):
        yield from _records(value["data"]) if "data" in value else [value]


@current
def test_every_documented_member_of_the_reply_is_on_the_wire(key: str) -> None:
    documented = {member.name for member in CURRENT[key].reply}
    records = [record for exchange in run(key).exchanges for record in _records(exchange.reply)]
    seen = {name for record in records for name, value in record.items() if value is not None}
    assert documented - seen == NEVER_YET.get(key, set())


@current
def test_every_documented_member_of_the_reply_is_in_the_decoded_records(key: str) -> None:
    missing = {
        member.name
        for member in CURRENT[key].reply
        if all(
            getattr(result, SPELLED.get((key, member.name), snake(member.name)), None) is None
            for result in run(key).results
        )
    }
    assert missing == NEVER_YET.get(key, set())


CLOSED = sorted(
    key for key, row in CURRENT.items() if row.reply and row.name.partition("/")[0] not in ("generic", "metric")
)
"""Operations whose reply has the documented members only: its table is neither empty nor open."""


@pytest.mark.parametrize("key", CLOSED)
def test_the_wire_has_no_member_of_a_record_that_is_not_documented(key: str) -> None:
    documented = {member.name for member in CURRENT[key].reply}
    records = [record for exchange in run(key).exchanges for record in _records(exchange.reply)]
    assert {name for record in records for name in record} - documented == SHOWN.get(key, set())


ITEM = {
    "accumulate", "cloudId", "dimensions", "field", "limit", "metric", "model", "namespace", "period", "start",
    "statistic",
}  # fmt: skip
"""The members of a metric request (reference, section 9)."""


@pytest.mark.parametrize("key", ["metric/fetch", "builder:metric/fetch"])
def test_every_documented_member_of_a_metric_request_is_sent(key: str) -> None:
    items = [item for exchange in run(key).exchanges for item in exchange.body["items"]]
    sent = {name for item in items for name in item}
    assert ITEM <= sent <= ITEM | {"id"}  # the service's library echoes an id


@pytest.mark.parametrize("key", ["metric/fetch", "builder:metric/fetch"])
def test_the_points_of_a_metric_have_their_documented_members(key: str) -> None:
    points = [point for metric in run(key).results for point in metric.points or ()]
    assert points
    assert all(None not in (point.value, point.timestamp, point.count) for point in points)


# Nothing beyond -----------------------------------------------------------------------------------------------------


def _methods(owner: object, path: str = "") -> Iterator[str]:
    """The public methods of the namespaces of a client, and of those of its builder."""
    for name in dir(owner):
        value = getattr(owner, name)
        if name.startswith("_") or not type(value).__module__.startswith("ioto_async.controllers"):
            continue
        functions = inspect.getmembers(type(value), inspect.isfunction)
        yield from (f"{path}{name}.{method}" for method, _ in functions if not method.startswith("_"))


async def test_the_client_has_the_documented_methods_and_no_others() -> None:
    async with IotoClient("https://cloud.example", token="token", environ={}) as client:
        methods = {*_methods(client), *_methods(client.builder, "builder.")}
    assert methods - {row.method for row in ROWS.values()} - CONVENIENCE == set()
    assert {row.method for row in CURRENT.values()} - methods == set()


UNDOCUMENTED = (
    {"cloud", "token", "product", "notification", "ticket"},
    {"list", "getAll", "delete", "search", "download"},
)
"""Controllers and actions to look for beside the documented ones, which are tried in every other controller too."""


async def test_the_embedded_cloud_answers_the_documented_operations_and_no_others() -> None:
    controllers = {row.name.partition("/")[0] for row in ROWS.values()} | UNDOCUMENTED[0]
    actions = {row.name.partition("/")[2] for row in ROWS.values()} | UNDOCUMENTED[1]
    async with Emulator() as emulator, aiohttp.ClientSession() as session:

        async def answers(base: str, name: str, token: str) -> bool:
            headers = {"Authorization": token}
            url = f"{base}{'' if name == 'device/register' else '/tok'}/{name}"
            async with session.post(url, json={"id": "nobody"}, headers=headers) as reply:
                return await reply.text() != "Unknown action"

        bases = {"": (emulator.api, emulator.token), "builder:": (emulator.builder, emulator.cloud.builder.token)}
        answered = {
            f"{prefix}{controller}/{action}"
            for (prefix, (base, token)), controller, action in product(bases.items(), controllers, actions)
            if await answers(base, f"{controller}/{action}", token)
        }
    assert answered - ROWS.keys() == set()
    assert CURRENT.keys() - answered == set()
