"""The file of a cassette: what it looks like, and what is said of a damaged one."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ioto_async import CassetteError
from ioto_async.transport.cassette_file import Exchange, Head, append, begin, begin_or_go_on, block, go_on, read
from tests.rows import each_row

REQUEST = {"to": "cloud", "operation": "device/get", "credentials": "token", "body": {"id": "D1"}}
REPLY = {"status": 200, "body": {"id": "D1"}}
EXCHANGE = Exchange(REQUEST, REPLY)

TEXT = """\
{
  "cassette": "ioto-async",
  "version": 1,
  "ids": "masked",
  "salt": "5a17"
}
{
  "request": {
    "to": "cloud",
    "operation": "metric/fetch",
    "credentials": "token",
    "query": {"limit": "5"},
    "body": {
      "deviceId": "MASK0123456789AB",
      "items": [{"namespace": "Embedthis/Device", "metric": "temperature", "statistic": "avg"}]
    }
  },
  "reply": {"status": 429, "headers": {"Retry-After": "3"}, "text": "too many"}
}
{
  "request": {"to": "cloud", "operation": "test/ping", "credentials": "none"},
  "failure": "connection lost"
}
"""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def written(tmp_path: Path, *exchanges: Exchange) -> Path:
    path = tmp_path / "some.cassette"
    begin(path, Head("5a17"))
    for exchange in exchanges:
        append(path, exchange)
    return path


def test_it_can_be_read_in_a_review(tmp_path: Path) -> None:
    request = {
        "to": "cloud",
        "operation": "metric/fetch",
        "credentials": "token",
        "query": {"limit": "5"},
        "body": {
            "deviceId": "MASK0123456789AB",
            "items": [{"namespace": "Embedthis/Device", "metric": "temperature", "statistic": "avg"}],
        },
    }
    reply = {"status": 429, "headers": {"Retry-After": "3"}, "text": "too many"}
    lost = Exchange({"to": "cloud", "operation": "test/ping", "credentials": "none"}, None, "connection lost")
    path = written(tmp_path, Exchange(request, reply), lost)
    assert path.read_text("utf-8") == TEXT
    assert [exchange.line for exchange in read(path).exchanges] == [7, 20]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON)
def test_what_is_written_is_read(tmp_path: Path, body: Any) -> None:
    exchange = Exchange({**REQUEST, "body": body}, {"status": 200, "body": body})
    (found,) = read(written(tmp_path, exchange)).exchanges
    assert json.dumps(found.members()) == json.dumps(exchange.members())


def test_half_a_character_is_written_and_read(tmp_path: Path) -> None:
    (found,) = read(written(tmp_path, Exchange({**REQUEST, "body": "\ud800 \u2028"}, REPLY))).exchanges
    assert found.request["body"] == "\ud800 \u2028"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_an_error_with_a_line_number_and_never_a_crash(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "damaged.cassette"
    text = TEXT.encode()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    path.write_bytes(text[:start] + data.draw(st.binary(max_size=20)) + text[end:])
    error = ""
    try:
        read(path)
    except CassetteError as damaged:
        error = str(damaged)
    assert error == "" or error.startswith(f"{path}: line ")


def test_every_beginning_of_a_file_can_be_read_once_the_head_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "cut.cassette"
    head = len(block(Head("5a17").members()))
    for end in range(head, len(TEXT)):
        path.write_text(TEXT[:end])
        assert len(read(path).exchanges) == TEXT[head:end].count("\n}")


def test_an_exchange_without_its_end_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, EXCHANGE)
    whole = path.read_bytes()
    path.write_bytes(whole + block(EXCHANGE.members())[:-4])
    with caplog.at_level(logging.WARNING, "ioto_async"):
        assert len(read(path).exchanges) == 1
    assert caplog.messages == [f"{path}: line 11: the last exchange has no end, and is left out"]
    go_on(path)
    append(path, EXCHANGE)
    assert path.read_bytes() == whole + block(EXCHANGE.members())


def test_a_file_that_another_process_has_begun_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "some.cassette"
    assert begin_or_go_on(path, Head("5a17")) == Head("5a17")
    append(path, EXCHANGE)
    assert begin_or_go_on(path, Head("other")) == Head("5a17")
    assert len(read(path).exchanges) == 1


def test_other_line_ends_and_a_missing_one_do_not_matter(tmp_path: Path) -> None:
    path = written(tmp_path, EXCHANGE)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n")[:-2])
    assert len(read(path).exchanges) == 1
    go_on(path)
    append(path, EXCHANGE)
    assert len(read(path).exchanges) == 2


def changed(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


@each_row(
    "text, error",
    {
        "empty": ("", "line 1: no cassette"),
        "no head": (TEXT[TEXT.index("}\n") + 2 :], "line 1: no cassette"),
        "another version": (changed('"version": 1', '"version": 2'), "line 1: version: expected 1, got 2"),
        "other masks": (changed('"masked"', '"none"'), "line 1: ids: expected masked or kept, got 'none'"),
        "no salt": (changed('"5a17"', "5"), "line 1: salt: expected text, got 5"),
        "not JSON": (changed('"limit": "5"', '"limit": 5"'), "line 12: not JSON"),
        "no number": (changed('"limit": "5"', '"limit": NaN'), "line 7: not JSON that can be read: NaN is no JSON"),
        "a merge": (changed('{\n  "request"', '<<<<<<< ours\n{\n  "request"'), "line 7: expected a line {, got '<<<"),
        "no end": (
            changed('"too many"}\n}\n', '"too many"}\n'),
            "line 19: a new block, before the end of that of line 7",
        ),
        "no request": (changed('"request"', '"asked"'), "line 7: request: expected an object, got nothing"),
        "no operation": (changed('"operation"', '"op"'), "line 7: request.operation: expected text, got nothing"),
        "a query": (changed('{"limit": "5"}', '"limit"'), "line 7: request.query: unexpected str"),
        "no reply": (changed('"failure"', '"failed"'), "line 20: expected a reply or a failure"),
        "a failure": (
            changed('"connection lost"', '"lost"'),
            "line 20: failure: expected one of not connected, certif",
        ),
        "a reply": (
            changed('{"status": 429,', '[{"status": 429,').replace('many"}', 'many"}]'),
            "line 7: reply: expec",
        ),
        "a status": (changed("429", "42"), "line 7: reply.status: expected an HTTP status, got 42"),
        "headers": (
            changed('"Retry-After": "3"', '"Retry-After": 3'),
            "line 7: reply.headers: expected an object of t",
        ),
        "text": (changed('"too many"', "5"), "line 7: reply.text: unexpected int"),
    },
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "wrong.cassette"
    path.write_text(text)
    with pytest.raises(CassetteError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: {error}")


def test_bytes_that_are_no_text_are_told_with_their_line(tmp_path: Path) -> None:
    path = written(tmp_path, EXCHANGE)
    path.write_bytes(path.read_bytes() + b"\xff\n")
    with pytest.raises(CassetteError, match="line 11: not UTF-8"):
        read(path)
