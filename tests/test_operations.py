"""The table of operations against the documented one (``data/operations.json``)."""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ioto_async.controllers import (
    ActionController,
    BuilderDeviceController,
    DeviceController,
    GenericController,
    MetricController,
    ProvisionController,
    StoreController,
    TestController,
)
from ioto_async.decoding import record
from ioto_async.models import (
    Action,
    ActionResult,
    Certificates,
    Credentials,
    Device,
    Metric,
    MetricList,
    Registration,
    UpdateOffer,
)
from ioto_async.operations import BUILDER, IOTO, Field, Kind, Operation, Reply

CONTROLLERS = {
    "action": ActionController,
    "device": DeviceController,
    "generic": GenericController,
    "metric": MetricController,
    "provision": ProvisionController,
    "test": TestController,
}

# Where the table says more than the documents do, and why.
ACCOUNT = Field("accountId", "string", False, "owner")
"""Inferred: calls with a CloudAPI token name their account (reference, section 3)."""
ADDED_BODY = {"device/claim": {ACCOUNT}, "device/release": {ACCOUNT}}
CURSOR = {"next": "cursor", "prev": "cursor"}
"""Documented as objects in queries and as strings in replies: opaque."""
COUNT = {"limit": "count"}
"""Documented as a number: how many, and so a whole one above 0."""
ANY_EXISTS = {"exists": "any"}
"""Documented as a boolean that can be null, which the vendor's script spells as an empty value."""
STRING_REPLY = {"device/getSignedUrl", "test/ping"}
"""Documented as objects that are a bare JSON string, and a plain text."""
SET_BY_CLAIM_ID = {"device/claim", "device/release"}
"""Documented as not idempotent; a second delivery is refused, or sets the same state again."""


def _documented() -> dict[str, Any]:
    rows = json.loads((Path(__file__).parent / "data" / "operations.json").read_text("utf-8"))
    wanted = {
        row["path"]: row
        for row in rows
        if row["api"] == "ioto"
        and row["controller"].lower() in CONTROLLERS
        and row["status"] == "current"
        and row["protocol"] == "http"
    }
    wanted |= {
        "builder:" + row["path"]: row for row in rows if row["api"] == "builder" and row["path"] == "/device/register"
    }
    return wanted


DOCUMENTED = _documented()
TABLE = {f"/{name}": row for name, row in IOTO.items()} | {f"builder:/{name}": row for name, row in BUILDER.items()}

every_operation = pytest.mark.parametrize("path", sorted(DOCUMENTED))


def _field(row: dict[str, Any], types: dict[str, str]) -> Field:
    return Field(row["name"], types.get(row["name"], row["type"]), row["required"], row["role"])


def test_every_documented_operation_has_a_row() -> None:
    assert DOCUMENTED.keys() - TABLE.keys() == set()


def test_no_row_is_undocumented() -> None:
    assert TABLE.keys() - DOCUMENTED.keys() == set()


def test_the_copy_of_the_documents_is_not_empty() -> None:
    assert len(DOCUMENTED) == 23


@pytest.mark.parametrize("table", [IOTO, BUILDER], ids=["ioto", "builder"])
def test_a_row_is_found_under_its_own_name(table: dict[str, Operation]) -> None:
    assert {name: row.name for name, row in table.items()} == {name: name for name in table}


@every_operation
def test_the_role_is_the_documented_one(path: str) -> None:
    assert TABLE[path].role == DOCUMENTED[path]["role"]


@every_operation
def test_body_members_are_the_documented_ones(path: str) -> None:
    documented = {_field(row, {}) for row in DOCUMENTED[path]["body"] if row["name"] != "*"}
    assert set(TABLE[path].body) == documented | ADDED_BODY.get(TABLE[path].name, set())


@every_operation
def test_no_member_is_listed_twice(path: str) -> None:
    for fields in (TABLE[path].body, TABLE[path].query):
        names = [field.name for field in fields]
        assert len(names) == len(set(names))


@every_operation
def test_a_body_is_open_where_the_documents_say_so(path: str) -> None:
    assert TABLE[path].open is any(row["name"] == "*" for row in DOCUMENTED[path]["body"])


@every_operation
def test_query_members_are_the_documented_ones(path: str) -> None:
    documented = {_field(row, CURSOR | COUNT | ANY_EXISTS) for row in DOCUMENTED[path]["query"]}
    assert set(TABLE[path].query) == documented


@every_operation
def test_the_reply_has_the_documented_shape(path: str) -> None:
    row = TABLE[path]
    expected = Reply.STRING if row.name in STRING_REPLY else Reply(DOCUMENTED[path]["response"]["shape"])
    assert row.reply is expected


@every_operation
def test_what_is_not_idempotent_is_sent_once(path: str) -> None:
    row = TABLE[path]
    idempotent = DOCUMENTED[path]["idempotent"] or row.name in SET_BY_CLAIM_ID
    assert (row.kind is not Kind.ONCE) == idempotent


@every_operation
def test_only_what_asks_is_a_read(path: str) -> None:
    asks = re.search(r"/(get|find|fetch|ping)|/provision/update$", path) is not None
    # These make certificates, which a second delivery makes again.
    asks = asks and not path.endswith("/getCerts")
    assert (TABLE[path].kind is Kind.READ) == asks


@every_operation
def test_register_alone_goes_without_the_token_prefix(path: str) -> None:
    assert TABLE[path].tok is (path != "builder:/device/register")


# Methods ----------------------------------------------------------------------------------------------------------


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda match: "_" + match[0].lower(), name)


def _methods(controller: type) -> Iterator[str]:
    return (name for name, _ in inspect.getmembers(controller, inspect.isfunction) if not name.startswith("_"))


@pytest.mark.parametrize("controller", sorted(CONTROLLERS))
def test_the_methods_of_a_namespace_are_the_operations_of_its_controller(controller: str) -> None:
    actions = {name.partition("/")[2] for name in IOTO if name.startswith(f"{controller}/")}
    assert set(_methods(CONTROLLERS[controller])) == {_snake(action) for action in actions}


def test_the_builder_namespace_has_its_one_operation() -> None:
    assert set(_methods(BuilderDeviceController)) == {name.partition("/")[2] for name in BUILDER}


def test_the_store_namespace_has_the_four_generic_calls() -> None:
    assert set(_methods(StoreController)) == {"get", "set", "remove", "find"}


@pytest.mark.parametrize("controller", [*CONTROLLERS.values(), BuilderDeviceController, StoreController])
def test_every_method_is_documented(controller: type) -> None:
    assert [name for name in _methods(controller) if not inspect.getdoc(getattr(controller, name))] == []


@every_operation
def test_a_method_has_an_argument_for_every_documented_member(path: str) -> None:
    row = TABLE[path]
    controller, _, action = row.name.partition("/")
    cls = BuilderDeviceController if path.startswith("builder") else CONTROLLERS[controller]
    arguments = inspect.signature(getattr(cls, _snake(action))).parameters.keys()
    names = {"_type": "model"}
    members = {names.get(field.name, _snake(field.name)) for field in (*row.body, *row.query)}
    assert members - arguments == set()


# Replies ----------------------------------------------------------------------------------------------------------

RECORDS: dict[str, type[Any]] = {
    "/action/find": Action,
    "/action/get": Action,
    "/action/invoke": ActionResult,
    "/device/claim": Device,
    "/device/find": Device,
    "/device/get": Device,
    "/device/getCreds": Credentials,
    "/device/provision": Certificates,
    "/device/release": Device,
    "/metric/fetch": Metric,
    "/metric/getMetricList": MetricList,
    "/provision/getCerts": Certificates,
    "/provision/update": UpdateOffer,
    "builder:/device/register": Registration,
}
IN_BAND = {"/action/invoke": {"error"}, "/device/provision": {"error", "delay"}}
"""Members that are raised, not returned."""

VALUES = {"string": "text", "number": 5, "boolean": True, "object": {}, "array": [], "date": "2024-01-23T02:03:57.062Z"}


@pytest.mark.parametrize("path", sorted(RECORDS))
def test_every_documented_member_of_a_reply_has_an_attribute_of_its_type(path: str) -> None:
    fields = DOCUMENTED[path]["response"]["fields"]
    members = {field["name"]: VALUES[field["type"]] for field in fields if field["name"] != "*"}
    reply = {name: value for name, value in members.items() if name not in IN_BAND.get(path, set())}
    assert reply
    decoded = record(RECORDS[path])(TABLE[path], json.dumps(reply).encode())
    assert decoded.extra == {}
