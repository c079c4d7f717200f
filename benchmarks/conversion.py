"""Reading replies: bytes to records, beside attrs classes by hand, pydantic and msgspec; one device and 1,000."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import attrs
import orjson

from ioto_async.codec.decoding import paged, record
from ioto_async.models import Device
from ioto_async.operations import IOTO

from .table import Figure, Piece, Row, Section, Spread, progress

__all__ = ["measure"]

_OURS: Final = "ioto_async"
_BY_HAND: Final = "attrs by hand + orjson"
_MUST: Final = 1.2
_AIM: Final = 1.0
_SECONDS: Final = 0.05
_COLUMNS: Final = ("who", "us", "ratio", "quartiles")
_LEGEND: Final = """\
CPU time for one reply, dates included, with the garbage collector on. ratio: to attrs by hand, in the same round."""

_DOCUMENTED: Final = {
    "accessed": "2025-11-20T17:45:01.987Z",
    "accountId": "01K2C7R9E5Y1J3M6P8S0V4X2ZA",
    "checked": "1.4.1",
    "created": "2025-10-01T08:15:30.123Z",
    "id": "01K9ZX5V7M3QH2B8D4T6W0R1NE",
    "product": "Thermostat",
    "productId": "01K1B6Q8D4W0H2K5N7R9T3V6YC",
    "test": False,
    "version": "1.4.2",
}
_MORE: Final = _DOCUMENTED | {"name": "Kitchen", "serial": "TH-2025-000417"}
"""With what a product adds of its own, which we keep and the others leave out."""

Read = Callable[[bytes], object]


@attrs.define(kw_only=True)
class _ByHand:
    accessed: datetime | None
    account_id: str | None
    checked: str | None
    created: datetime | None
    id: str
    product: str | None
    product_id: str | None
    test: bool | None
    version: str | None


def _date(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _by_hand(members: dict[str, Any]) -> _ByHand:
    get = members.get
    return _ByHand(
        accessed=_date(get("accessed")),
        account_id=get("accountId"),
        checked=get("checked"),
        created=_date(get("created")),
        id=members["id"],
        product=get("product"),
        product_id=get("productId"),
        test=get("test"),
        version=get("version"),
    )


_TYPES: Final[Mapping[str, Any]] = {
    "accessed": datetime,
    "accountId": str,
    "checked": str,
    "created": datetime,
    "product": str,
    "productId": str,
    "test": bool,
    "version": str,
}


def _with_pydantic() -> dict[str, tuple[Read, Read]]:
    try:
        import pydantic
    except ModuleNotFoundError:
        return {}
    optional: dict[str, Any] = {name: (type_ | None, None) for name, type_ in _TYPES.items()}
    device = pydantic.create_model("Device", id=(str, ...), **optional)
    page = pydantic.create_model("Page", data=(list[device], ...), next=(Any, None))  # type: ignore[valid-type]
    return {"pydantic": (device.model_validate_json, page.model_validate_json)}


def _with_msgspec() -> dict[str, tuple[Read, Read]]:
    try:
        import msgspec
    except ModuleNotFoundError:
        return {}
    optional = [(name, type_ | None, None) for name, type_ in _TYPES.items()]
    device = msgspec.defstruct("Device", [("id", str), *optional])
    page = msgspec.defstruct("Page", [("data", list[device]), ("next", Any, None)])  # type: ignore[valid-type]
    return {"msgspec": (msgspec.json.Decoder(device).decode, msgspec.json.Decoder(page).decode)}


def _readers() -> dict[str, tuple[Read, Read]]:
    """How each reads one device, and a page of them."""
    one, many = record(Device), paged(Device)

    def page_by_hand(data: bytes) -> object:
        reply = orjson.loads(data)
        return [_by_hand(members) for members in reply["data"]], reply.get("next")

    return {
        _OURS: (lambda data: one(IOTO["device/get"], data), lambda data: many(IOTO["device/find"], data)),
        _BY_HAND: (lambda data: _by_hand(orjson.loads(data)), page_by_hand),
        **_with_pydantic(),
        **_with_msgspec(),
    }


def measure(rounds: int) -> Iterator[Piece]:
    """Measure in this process, in turns."""
    readers = _readers()
    for number in (1, 1000):
        for what, members in (("documented members alone", _DOCUMENTED), ("and two of a product's own", _MORE)):
            title = f"Reading {number:,} device{'s' if number > 1 else ''}, {what}"
            progress(title)
            page = {"data": [members | {"id": f"D{place}"} for place in range(number)], "next": {"id": "D"}}
            data = orjson.dumps(members if number == 1 else page)
            took = _play({name: both[number > 1] for name, both in readers.items()}, data, rounds)
            yield Section(title=title, columns=_COLUMNS, legend=_LEGEND)
            for name, times in took.items():
                ratio = Spread.of([ours / theirs for ours, theirs in zip(times, took[_BY_HAND], strict=True)])
                cells = (
                    name,
                    f"{Spread.of(times).median * 1e6:,.2f}",
                    f"{ratio.median:.2f}",
                    f"{ratio.low:.2f} to {ratio.high:.2f}",
                )
                yield Row(cells=cells, raw={"who": name, "title": title, "seconds": times})
                if name == _OURS and members is _DOCUMENTED:
                    yield Figure(
                        what=title, found=ratio, must=_MUST, aim=_AIM, at_most=True, sides=f"{_OURS} / {_BY_HAND}"
                    )


def _play(readers: Mapping[str, Read], data: bytes, rounds: int) -> dict[str, list[float]]:
    """Seconds of CPU time for each reading of *data*, in each round."""
    took: dict[str, list[float]] = {name: [] for name in readers}
    times = max(1, int(_SECONDS / _timed(readers[_BY_HAND], data, 3)))
    for turn in range(rounds + 1):
        names = [*readers]
        random.Random(turn).shuffle(names)
        for name in names:
            seconds = _timed(readers[name], data, times)
            if turn:  # the first is to warm up
                took[name].append(seconds)
    return took


def _timed(read: Read, data: bytes, times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        read(data)
    return max(time.process_time() - began, 1e-6) / times
