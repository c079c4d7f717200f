"""The table of operations against the documented one (``data/operations.json``), and the methods against both."""

import inspect
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from ioto_async.codec.decoding import record
from ioto_async.controllers import DashboardMembers
from ioto_async.controllers.base import Controller
from ioto_async.operations import BUILDER, IOTO, MQTT, Field, Kind, Operation, Reply
from ioto_async.transport.options import CallOptions
from tests.documented import EXAMPLES, INFERRED_ACCOUNT, ROWS, Member, example, of_type, snake
from tests.methods import COMPOSED, METHODS, method_of
from tests.rows import each_row

# Where the table says something else than the documents do, and why.
ACCOUNT = Field("accountId", "string", False, "owner")
"""Inferred: calls with a CloudAPI token name their account (reference, section 3)."""
TYPES = {
    # Documented as an object, which the note beside it calls a number or text.
    "store/set": {"value": "any"},
    # Documented as a string, which the note beside it calls base64: it may be empty.
    "file/put": {"data": "base64"},
}
CURSOR = {"next": "cursor", "prev": "cursor"}
"""Documented as objects in queries and as strings in replies: opaque."""
COUNT = {"limit": "count"}
"""Documented as a number: how many, and so a whole one above 0."""
ANY_EXISTS = {"exists": "any"}
"""Documented as a boolean that can be null, which the vendor's script spells as an empty value."""
REPLIES = {
    # Documented as objects that are a bare JSON string, and a plain text.
    "device/getSignedUrl": Reply.STRING,
    "file/getSignedUrl": Reply.STRING,
    "manager/getSignedUrl": Reply.STRING,
    "test/ping": Reply.STRING,
    # Documented as a list of which nothing more is said: read as all lists are.
    "file/list": Reply.PAGED,
    # Documented as a page of metrics; the agent, which is what there is, gets a bare number.
    "metric/get": Reply.OBJECT,
}
SET_BY_CLAIM_ID = {
    "device/claim",
    "device/release",
    "device/remove",
    "builder:device/claim",
    "builder:device/release",
    "builder:device/remove",
}
"""Documented as not idempotent; a second delivery is refused, or sets the same state again."""
READS = r"/(get[A-Z]\w*|get|find|fetch|list|lookup|ping|checkin|echo|empty|exception|success)$|^provision/update$"
WRITING_GETS = {"provision/getCerts", "manager/getSignedUrl"}
"""One makes certificates, which a second delivery makes again; the other deletes old files if told to."""


TABLE = {**IOTO, **MQTT, **{f"builder:{name}": row for name, row in BUILDER.items()}}
LEGACY = {name for name, row in ROWS.items() if row.legacy}

every_operation = each_row("name", sorted(ROWS))


def _field(member: Member, types: dict[str, Any]) -> Field:
    return Field(member.name, types.get(member.name, member.type), member.required, member.role)


def test_the_documents_are_complete() -> None:
    counts = Counter((row.api, "http" if row.http else "mqtt", row.legacy) for row in ROWS.values())
    assert counts == {
        ("ioto", "http", False): 53,
        ("ioto", "http", True): 4,
        ("ioto", "mqtt", False): 4,
        ("builder", "http", False): 12,
        ("builder", "http", True): 1,
    }


def test_every_documented_operation_has_a_row_and_no_row_is_undocumented() -> None:
    assert TABLE.keys() == ROWS.keys()


def test_every_operation_over_http_has_a_row_in_the_tests_table_of_methods() -> None:
    assert METHODS.keys() - COMPOSED.keys() == TABLE.keys() - MQTT.keys()


def test_no_two_tables_have_a_row_of_the_same_name() -> None:
    assert (len(IOTO), len(MQTT), len(BUILDER)) == (57, 4, 13)
    assert len(TABLE) == 57 + 4 + 13


def test_the_tables_are_by_protocol() -> None:
    assert {name for name, row in ROWS.items() if not row.http} == MQTT.keys()


@each_row("table", [IOTO, BUILDER, MQTT])
def test_a_row_is_found_under_its_own_name(table: dict[str, Operation]) -> None:
    assert {name: row.name for name, row in table.items()} == {name: name for name in table}


@every_operation
def test_the_role_is_the_documented_one(name: str) -> None:
    assert TABLE[name].role == ROWS[name].role


@every_operation
def test_body_members_are_the_documented_ones(name: str) -> None:
    types = TYPES.get(name, {})
    documented = {_field(member, types) for member in ROWS[name].body}
    assert set(TABLE[name].body) == documented | ({ACCOUNT} if name in INFERRED_ACCOUNT else set())


@every_operation
def test_no_member_is_listed_twice(name: str) -> None:
    for fields in (TABLE[name].body, TABLE[name].query):
        names = [field.name for field in fields]
        assert len(names) == len(set(names))


@every_operation
def test_a_body_is_open_where_the_documents_say_so(name: str) -> None:
    assert TABLE[name].open is ROWS[name].open


@every_operation
def test_query_members_are_the_documented_ones(name: str) -> None:
    documented = {_field(member, CURSOR | COUNT | ANY_EXISTS) for member in ROWS[name].query}
    assert set(TABLE[name].query) == documented


@every_operation
def test_the_reply_has_the_documented_shape(name: str) -> None:
    documented = REPLIES.get(name) or Reply(ROWS[name].shape)
    assert TABLE[name].reply is documented


@every_operation
def test_what_is_not_idempotent_is_sent_once(name: str) -> None:
    idempotent = ROWS[name].idempotent or name in SET_BY_CLAIM_ID
    assert (TABLE[name].kind is not Kind.ONCE) == idempotent


@every_operation
def test_only_what_asks_is_a_read(name: str) -> None:
    asks = re.search(READS, name) is not None and name not in WRITING_GETS
    assert (TABLE[name].kind is Kind.READ) == asks


@every_operation
def test_register_alone_goes_without_the_token_prefix(name: str) -> None:
    assert TABLE[name].tok is (name != "builder:device/register")


@every_operation
def test_what_is_legacy_or_of_devices_alone_says_what_to_call_instead(name: str) -> None:
    assert bool(TABLE[name].instead) == (name in LEGACY or name in MQTT)


# Methods ----------------------------------------------------------------------------------------------------------


@cache
def _method(name: str) -> Any:
    return method_of(name)


def _arguments(fields: Iterable[Field]) -> set[str]:
    """The arguments of a method that take *fields*."""
    return {"model" if field.name == "_type" else snake(field.name) for field in fields}


PASTED = {"dashboard/create", "dashboard/update"}
"""Their documented query options are those of a find, which mean nothing to a write: the methods leave them out."""


@every_operation
def test_every_operation_has_a_method(name: str) -> None:
    assert inspect.ismethod(_method(name))


@every_operation
def test_every_method_is_documented_with_its_arguments(name: str) -> None:
    text = inspect.getdoc(_method(name)) or ""
    arguments = inspect.signature(_method(name)).parameters.keys() - {"options"}
    assert text.splitlines()[0].endswith(".")
    assert [argument for argument in arguments if f"    {argument}: " not in text] == []


def test_the_options_of_every_call_are_documented_once() -> None:
    once = f"{inspect.getdoc(Controller)}"
    described = f"{inspect.getdoc(CallOptions)}"
    assert [name for name in CallOptions.__annotations__ if f"``{name}``" not in once] == []
    assert [name for name in CallOptions.__annotations__ if f"    {name}: " not in described] == []


@each_row("name", sorted(LEGACY))
def test_a_legacy_method_says_so(name: str) -> None:
    assert "Deprecated: " in (inspect.getdoc(_method(name)) or "")


@every_operation
def test_a_method_has_an_argument_for_every_documented_member(name: str) -> None:
    row = TABLE[name]
    arguments = {*inspect.signature(_method(name)).parameters}
    if name in PASTED:
        arguments |= DashboardMembers.__annotations__.keys()
    fields = row.body if name in PASTED else (*row.body, *row.query)
    assert _arguments(fields) - arguments == set()


@every_operation
def test_a_required_member_is_a_required_argument(name: str) -> None:
    parameters = inspect.signature(_method(name)).parameters
    required = _arguments(field for field in TABLE[name].body if field.required)
    assert {member for member in required if parameters[member].default is not inspect.Parameter.empty} == set()


# Replies ----------------------------------------------------------------------------------------------------------

RECORDS = {
    key: method.record
    for key, row in ROWS.items()
    if (method := METHODS.get(key) or METHODS.get(row.method)) and method.record
}
"""What replies are decoded to; what devices alone call is answered as the method of the same name is."""
WITHOUT_RECORD = {"metric/get"}
"""A page of metrics in the documents; a bare number in practice."""
IN_BAND = {"action/invoke": {"error"}, "device/provision": {"error", "delay"}}
"""Members that are raised, not returned."""
HIDDEN = {"_source"}
"""Documented as hidden: a reply does not have it."""


def _documented_reply(name: str) -> dict[str, object]:
    left_out = HIDDEN | IN_BAND.get(name, set())
    return {member.name: example(member.type) for member in ROWS[name].reply if member.name not in left_out}


def test_every_reply_with_documented_members_has_a_record() -> None:
    assert {name for name in ROWS if _documented_reply(name)} - WITHOUT_RECORD == RECORDS.keys()


def _unknown(record: Any, members: Iterable[Member]) -> Iterator[str]:
    """The members that a record, or one inside it, has no attribute for."""
    yield from record.extra
    for member in members:
        if member.type not in EXAMPLES:
            value = getattr(record, snake(member.name))
            yield from _unknown(value[0] if member.type.endswith("[]") else value, of_type(member.type))


@each_row("name", sorted(RECORDS))
def test_every_documented_member_of_a_reply_has_an_attribute_of_its_type(name: str) -> None:
    decoded = record(RECORDS[name])(TABLE[name], json.dumps(_documented_reply(name)).encode())
    assert [*_unknown(decoded, ROWS[name].reply)] == []
