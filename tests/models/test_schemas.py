"""Records as pydantic and FastAPI take them."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest

from ioto_async import Certificates, Device, Metric, Metrics, Page, Point, Range, Secret, User
from tests.asgi import request
from tests.records import RECORDS
from tests.rows import each_row

pydantic = pytest.importorskip("pydantic")
fastapi = pytest.importorskip("fastapi")

KEY = "-----BEGIN PRIVATE KEY-----"
DEVICE = Device(id="D1", created=datetime(2026, 1, 2, tzinfo=UTC), extra={"colour": "red"})
CERTIFICATES = Certificates(id="D1", key=KEY, extra={"apiToken": Secret(KEY), "old": [Secret(KEY)], "plain": "x"})
METRICS = Metrics([Metric(metric="t", period=60, points=[Point(value=1.5, count=2)])])

# pydantic ---------------------------------------------------------------------------------------------------------


@each_row("cls", RECORDS)
def test_every_record_has_a_schema_and_is_taken_as_it_is(cls: type[Any]) -> None:
    adapter = pydantic.TypeAdapter(cls)
    names = [field.name for field in cls.__attrs_attrs__]
    for mode in ("validation", "serialization"):
        schema = adapter.json_schema(mode=mode)
        shown = schema if "properties" in schema else schema["$defs"][cls.__name__]
        assert (shown["title"], list(shown["properties"])) == (cls.__name__, names)
        assert shown["description"].startswith((cls.__doc__ or "").split("\n")[0])
    assert schema.keys() >= {"title"} or "$defs" in schema


@each_row("record", [DEVICE, Page(items=[DEVICE], next="n"), Metric(metric="t", points=[Point(value=1)])])
def test_a_record_is_written_as_its_dict_and_read_again(record: Any) -> None:
    cls = Page[Device] if isinstance(record, Page) else type(record)
    adapter = pydantic.TypeAdapter(cls)
    assert adapter.validate_python(record) is record
    assert adapter.dump_python(record) == record.to_dict()
    assert adapter.validate_python(record.to_dict()) == record
    assert adapter.validate_json(adapter.dump_json(record)) == adapter.validate_json(record.to_json()) == record


def test_a_record_is_the_type_of_a_field() -> None:
    optional = (Certificates | None, None)
    fields = {"device": (Device, ...), "certificates": optional, "page": (Page[Device], ...), "metrics": (Metrics, ...)}
    Reply = pydantic.create_model("Reply", **fields)  # noqa: N806
    reply = Reply(device=DEVICE, certificates=CERTIFICATES, page=Page(items=[DEVICE]), metrics=METRICS)
    assert (reply.device, type(reply.metrics), reply.metrics) == (DEVICE, Metrics, METRICS)
    assert KEY not in f"{reply!r} {reply} {reply.model_dump()} {reply.model_dump_json()}"
    assert Reply.model_validate_json(reply.model_dump_json(context={"secrets": True})) == reply
    assert {"Certificates", "Device", "Metric", "Page_Device_", "Point"} <= Reply.model_json_schema()["$defs"].keys()


def test_secrets_are_masked_in_json_unless_the_context_asks_for_them() -> None:
    adapter = pydantic.TypeAdapter(Certificates)
    masked = json.loads(adapter.dump_json(CERTIFICATES))
    assert (masked["id"], masked["key"]) == ("D1", "***")
    assert masked["extra"] == {"apiToken": "***", "old": ["***"], "plain": "x"}
    shown = json.loads(adapter.dump_json(CERTIFICATES, context={"secrets": True}))
    assert shown == json.loads(CERTIFICATES.to_json())
    read = adapter.validate_json(json.dumps(shown))
    assert (read, type(read.key)) == (CERTIFICATES, Secret)
    assert adapter.dump_python(CERTIFICATES)["key"] == KEY


@each_row("type_", [Any, Device | Certificates, Certificates | Device, Certificates | None])
def test_a_record_is_written_where_others_may_be(type_: Any) -> None:
    adapter = pydantic.TypeAdapter(dict[str, type_])
    read = adapter.validate_python({"a": CERTIFICATES})
    assert read["a"] is CERTIFICATES
    assert json.loads(adapter.dump_json(read))["a"]["key"] == "***"
    assert json.loads(adapter.dump_json(read, context={"secrets": True}))["a"]["key"] == KEY


def test_a_page_of_anything_is_written_and_one_of_other_records_is_not() -> None:
    found = Page(items=[DEVICE])
    assert json.loads(pydantic.TypeAdapter(Page).dump_json(found))["items"][0]["id"] == "D1"
    rejected: Page[Device] = Page(items=[], rejected=[{"apiToken": Secret(KEY)}])
    assert json.loads(pydantic.TypeAdapter(Page[Device]).dump_json(rejected))["rejected"] == [{"apiToken": "***"}]
    with pytest.raises(ValueError, match="expected User, got Device"):
        pydantic.TypeAdapter(Page[User]).dump_json(found)


def test_a_secret_is_the_type_of_a_field_as_well() -> None:
    adapter = pydantic.TypeAdapter(dict[str, Secret | None])
    read = adapter.validate_python({"token": KEY, "none": None})
    assert (read["token"], type(read["token"])) == (KEY, Secret)
    assert adapter.dump_json(read) == b'{"token":"***","none":null}'


@each_row(
    "cls, members, reason",
    [
        (Device, {"id": "D1", "accountId": "A1"}, "accountId"),  # a name of the wire
        (Device, {"id": 5}, "id"),
        (Range, {"period": "often"}, "period"),
        (Certificates, "text", "dict"),
    ],
)
def test_what_is_no_record_is_refused_by_name(cls: type[Any], members: object, reason: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=reason):
        pydantic.TypeAdapter(cls).validate_python(members)


# FastAPI ----------------------------------------------------------------------------------------------------------


async def get(app: Any, path: str, body: str = "") -> Any:
    """The JSON of the reply of *app*, which has to be one of success."""
    status, reply = await request(app, path, body)
    assert status == 200, reply
    return reply


async def device() -> Device:
    return DEVICE


async def devices() -> list[Device]:
    return [DEVICE]


async def page() -> Page[Device]:
    return Page(items=[DEVICE], next="n1")


async def metrics() -> Metrics:
    return METRICS


async def certificates() -> Certificates:
    return CERTIFICATES


async def shown() -> dict[str, Any]:
    return CERTIFICATES.to_dict()


async def echo(device: Annotated[Device, fastapi.Body()]) -> Device:
    return device


@pytest.fixture
def app() -> Any:
    app = fastapi.FastAPI()
    for route in (device, devices, page, metrics, certificates, shown):
        app.add_api_route(f"/{route.__name__}", route)
    app.add_api_route("/known", device, response_model_exclude_none=True)
    app.add_api_route("/echo", echo, methods=["POST"])
    return app


async def test_a_route_replies_with_records_as_they_are(app: Any) -> None:
    expected = json.loads(DEVICE.to_json()) | {"created": "2026-01-02T00:00:00Z"}
    assert await get(app, "/device") == expected
    assert await get(app, "/devices") == [expected]
    found = await get(app, "/page")
    assert (found["items"], found["next"]) == ([expected], "n1")
    assert (await get(app, "/metrics"))[0]["points"][0]["value"] == 1.5
    assert await get(app, "/known") == {name: value for name, value in expected.items() if value is not None}
    assert await get(app, "/echo", DEVICE.to_json()) == expected


async def test_a_route_masks_secrets_unless_it_replies_with_the_dict(app: Any) -> None:
    masked = await get(app, "/certificates")
    assert (masked["id"], masked["key"], masked["extra"]["apiToken"]) == ("D1", "***", "***")
    assert await get(app, "/shown") == json.loads(CERTIFICATES.to_json())


def test_the_openapi_schema_has_the_records(app: Any) -> None:
    schema = app.openapi()
    replies = {
        path: route["responses"]["200"]["content"]["application/json"]["schema"]
        for path, methods in schema["paths"].items()
        for route in methods.values()
    }
    assert replies["/device"] == replies["/echo"] == {"$ref": "#/components/schemas/Device"}
    assert replies["/devices"]["items"] == {"$ref": "#/components/schemas/Device"}
    assert replies["/page"] == {"$ref": "#/components/schemas/Page_Device_"}
    assert {"Certificates", "Device", "Metric", "Page_Device_", "Point"} <= schema["components"]["schemas"].keys()
    properties = schema["components"]["schemas"]["Device"]["properties"]
    assert {"format": "date-time", "type": "string"} in properties["created"]["anyOf"]
