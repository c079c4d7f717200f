"""The client and the embedded cloud against the documented operations and records (``data/``), and nothing else."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import attrs

from ioto_async import BuilderClient, IotoClient, Secret
from ioto_async.controllers.base import Controller
from ioto_async.controllers.paging import Paged
from ioto_async.emulator import Emulator
from ioto_async.emulator.rest.app import _ROUTES
from tests.documented import CURRENT, INFERRED_ACCOUNT, ROWS, Member, Row, of_type, snake
from tests.methods import COMPOSED
from tests.recorder import Exchange
from tests.rows import each_row
from tests.scenarios import LOOK, SCENARIOS, World, world

# What differs from the documents, and why ---------------------------------------------------------------------------

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
SHOWN: dict[str, set[str]] = {
    "action/find": {"message"},  # in older tables (reference, section 7)
    "action/get": {"message"},
    "device/provision": {"cloudType", "cloudName", "cloudRegion"},  # read by the agent (wire examples, 1.2)
    "manager/get": MANAGED,
    "manager/provision": MANAGED,
    "manager/update": MANAGED,
    "manager/updateDisplay": MANAGED,
    "provision/getCerts": {"cloudType", "cloudName", "cloudRegion"},
    "user/login": {"manager.display"},
    "user/update": {"preferences"},  # accepted, but in no table of a reply
}
"""Members of replies that the tables do not list."""

OWN = {"aclose", "bulk", "call"}
OWN_BY_CLIENT = {
    "IotoClient": OWN | {"account_id", "builder", "from_env", "with_options"},
    "BuilderClient": OWN,
}
"""What the clients have beside a namespace for each controller; ``bulk`` calls what it is given, many times."""

current = each_row("key", sorted(CURRENT))


# The runs -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Run:
    """What a scenario sent and got."""

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
    """Run the scenario of an operation in a world of its own; once, however many tests look at it."""
    return asyncio.run(_run(CURRENT[key]))


async def _run(row: Row) -> Run:
    async with world() as w:
        results = await SCENARIOS[row.key](w)
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


def test_every_current_operation_and_every_composed_method_has_a_scenario() -> None:
    assert len(ROWS) == 74
    assert len(CURRENT) == 65
    assert SCENARIOS.keys() == CURRENT.keys() | COMPOSED.keys()


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
        assert beyond == ({"accountId"} if key in INFERRED_ACCOUNT else set())


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


def _gaps(values: list[Any], members: Iterable[Member], value_of: Callable[[Any, str], object]) -> Iterator[str]:
    """The *members* that none of *values* has; those of a record inside them by their path, ``range.start``."""
    for member in members:
        found = [value for each in values if (value := value_of(each, member.name)) is not None]
        if member.type.endswith("[]"):
            found = [item for each in found if isinstance(each, list) for item in each]
        if not found:
            yield member.name
        yield from (f"{member.name}.{path}" for path in _gaps(found, of_type(member.type), value_of) if found)


def _on_wire(record: Any, name: str) -> object:
    return record.get(name) if isinstance(record, dict) else None


@each_row("key", ["dashboard/create", "dashboard/update"])
def test_every_documented_member_of_the_records_inside_a_body_is_sent(key: str) -> None:
    members = [Member("range", "Range"), Member("widgets", "Widget[]")]
    sent = [exchange.body for exchange in run(key).exchanges]
    assert [*_gaps(sent, members, _on_wire)] == []
    assert {*_beyond(sent[:1], CURRENT[key].body)} == {"accountId"}


# Replies ------------------------------------------------------------------------------------------------------------


def _records(value: Any) -> Iterator[dict[str, Any]]:
    """The records in a reply: itself, those of a page, and those of a list of lists."""
    if isinstance(value, list):
        for item in value:
            yield from _records(item)
    elif isinstance(value, dict):
        yield from _records(value["data"]) if "data" in value else [value]


def _beyond(values: list[Any], members: Iterable[Member]) -> Iterator[str]:
    """What *values* have that is none of *members*; in a record inside them by its path."""
    known = {member.name: member.type for member in members}
    for value in values:
        yield from value.keys() - known.keys()
        for name in value.keys() & known.keys():
            inside = value[name] if known[name].endswith("[]") else [value[name]]
            if of_type(known[name]):
                yield from (f"{name}.{path}" for path in _beyond(inside, of_type(known[name])))


@current
def test_every_documented_member_of_the_reply_is_on_the_wire(key: str) -> None:
    records = [record for exchange in run(key).exchanges for record in _records(exchange.reply)]
    assert {*_gaps(records, CURRENT[key].reply, _on_wire)} == NEVER_YET.get(key, set())


def _decoded(key: str) -> Callable[[Any, str], object]:
    return lambda result, name: getattr(result, SPELLED.get((key, name), snake(name)), None)


@current
def test_every_documented_member_of_the_reply_is_in_the_decoded_records(key: str) -> None:
    assert {*_gaps(run(key).results, CURRENT[key].reply, _decoded(key))} == NEVER_YET.get(key, set())


TYPES: dict[str, tuple[type, ...]] = {
    "string": (str, Secret),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "date": (datetime,),
}
"""What the documented types are in Python; records have classes of their own."""

TIMES = {"timestamp": (datetime,)}
"""Of a point documented as a number, seconds or milliseconds, which the client tells apart."""


def _mistyped(values: list[Any], members: Iterable[Member], value_of: Callable[[Any, str], object]) -> Iterator[str]:
    """The *members* that are not of their documented type in one of *values*, at whatever depth."""
    for member in members:
        found: list[Any] = [value for each in values if (value := value_of(each, member.name)) is not None]
        if inner := of_type(member.type):
            records = [item for each in found for item in each] if member.type.endswith("[]") else found
            yield from [member.name] * any(not attrs.has(type(record)) for record in records)
            yield from (f"{member.name}.{path}" for path in _mistyped(records, inner, value_of))
        elif not all(type(value) in TIMES.get(member.name, TYPES[member.type]) for value in found):
            yield member.name


@current
def test_every_member_of_the_decoded_records_has_its_documented_type(key: str) -> None:
    assert [*_mistyped(run(key).results, CURRENT[key].reply, _decoded(key))] == []


@each_row("key", ["dashboard/create", "dashboard/find", "dashboard/get", "dashboard/update"])
def test_the_records_inside_a_dashboard_come_back_as_they_were_sent(key: str) -> None:
    board = run(key).results[0]
    assert board.range == LOOK["range"]
    assert board.widgets == LOOK["widgets"]


CLOSED = sorted(key for key, row in CURRENT.items() if row.reply and not row.reply_open)
"""Operations whose reply has the documented members only: its table is neither empty nor open."""


@each_row("key", CLOSED)
def test_the_wire_has_no_member_of_a_record_that_is_not_documented(key: str) -> None:
    records = [record for exchange in run(key).exchanges for record in _records(exchange.reply)]
    assert {*_beyond(records, CURRENT[key].reply)} == SHOWN.get(key, set())


@each_row("key", ["metric/fetch", "builder:metric/fetch"])
def test_every_documented_member_of_a_metric_request_is_sent(key: str) -> None:
    items = [item for exchange in run(key).exchanges for item in exchange.body["items"]]
    documented = {member.name for member in of_type("MetricItem")}
    sent = {name for item in items for name in item}
    assert documented <= sent <= documented | {"id"}  # the service's library echoes an id


@each_row("key", ["metric/fetch", "builder:metric/fetch"])
def test_a_point_has_the_documented_members_and_no_others(key: str) -> None:
    metrics = [metric for exchange in run(key).exchanges for metric in _records(exchange.reply)]
    points = [point for metric in metrics for point in metric.get("points", ())]
    assert {*_beyond(points, of_type("Point"))} == set()
    assert all(point.extra == {} for metric in run(key).results for point in metric.points or ())


# Methods that are made of several -----------------------------------------------------------------------------------


@cache
def composed(method: str) -> tuple[set[str], list[Any]]:
    """Run the scenario of a method in a world of its own, and return what it called and what it returned."""
    return asyncio.run(_composed(method))


async def _composed(method: str) -> tuple[set[str], list[Any]]:
    async with world() as w:
        results = await SCENARIOS[method](w)
        assert w.builder.exchanges == []
        return {exchange.path.removeprefix("/tok/") for exchange in w.cloud.exchanges}, results


@each_row("method", sorted(COMPOSED))
def test_a_method_that_is_made_of_several_calls_documented_operations(method: str) -> None:
    assert composed(method)[0] == COMPOSED[method]


HIDDEN = {"_source"}
"""Documented as hidden: a reply does not have it."""


@each_row("method", ["store.find", "store.get", "store.set"])
def test_every_documented_member_of_an_item_of_the_store_is_in_the_decoded_record(method: str) -> None:
    results, members = composed(method)[1], of_type("Store")
    assert {*_gaps(results, members, _decoded(method))} == HIDDEN
    # A value is documented as an object; any JSON value is meant.
    assert {*_mistyped(results, members, _decoded(method))} <= {"value"}
    assert all(result.extra == {"_type": "Store"} for result in results)


# Nothing beyond -----------------------------------------------------------------------------------------------------


def _public(owner: object) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_")}


def _namespaces(client: object) -> dict[str, Controller]:
    found = {name: getattr(client, name) for name in _public(client)}
    return {name: value for name, value in found.items() if isinstance(value, Controller)}


async def test_the_client_has_the_documented_methods_and_no_others() -> None:
    documented = {row.method for row in ROWS.values()}
    async with IotoClient("https://cloud.example", token="token", environ={}) as client:
        for owner, prefix in ((client, ""), (client.builder, "builder.")):
            namespaces = _namespaces(owner)
            assert _public(owner) == OWN_BY_CLIENT[type(owner).__name__] | namespaces.keys()
            methods = {f"{prefix}{name}.{method}" for name, value in namespaces.items() for method in _public(value)}
            wanted = {method for method in documented if method.startswith("builder.") is bool(prefix)}
            assert methods == wanted | (set() if prefix else COMPOSED.keys())


def test_a_builder_that_stands_alone_has_the_same_methods() -> None:
    builder = BuilderClient(token="token", environ={})
    client = IotoClient("https://cloud.example", token="token", environ={})
    assert _public(builder) == _public(client.builder)
    assert _namespaces(builder).keys() == {"device", "metric", "test"}


def test_what_a_find_returns_walks_its_pages_and_does_nothing_else() -> None:
    assert _public(Paged) == {"pages"} | _public(Coroutine)


def _paths(row: Row) -> set[str]:
    """Where a row is served (reference, section 2): behind ``/tok`` for tokens, and bare for logins or for anybody."""
    base = "" if row.api == "ioto" else "/api"
    return {f"{base}/{row.name}"} | ({f"{base}/tok/{row.name}"} if row.key != "builder:device/register" else set())


SERVED = {path: row for row in ROWS.values() if row.http for path in _paths(row)}


def test_the_embedded_cloud_has_the_documented_routes_and_no_others() -> None:
    served = {path: (route.operation.name, route.operation.role) for path, route in _ROUTES.items()}
    assert served == {path: (row.name, row.role) for path, row in SERVED.items()}


async def test_the_embedded_cloud_answers_the_documented_operations_and_no_others() -> None:
    """What is not among the routes is no operation: each of them answers, and a path beside them does not."""
    async with Emulator() as emulator, aiohttp.ClientSession() as session:

        async def answers(path: str) -> bool:
            tokens = {"/api/tok": emulator.cloud.builder.token, "/tok": emulator.token}
            token = next((token for start, token in tokens.items() if path.startswith(start)), "")
            async with session.post(emulator.api + path, json={}, headers={"Authorization": token}) as reply:
                return await reply.text() != "Unknown action"

        beside = {f"{path.rpartition('/')[0]}/{action}" for path in SERVED for action in ("", "list", "getAll")}
        paths = SERVED.keys() | beside - {"/tok/file/list", "/file/list"} | {"/", "/tok", "/token/create"}
        assert {path for path in paths if await answers(path)} == SERVED.keys()
