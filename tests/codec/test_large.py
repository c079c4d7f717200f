"""Large replies: they are read piece by piece, to the same result, and what is no page of records is refused."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ioto_async import DecodeError, InBandError, IotoError, NotFoundError
from ioto_async.codec import pieces as pieces_module
from ioto_async.codec.decoding import anything, paged
from ioto_async.codec.pieces import pieces
from ioto_async.codec.reading import LARGE, Reading, done, in_steps
from ioto_async.models import Device, Metric, Page
from ioto_async.operations import IOTO
from tests.records import exact, json_values
from tests.rows import each_row

OPERATION = IOTO["device/find"]


@pytest.fixture
def tiny_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pieces of a few bytes, so that small replies have many."""
    with monkeypatch.context() as patch:
        patch.setattr(pieces_module, "_PIECE", 4)
        yield


def _in_pieces(data: bytes) -> tuple[list[list[Any]], Any]:
    """The parts that *data* has been parsed in, and the value that they are parts of."""
    source = pieces(data)
    parts: list[list[Any]] = []
    while True:
        try:
            parts.append(next(source))
        except StopIteration as end:
            rest = end.value
            break
    array = rest["data"] if type(rest) is dict and any(parts) else rest
    if any(parts):
        array[:0] = [element for part in parts for element in part]
    return parts, rest


WRITTEN: dict[str, Callable[[Any], bytes]] = {
    "compact": lambda value: json.dumps(value, separators=(",", ":")).encode(),
    "spaced": lambda value: json.dumps(value).encode(),
    "indented": lambda value: json.dumps(value, indent=2, ensure_ascii=False).encode(),
}
DEVICES = [{"id": f"D{number}", "product": "},{[", "more": [{"id": 1}, {"id": 2}, "]"]} for number in range(20)]
ARRAYS: list[list[Any]] = [
    DEVICES,
    [None] * 50,
    [*range(50)],
    [[1, 2], [], [[3], {}]] * 10,
    [{}] * 20,
    [{"a": 1}, {"b": 2}, None, "x,y", -1.5] * 8,
    ['"', '\\"', '","', "\\"] * 10,
    [{"first": 1, "points": [{"first": 1}, {"first": 2}]}] * 10,
]


@each_row("array", ARRAYS)
@each_row("write", WRITTEN)
def test_the_pieces_are_the_whole(tiny_pieces: None, array: list[Any], write: Callable[[Any], bytes]) -> None:
    for value in (array, {"data": array}, {"paged": True, "next": {"data": "]"}, "data": array, "prev": "],["}):
        parts, whole = _in_pieces(write(value))
        assert exact(whole) == exact(value)
        assert len(parts) > 1


@settings(max_examples=150)
@given(value=st.lists(json_values, max_size=12) | st.fixed_dictionaries({"data": json_values, "next": json_values}))
@each_row("write", WRITTEN)
def test_the_pieces_of_any_value_are_the_whole(write: Callable[[Any], bytes], value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "_PIECE", 4)
        assert exact(_in_pieces(write(value))[1]) == exact(value)


def _value(parse: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return exact(parse(data))
    except orjson.JSONDecodeError:
        return "not JSON"


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from([b"[", b"]", b"{", b"}", b",", b" ", b'"data":', b'"x"', b'{"x":1},', b"null,", b"[1],", b"5"]),
        max_size=30,
    ).map(b"".join)
)
@example(b"[1,2,3,4,5,6,7,8,]")
@example(b'[{"a":1},{"a":1},{"a":1},{"a":1}')
@example(b'{"data":[1,2,3,4,5,6,7,8,9],"data":[1]}')
@example(b'{"data":[1],"data":[1,2,3,4,5,6,7,8,9]}')
@example(b'{"data":[1,2,3,4,5,6,7,8,9],"d\\u0061ta":[]}')
@example(b'{"x":{"data":[1,2,3,4,5,6,7,8,9]}}')
@example(b"[               ,1,1,1,1,1,1,1,1,1,1]")
def test_no_text_is_read_otherwise_in_pieces(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "_PIECE", 4)
        found = _value(lambda data: _in_pieces(data)[1], data)
    expected = _value(orjson.loads, data)
    # Of several members of that name it is told that they cannot be read in pieces.
    assert found == expected or (found == "not JSON" and data.count(b"ta") > 1)


# Pages ------------------------------------------------------------------------------------------------------------


def _outcome(decode: Callable[..., Any], data: bytes, reading: Reading, *, by_steps: bool = False) -> Any:
    try:
        found = done(in_steps(decode, OPERATION, data, reading, {})) if by_steps else decode(OPERATION, data, reading)
    except (DecodeError, InBandError, NotFoundError) as error:
        return type(error), str(error)
    return exact(found), repr(found), reading.noticed


DECODERS: dict[str, Callable[..., Any]] = {
    "devices": paged(Device),
    "metrics": paged(Metric, nested=True, instead=lambda reason: Metric(error=reason)),
    "nested": paged(Metric, nested=True),
    "raw": paged(Any, nested=True),
    "anything": anything,
}
PAGES: list[Any] = [
    {"data": DEVICES, "next": "c", "apiToken": "x"},
    DEVICES,
    {"data": [*DEVICES, None, {"id": 7, "created": "n/a"}, {"x": 1}, 5, *DEVICES], "prev": {"a": 1}},
    {"data": [[{"metric": "a"}, None], {"metric": "b"}, [], [[1]], {"points": [{"value": "x"}]}] * 9},
    {"data": DEVICES, "next": 5},
    {"data": None, "next": "n" * 40},
    {"data": {"id": "D" * 40}},
    {"error": {"message": "no" * 30}},
    "x" * 50,
    [["-----BEGIN PRIVATE KEY-----", {"token": "x"}]] * 9,
]


@each_row("decode", DECODERS)
@each_row("value", PAGES)
@each_row("strict", [False, True])
def test_a_page_is_the_same_in_pieces(decode: Callable[..., Any], value: Any, strict: bool) -> None:
    data = json.dumps(value).encode()
    expected = _outcome(decode, data, Reading(strict))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "_PIECE", 4)
        assert _outcome(decode, data, Reading(strict), by_steps=True) == expected
        assert _outcome(decode, data[:-1], Reading(strict), by_steps=True)[0] is DecodeError


def _page(element: bytes, count: int) -> bytes:
    return b'{"data":[%b],"next":"c"}' % b",".join([element] * count)


def _steps(data: bytes, cls: type[Any] = Device) -> tuple[int, Page[Any]]:
    """How many pauses reading a page has, and the page."""
    steps = in_steps(paged(cls), OPERATION, data, Reading(), {})
    pauses = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return pauses, end.value
        pauses += 1


def test_a_large_page_has_a_pause_after_some_elements() -> None:
    data = _page(b'{"id":"%b"}' % (b"D" * 90), 20_000)
    assert len(data) > LARGE
    pauses, page = _steps(data)
    assert (len(page.items), page.next) == (20_000, "c")
    assert pauses > 20_000 / 100


def test_what_cannot_be_read_of_a_large_page_is_kept_and_told_once() -> None:
    reading = Reading()
    data = _page(b"null,5", 40_000) + b" " * LARGE
    page = done(in_steps(paged(Device), OPERATION, data, reading, {}))
    assert (page.items, page.rejected) == ([], [None, 5] * 40_000)
    assert reading.noticed == {("device/find", "$.data[]")}


REFUSED: dict[str, tuple[bytes, str]] = {
    "nulls": (_page(b"null", 1_400_000), "got more than 100000 elements that are none"),
    "keyless": (_page(b'{"x":"%b"}' % (b"x" * 20), 110_000), "got more than 100000 elements that are none"),
    "empty arrays": (_page(b"[]", 1_400_000), "more than 1000000 objects and arrays"),
    "one element": (_page(b"[%b0]" % (b"{}," * 1_400_000), 1), "more than 1000000 objects and arrays"),
}


@each_row("data, text", REFUSED)
def test_what_is_no_page_of_records_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(DecodeError, match=text) as wrong:
        _steps(data)
    assert wrong.value.operation == "device/find"


def test_the_failure_of_a_step_is_an_error_of_ours() -> None:
    with pytest.raises(IotoError):
        _steps(b'{"data":"%b"}' % (b"x" * LARGE))
