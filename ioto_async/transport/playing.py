"""Which recorded exchange answers a request, and how a request differs from the recorded ones. Pure."""

import json
import re
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from ..errors import CassetteError
from .cassette_file import Exchange
from .masking import ANY_MASK, SECRET

__all__ = ["SIGN_IN", "Playlist", "differences"]

SIGN_IN: Final = "sign-in"
_SHOWN: Final = 3
"""Differences that an error lists."""
_LONGEST: Final = 60
_LOOKED_AT: Final = 50
"""Requests among which the nearest one is looked for."""
_MISSING: Final = object()
_ACCOUNT: Final = "accountId"
"""A client adds it where it has one, which it need not have when it plays."""
_PARTS: Final = ("url", "query", "body", "text", "bytes")


class Playlist:
    """The exchanges of a cassette, each of which answers one request; sign-ins answer as many as there are.

    Args:
        name: of the cassette, for errors.
        exchanges: in the order in which they were recorded.
        strict: whether that is the order of the requests.
        ignore: names of members of bodies and query strings that need not be the same.
        alias: the mask of an identifier.
    """

    def __init__(
        self,
        name: str,
        exchanges: Sequence[Exchange],
        *,
        strict: bool,
        ignore: Collection[str],
        alias: Callable[[str], str],
    ) -> None:
        self._name = name
        self._exchanges = exchanges
        self._strict = strict
        self._ignore = frozenset(ignore)
        self._alias = alias
        self._played: set[int] = set()
        self._next = 0
        self._of: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._like: defaultdict[str, deque[int]] = defaultdict(deque)
        for number, exchange in enumerate(exchanges):
            self._of[_name(exchange.request)].append(number)
            if not strict:
                self._like[self._likeness(exchange.request)].append(number)

    @property
    def left(self) -> list[Exchange]:
        """What has not been played; sign-ins, which may be as rare as they like, are not among it."""
        return [
            exchange
            for number, exchange in enumerate(self._exchanges)
            if number not in self._played and exchange.request["to"] != SIGN_IN
        ]

    def find(self, request: Mapping[str, Any]) -> Exchange | None:
        """The exchange that answers the masked *request*, which counts as played from now on; None where there is none.

        Raises:
            CassetteError: it is not the turn of that request.
        """
        if self._strict and request["to"] != SIGN_IN:
            return self._in_order(request)
        for number in self._candidates(request):
            if number not in self._played and self._fits(number, request):
                self._played.add(number)
                return self._exchanges[number]
        if request["to"] == SIGN_IN:
            fitting = (number for number in reversed(range(len(self._exchanges))) if self._fits(number, request))
            return next((self._exchanges[number] for number in fitting), None)
        return None

    def _candidates(self, request: Mapping[str, Any]) -> Iterator[int]:
        """What may answer a *request*: what is the same to the letter, and then all with its name."""
        like = self._like.get(self._likeness(request), deque())
        while like and like[0] in self._played:
            like.popleft()
        yield from like
        name = _name(request)
        if name in self._of:
            # Without what has been played, so that a long run does not look at it each time.
            self._of[name] = [number for number in self._of[name] if number not in self._played]
            yield from self._of[name]

    def _likeness(self, request: Mapping[str, Any]) -> str:
        """Text that is the same for requests that are the same to the letter, but for what need not be."""
        parts = {part: self._pruned(request.get(part)) for part in _PARTS if part != "bytes"}
        size = request.get("bytes", {}).get("size")
        return json.dumps([_name(request), parts, size], sort_keys=True)

    def _pruned(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            skipped = self._ignore | {_ACCOUNT}
            return {name: self._pruned(each) for name, each in value.items() if name not in skipped}
        return [self._pruned(each) for each in value] if isinstance(value, list) else value

    def _in_order(self, request: Mapping[str, Any]) -> Exchange | None:
        while self._next < len(self._exchanges) and self._exchanges[self._next].request["to"] == SIGN_IN:
            self._next += 1
        if self._next == len(self._exchanges):
            return None
        exchange = self._exchanges[self._next]
        if not self._fits(self._next, request):
            raise CassetteError(
                f"{self._name}: {_title(request)} is not the next request: line {exchange.line} has "
                f"{_title(exchange.request)}{self._compared(exchange, request)}"
            )
        self._played.add(self._next)
        self._next += 1
        return exchange

    def _fits(self, number: int, request: Mapping[str, Any]) -> bool:
        return next(differences(self._exchanges[number].request, request, self._alias, self._ignore), None) is None

    def refusal(self, request: Mapping[str, Any]) -> CassetteError:
        """The error for a *request* that was not recorded: it shows the nearest one."""
        name = _name(request)
        same = [number for number, exchange in enumerate(self._exchanges) if _name(exchange.request) == name]
        if not same:
            known = sorted({_title(exchange.request) for exchange in self._exchanges})
            others = f": there are {', '.join(known[:8])}{', …' if len(known) > 8 else ''}" if known else ""
            return CassetteError(f"{self._name}: no {_title(request)} was recorded{others}")
        fitting = [number for number in same if self._fits(number, request)]
        if fitting:
            times = f"{len(fitting)} time{'s' if len(fitting) > 1 else ''}"
            lines = ", ".join(str(self._exchanges[number].line) for number in fitting[:_SHOWN])
            return CassetteError(
                f"{self._name}: {_title(request)}: it was recorded {times} (line {lines}), and each has been played"
            )
        left = [number for number in same if number not in self._played] or same
        nearest = min(
            (self._exchanges[number] for number in left[:_LOOKED_AT]),
            key=lambda exchange: sum(1 for _ in differences(exchange.request, request, self._alias, self._ignore)),
        )
        return CassetteError(
            f"{self._name}: {_title(request)}: no recorded request fits; the nearest is that of line {nearest.line}"
            f"{self._compared(nearest, request)}"
        )

    def _compared(self, exchange: Exchange, request: Mapping[str, Any]) -> str:
        if _name(exchange.request) != _name(request):
            return ""
        found = [*differences(exchange.request, request, self._alias, self._ignore)]
        more = f"; {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return ": " + "; ".join(found[:_SHOWN]) + more


def _name(request: Mapping[str, Any]) -> tuple[str, str]:
    return request["to"], request["operation"]


def _title(request: Mapping[str, Any]) -> str:
    to, operation = _name(request)
    return operation if to == "cloud" else f"{operation} ({to})"


def differences(
    recorded: Mapping[str, Any],
    sent: Mapping[str, Any],
    alias: Callable[[str], str],
    ignore: Collection[str] = (),
) -> Iterator[str]:
    """What differs between two masked requests; a mask is the same as what it stands for, and *** as any text."""
    if _name(recorded) != _name(sent):
        yield f"operation: recorded {_title(recorded)}, sent {_title(sent)}"
    for part in _PARTS:
        default: object = {} if part == "query" else _MISSING
        yield from _compared(part, recorded.get(part, default), sent.get(part, default), alias, ignore)


def _compared(
    path: str, recorded: Any, sent: Any, alias: Callable[[str], str], ignore: Collection[str]
) -> Iterator[str]:
    if isinstance(recorded, Mapping) and isinstance(sent, Mapping):
        for name in [*recorded, *(name for name in sent if name not in recorded)]:
            ours, theirs = recorded.get(name, _MISSING), sent.get(name, _MISSING)
            is_unknown = (name == _ACCOUNT and _MISSING in (ours, theirs)) or (path == "bytes" and theirs is _MISSING)
            if name not in ignore and not is_unknown:
                yield from _compared(f"{path}.{name}", ours, theirs, alias, ignore)
    elif isinstance(recorded, list) and isinstance(sent, list):
        if len(recorded) != len(sent):
            yield f"{path}: recorded {len(recorded)} elements, sent {len(sent)}"
            return
        for index, (ours, theirs) in enumerate(zip(recorded, sent, strict=True)):
            yield from _compared(f"{path}[{index}]", ours, theirs, alias, ignore)
    elif not _same(recorded, sent, alias):
        yield f"{path}: recorded {_shown(recorded)}, sent {_shown(sent)}"


def _same(recorded: object, sent: object, alias: Callable[[str], str]) -> bool:
    if isinstance(recorded, str) and isinstance(sent, str):
        return recorded == sent or _means(recorded, sent, alias)
    return recorded == sent and isinstance(recorded, bool) == isinstance(sent, bool)


def _means(recorded: str, sent: str, alias: Callable[[str], str]) -> bool:
    """Whether *recorded*, with masks in it, is *sent*, of which less may be masked."""
    masks = ANY_MASK.findall(recorded)
    if not masks:
        return False
    between = [re.escape(part) for part in ANY_MASK.split(recorded)]
    pattern = between[0] + "".join(f"(.+?){part}" for part in between[1:])
    match = re.fullmatch(pattern, sent, re.DOTALL)
    return match is not None and all(
        mask in (SECRET, word, alias(word)) for mask, word in zip(masks, match.groups(), strict=True)
    )


def _shown(value: object) -> str:
    if value is _MISSING:
        return "nothing"
    text = ascii(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
