"""Plays the requests of a cassette to an embedded cloud, and compares its replies with the recorded ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs
import orjson

from ...operations import BUILDER, IOTO
from ..request import Refused
from ..state.cloud import Cloud
from .comparing import Difference, differences
from .names import Names
from .reading import Exchange, read
from .seeding import Seeded, seed

__all__ = ["Played", "Report", "lines", "replay"]

_NOT_OF_THE_CLOUD: Final = (401, 408, 429)
"""Statuses that are about credentials, which no cassette has, and about how much is asked; as 403 and 5xx are."""
_PAGING: Final = ("limit", "next", "prev")


@attrs.frozen
class Played:
    """What became of one exchange."""

    exchange: Exchange
    found: list[Difference]
    """Where the reply here differs."""
    skipped: str | None = None
    """Why it was not compared; None if it was."""


@attrs.frozen
class Report:
    """What became of a cassette."""

    seeded: Seeded
    played: list[Played]

    @property
    def is_same(self) -> bool:
        """Whether no reply differs."""
        return not any(each.found for each in self.played)

    def figures(self) -> dict[str, int]:
        """How many exchanges there are, and what became of them."""
        different = sum(1 for each in self.played if each.found)
        skipped = sum(1 for each in self.played if each.skipped is not None)
        return {
            "exchanges": len(self.played),
            "same": len(self.played) - different - skipped,
            "different": different,
            "not_compared": skipped,
            "differences": sum(len(each.found) for each in self.played),
        }


async def replay(cloud: Cloud, path: Path) -> Report:
    """Seed an empty *cloud*, which is served, from the cassette at *path*, and play all of that to it.

    Raises:
        ValueError: it is no cassette; the text names the line.
        OSError: it cannot be read.
    """
    exchanges = read(path)
    names = Names()
    seeded = seed(cloud, exchanges, names)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        player = _Player(cloud, names, session, _has_unknown_files(exchanges))
        return Report(seeded, [await player.play(exchange) for exchange in exchanges])


def _has_unknown_files(exchanges: Sequence[Exchange]) -> bool:
    """Whether there are files whose bytes are not in the cassette: all but those of ``file/put``."""
    operations = [exchange.operation for exchange in exchanges if exchange.to == "cloud"]
    return "file/put" not in operations or any(exchange.to == "files" for exchange in exchanges)


def _reason_to_skip(exchange: Exchange, *, has_unknown_files: bool) -> str | None:
    if exchange.to not in ("cloud", "builder"):
        return "a file" if exchange.to == "files" else "a sign-in"
    if not exchange.status:
        return "no reply was recorded"
    if exchange.status == 403 or exchange.status in _NOT_OF_THE_CLOUD or exchange.status >= 500:
        return f"the recorded status is {exchange.status}"
    if exchange.operation not in (IOTO if exchange.to == "cloud" else BUILDER):
        return "the operation is not documented"
    if has_unknown_files and exchange.to == "cloud" and exchange.operation in ("file/get", "file/list"):
        return "the files themselves are not recorded"
    return None


class _Player:
    def __init__(self, cloud: Cloud, names: Names, session: aiohttp.ClientSession, has_unknown_files: bool) -> None:
        self._has_unknown_files = has_unknown_files
        self._cloud = cloud
        self._names = names
        self._session = session

    async def play(self, exchange: Exchange) -> Played:
        reason = _reason_to_skip(exchange, has_unknown_files=self._has_unknown_files)
        if reason is not None:
            return Played(exchange, [], reason)
        status, reply = await self._send(exchange)
        if status != exchange.status:
            return Played(
                exchange, [Difference("status", _told(exchange.status, exchange.reply), _told(status, reply))]
            )
        is_page = any(name in exchange.query for name in _PAGING) or _has_cursor(exchange.reply)
        return Played(exchange, differences(exchange.reply, reply, self._names, is_page=is_page))

    async def _send(self, exchange: Exchange) -> tuple[int, Any]:
        body = self._names.here(exchange.body) if exchange.body is not None else {}
        query = self._names.here(dict(exchange.query))
        path, headers = self._credentials(exchange, body)
        data = aiohttp.BytesPayload(orjson.dumps(body), content_type="application/json")
        url = f"{self._cloud.api}{path}/{exchange.operation}"
        async with self._session.post(url, data=data, params=query, headers=headers) as response:
            content = await response.read()
        if not content:
            return response.status, None
        try:
            return response.status, orjson.loads(content)
        except orjson.JSONDecodeError:
            return response.status, content.decode("utf-8", "replace")

    def _credentials(self, exchange: Exchange, body: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        """The beginning of the path, and the headers."""
        cloud = self._cloud
        base = "/api" if exchange.to == "builder" else ""
        if exchange.to == "builder" and exchange.operation == "device/register":
            return base, {"Authorization": f"bearer {body.get('product')}"}
        if exchange.credentials == "none":
            return base, {}
        if exchange.credentials == "login":
            try:
                token = cloud.create_token("login")
            except Refused:
                token = cloud.login_token
            return base, {"Authorization": token, "Origin": cloud.origin}
        return f"{base}/tok", {"Authorization": cloud.builder.token if base else cloud.token}


def _has_cursor(reply: object) -> bool:
    return isinstance(reply, Mapping) and bool(reply.get("next") or reply.get("prev"))


def _told(status: int, reply: object) -> str:
    return f"{status} {reply}" if isinstance(reply, str) else str(status)


def lines(report: Report) -> Sequence[str]:
    """The differences as text, one a line."""
    return [
        f"line {each.exchange.line}: {each.exchange.operation}: {difference}"
        for each in report.played
        for difference in each.found
    ]
