"""Any calls by anyone in any order: what always holds of the embedded cloud, whatever it is told."""

import http.client
import json
import logging
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ioto_async.emulator import EmulatorThread
from tests.documented import ROWS, Member, Row
from tests.rawserver import GUARD

pytestmark = pytest.mark.slow

HTTP = [row for row in ROWS.values() if row.http]
CALLERS = ("cloud", "owner", "admin", "user", "device", "other", "builder", "product", "elsewhere", "nobody", "bad")
LOGINS = ("owner", "admin", "user", "other")

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=4,
)
HOSTILE = st.sampled_from(
    [
        "true",
        "yes",
        "",
        " ",
        "\0",
        "..",
        "../../x",
        "/",
        "a\nb",
        "${x}",
        "%00",
        "' OR 1=1 --",
        "é" * 40,
        "x" * 3000,
        "__proto__",
    ]
)


class Seen:
    """A member of an earlier reply of the same controller, with the same name."""

    def __init__(self, index: int) -> None:
        self.index = index

    def __repr__(self) -> str:
        return f"Seen({self.index})"


SEEN = st.integers(0, 3).map(Seen)


PLAUSIBLE: dict[str, list[Any]] = {
    "_type": ["Store", "Device", "Command", "Log", "Nothing"],
    "accountId": ["ACCOUNT", "OTHER"],
    "cloudId": ["CLOUD"],
    "cloudToken": ["TOKEN"],
    "command": ["get", "put", "delete"],
    "data": ["aGVsbG8=", "not base64"],
    "deviceId": ["DEV0000001"],
    "exists": ["", "true", "false"],
    "email": ["ada@ioto.test", "eve@ioto.test", "nonsense"],
    "filename": ["a.txt", "b/c.txt"],
    "id": ["DEV0000001", "DEV0000002", "DEV0000003", "ACCOUNT"],
    "items": [[{"namespace": "Embedthis/Device", "metric": "temp", "statistic": "avg"}], [], [{}], ["x"]],
    "key": ["colour"],
    "limit": ["1", "2", "10"],
    "index": ["primary", "gs1"],
    "metric": ["temp"],
    "mimeType": ["text/plain", "x"],
    "name": ["MetricSample", "DeviceCommand", "Board"],
    "context": [{"deviceId": "DEV0000001", "metric": "temp", "value": 1}, {}],
    "namespace": ["Embedthis/Device"],
    "product": ["PRODUCT"],
    "productId": ["PRODUCT"],
    "role": ["user", "admin", "owner", "super"],
    "type": ["string", "metric", "page"],
    "update": ["UPDATE"],
    "version": ["1.0.0", "x"],
}
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=10),
    "number": st.integers(-5, 10**10) | st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "object": st.dictionaries(st.text(max_size=5), JUNK, max_size=3),
    "array": st.lists(JUNK, max_size=3),
    "any": JUNK,
}


ONE_IN_TEN = st.sampled_from([False] * 9 + [True])


def _good(member: Member) -> st.SearchStrategy[Any]:
    """Values that an operation may well take."""
    if member.name in ("next", "prev"):
        return SEEN
    plausible = st.sampled_from(PLAUSIBLE[member.name]) if member.name in PLAUSIBLE else BY_TYPE[member.type]
    return SEEN | plausible if member.type == "string" else plausible


def _any(member: Member) -> st.SearchStrategy[Any]:
    return _good(member) | BY_TYPE[member.type] | HOSTILE | JUNK


def _mostly(usual: st.SearchStrategy[Any], rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return ONE_IN_TEN.flatmap(lambda is_rare: rare if is_rare else usual)


def _members(members: tuple[Member, ...]) -> st.SearchStrategy[dict[str, Any]]:
    good = {member.name: _good(member) for member in members}
    required = {member.name: good.pop(member.name) for member in members if member.required}
    anything = st.fixed_dictionaries({}, optional={member.name: _any(member) for member in members})
    return _mostly(st.fixed_dictionaries(required, optional=good), anything)


ITEM = (Member("key", "string"), Member("value", "any"), Member("type", "string"), Member("filename", "string"))
"""What a body may have where it is open."""


def _fitting(row: Row) -> list[str]:
    """Callers that may well be let in."""
    if row.api == "builder":
        return ["product"] if row.name == "device/register" else ["builder"]
    if row.name in ("user/login", "account/close"):  # a closed account takes its callers with it
        return ["other"]
    capability = row.role in ("device", "upgrade", "view", "edit")
    return ["cloud", "owner", "device" if capability else "admin"]


def _call(row: Row) -> st.SearchStrategy[tuple[Row, str, dict[str, Any] | bytes, dict[str, Any]]]:
    caller = _mostly(st.sampled_from(_fitting(row)), st.sampled_from(CALLERS))
    body = _mostly(_members(row.body + ITEM * row.open), st.binary(max_size=50))
    return st.tuples(st.just(row), caller, body, _members(row.query))


CALLS = st.sampled_from(HTTP).flatmap(_call)


class Machine(RuleBasedStateMachine):
    """Calls, and what is known of them so far."""

    emulator: ClassVar[EmulatorThread]
    caplog: ClassVar[pytest.LogCaptureFixture]

    def __init__(self) -> None:
        super().__init__()
        self.connection = http.client.HTTPConnection(urlsplit(self.emulator.api).netloc, timeout=GUARD)
        self.seen: dict[tuple[str, str], list[str]] = {}

    @initialize()
    def settle(self) -> None:
        emulator = self.emulator
        emulator.reset()
        cloud = emulator.cloud
        for claim_id in ("DEV0000001", "DEV0000002"):
            cloud.register_device(claim_id)
        cloud.claim_device("DEV0000001")
        cloud.add_alert("Hot", "It is hot")
        other = cloud.add_account("Other", "other@ioto.test")
        self.words = {
            "ACCOUNT": emulator.account_id,
            "OTHER": other,
            "CLOUD": emulator.cloud_id,
            "PRODUCT": emulator.product_token,
            "TOKEN": emulator.token,
            "UPDATE": cloud.add_update("2.0.0", b"firmware"),
        }
        self.tokens: dict[str, str] = {
            "cloud": emulator.token,
            "owner": emulator.login_token,
            "admin": cloud.create_token("login", role="admin"),
            "user": cloud.create_token("login", role="user"),
            "device": cloud.create_token("device", device_id="DEV0000001"),
            "other": cloud.create_token("login", account_id=other),
            "builder": cloud.builder.token,
            "elsewhere": emulator.clouds[1].token,
            "product": emulator.product_token,
            "bad": "0" * 26,
        }

    def teardown(self) -> None:
        self.connection.close()

    def _filled(self, row: Row, name: str, value: Any) -> Any:
        """Put texts of this run in the place of their names."""
        if isinstance(value, Seen):
            seen = self.seen.get((row.name.partition("/")[0], name)) or PLAUSIBLE.get(name, [None])
            value = seen[value.index % len(seen)]
        return self.words.get(value, value) if isinstance(value, str) else value

    def _send(self, row: Row, caller: str, body: bytes, query: str, *, tok: bool) -> tuple[int, str, str]:
        base = self.emulator.api if row.api == "ioto" else self.emulator.builder
        path = f"{urlsplit(base).path.rstrip('/')}{'/tok' if tok else ''}/{row.name}{query}"
        headers = {"Content-Type": "application/json"}
        if caller in self.tokens:
            headers["Authorization"] = self.tokens[caller]
        if not tok:
            headers["Origin"] = f"https://{self.emulator.origin}"
        self.connection.request("POST", path, body, headers)
        reply = self.connection.getresponse()
        return reply.status, reply.headers.get_content_type(), reply.read().decode()

    def _check(self, row: Row, caller: str, status: int, type: str, text: str) -> None:
        if row.key == "builder:test/exception" and status == 500:
            self.caplog.clear()
        else:
            assert status in (200, 400, 403), (status, text)
        if status != 200:
            assert type == "text/plain"
            assert text
            assert text.isprintable()
        elif row.name == "test/ping":
            assert (type, text) == ("text/plain", "pinged\n")
        else:
            assert type == "application/json"
            self._remember(row, json.loads(text))
        for who, token in self.tokens.items():
            registered = row.name == "device/register" and who == "device"
            if who not in (caller, "product", "bad") and not registered:
                assert token not in text, f"{caller} was shown the token of {who}"
        if row.name not in ("device/provision", "provision/getCerts"):
            assert "PRIVATE KEY" not in text

    def _remember(self, row: Row, value: Any) -> None:
        for record in value if isinstance(value, list) else [value]:
            for name, member in record.items() if isinstance(record, dict) else ():
                if isinstance(member, str):
                    seen = self.seen.setdefault((row.name.partition("/")[0], name), [])
                    seen[:] = [member, *(text for text in seen if text != member)][:4]
                else:
                    self._remember(row, member)

    @rule(call=CALLS, crossed=ONE_IN_TEN)
    def call(self, call: tuple[Row, str, dict[str, Any] | bytes, dict[str, Any]], crossed: bool) -> None:
        """Call an operation; now and then with ``/tok`` where it does not belong, or the other way round."""
        row, caller, members, options = call
        bare = caller in LOGINS or row.key == "builder:device/register"
        if isinstance(members, bytes):
            body = members
        else:
            body = json.dumps({name: self._filled(row, name, value) for name, value in members.items()}).encode()
        filled = {name: self._filled(row, name, value) for name, value in options.items()}
        query = {name: value for name, value in filled.items() if value is not None}
        text = f"?{urlencode(query, errors='replace')}" if query else ""
        status, type, reply = self._send(row, caller, body, text, tok=bare is crossed)
        self._check(row, caller, status, type, reply)
        if crossed or caller in ("nobody", "bad"):
            assert status != 200 or row.role == "public"

    @invariant()
    def the_server_lives_and_has_logged_no_error(self) -> None:
        assert [record.getMessage() for record in self.caplog.records] == []
        assert self._send(ROWS["test/ping"], "nobody", b"", "", tok=True)[::2] == (200, "pinged\n")


def test_what_holds_of_any_calls_by_anyone_in_any_order(caplog: pytest.LogCaptureFixture) -> None:
    bounds = settings(max_examples=100, stateful_step_count=30, database=None, derandomize=True)
    with caplog.at_level(logging.ERROR), EmulatorThread(clouds=2) as emulator:
        Machine.emulator, Machine.caplog = emulator, caplog
        run_state_machine_as_test(Machine, settings=bounds)
