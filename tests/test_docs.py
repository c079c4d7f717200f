"""The page of operations is that of the table, and its examples run."""

import ast
import importlib.util
import inspect
import operator
from contextlib import nullcontext
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ioto_async import IotoClient, MetricQuery, ServiceError
from ioto_async.emulator import EmulatorThread
from ioto_async.models import Range, Widget
from ioto_async.operations import BUILDER, IOTO, MQTT
from tests.documented import ROWS, snake
from tests.rows import each_row

_SPEC = importlib.util.spec_from_file_location("generate", Path(__file__).parent.parent / "docs" / "generate.py")
assert _SPEC is not None
assert _SPEC.loader is not None
generate: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(generate)

OPERATIONS = [*IOTO, *(f"builder {name}" for name in BUILDER)]


def test_the_page_is_up_to_date() -> None:
    assert generate.PAGE.read_text("utf-8") == generate.page()


def test_the_page_of_assumptions_is_up_to_date() -> None:
    assert generate.ASSUMED.read_text("utf-8") == generate.assumptions()


def test_every_operation_has_an_example_and_no_other_has() -> None:
    assert sorted(generate.EXAMPLES) == sorted(OPERATIONS)


@each_row("name", OPERATIONS)
def test_the_example_shows_the_method_of_the_operation(name: str) -> None:
    prefix, _, operation = name.rpartition(" ")
    row = (BUILDER if prefix else IOTO)[operation]
    method = generate.method(row, prefix)
    assert f"{method.partition('.')[2]}(" in generate.EXAMPLES[name]


@cache
def _client() -> IotoClient:
    return IotoClient("https://cloud.example", token="01TOKEN", environ={})


def _method(name: str) -> Any:
    return operator.attrgetter(name)(_client())


@each_row("name", OPERATIONS)
def test_a_member_of_a_query_is_offered_by_the_method_or_said_not_to_be(name: str) -> None:
    prefix, _, operation = name.rpartition(" ")
    row = (BUILDER if prefix else IOTO)[operation]
    taken = inspect.signature(_method(generate.method(row, prefix).removeprefix("client."))).parameters.keys()
    missing = [field.name for field in row.query if snake(field.name) not in taken]
    not_offered = not prefix and operation in generate.NOT_OFFERED
    assert missing == ([field.name for field in row.query] if not_offered else [])


@cache
def _page() -> str:
    text: str = generate.page()
    return text


@each_row("name", [name for name, row in IOTO.items() if "accountId" in {f.name for f in row.body}])
def test_an_account_is_marked_as_inferred_where_the_documents_leave_it_out(name: str) -> None:
    documented = "accountId" in {member.name for member in ROWS[name].body}
    section = _page().split(f"`POST /{name}`")[1].split("```")[0]
    assert ("*inferred*" in section) is not documented


def test_every_method_that_is_no_operation_is_among_the_composed_ones() -> None:
    methods = {
        f"{controller}.{name}"
        for controller, namespace in inspect.getmembers(_client())
        if controller in {row.partition("/")[0] for row in (*IOTO, *MQTT)}
        for name, _ in inspect.getmembers(namespace, inspect.isroutine)
        if not name.startswith("_")
    }
    operations = {generate.method(row).removeprefix("client.") for row in (*IOTO.values(), *MQTT.values())}
    assert methods - operations == generate.COMPOSED.keys() - operations
    assert generate.COMPOSED.keys() <= methods


def test_the_list_does_not_call_a_method_mqtt_only_that_works_over_http() -> None:
    lines = [line for line in generate.summary().splitlines() if "MQTT only" in line]
    assert [line.split(" | ")[1] for line in lines] == ["`client.metric.get`", "`client.metric.set`"]


async def _world(emulator: EmulatorThread, client: IotoClient) -> dict[str, Any]:
    """What the examples take as given."""
    cloud = emulator.cloud
    device_id, new_device_id = cloud.register_device("M72DANY8BZ"), cloud.register_device("M72DANY8BY")
    await client.device.claim(device_id)
    await client.store.set(device_id, "speed", 1)
    await client.file.put("notes.txt", b"notes", mime_type="text/plain")
    await client.device.upload("log.txt", b"log", id=device_id)
    await client.manager.upload("index.html", b"<html>")
    await client.action.invoke("Alert", context={"message": "too hot"})
    cloud.add_update("2.0.0", b"image")
    offer = await client.provision.update(device_id, emulator.product_token, "1.0.0")
    return {
        "account_id": emulator.account_id,
        "cloud_id": emulator.cloud_id,
        "cloud_token": emulator.token,
        "device_id": device_id,
        "new_device_id": new_device_id,
        "product": emulator.product_token,
        "alert_id": (await client.alert.find()).items[0].id,
        "dashboard_id": (await client.dashboard.create("First")).id,
        "manager_id": (await client.manager.get()).id,
        "update": offer.update,
        "user_id": cloud.add_user("ann@example.com"),
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@each_row("name", OPERATIONS)
async def test_the_example_runs(name: str, ioto_emulator: EmulatorThread) -> None:
    ioto_emulator.reset()
    environ = ioto_emulator.env | {"BUILDER_TOKEN": ioto_emulator.cloud.builder.create_token("owner")}
    async with (
        IotoClient.from_env(environ) as client,
        IotoClient(ioto_emulator.api, login=ioto_emulator.login_token, origin=ioto_emulator.origin) as signed_in,
    ):
        names = {"client": client, "signed_in": signed_in, "MetricQuery": MetricQuery, "Range": Range, "Widget": Widget}
        names |= await _world(ioto_emulator, client)
        code = compile(generate.EXAMPLES[name], name, "eval", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with pytest.raises(ServiceError) if name.endswith("test/exception") else nullcontext():
            await eval(code, names)
    last = ioto_emulator.requests[-1]
    path = ("/api" if name.startswith("builder") else "") + "/{}" + f"/{name.rpartition(' ')[2]}"
    assert last.path in {path.format("tok"), path.format("").replace("//", "/")}


@each_row("name", sorted(generate.COMPOSED))
async def test_the_example_of_a_composed_method_runs(name: str, ioto_emulator: EmulatorThread, tmp_path: Path) -> None:
    ioto_emulator.reset()
    what, example = generate.COMPOSED[name]
    assert f"client.{name}(" in example
    async with IotoClient.from_env(ioto_emulator.env) as client:
        given = {"MetricQuery": MetricQuery, "timedelta": timedelta}
        names = {"client": client, "path": tmp_path / name, **given} | await _world(ioto_emulator, client)
        seen = len(ioto_emulator.requests)
        await eval(compile(example, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    called = [request.path.removeprefix("/tok/") for request in [*ioto_emulator.requests][seen:]]
    told = [word.partition("?")[0] for word in what.split("`")[1::2] if "/" in word]
    assert [operation for operation in called if operation in IOTO] == told


async def test_what_is_not_documented_is_accepted_by_the_embedded_cloud(ioto_emulator: EmulatorThread) -> None:
    async with IotoClient.from_env(ioto_emulator.env) as client:
        device_id = (await _world(ioto_emulator, client))["device_id"]
        found = await client.call("device/get", {"id": device_id, "teapot": {"cups": 2}}, query={"milk": "none"})
    assert isinstance(found, dict)
    assert found["id"] == device_id
    assert "teapot" not in found
