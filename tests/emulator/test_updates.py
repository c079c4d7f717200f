import hashlib
from typing import Any

import pytest

from ioto_async.emulator import Emulator
from ioto_async.emulator.state.policy import parse
from tests.rows import each_row

from .conftest import Post, Reply, exchange, request_bytes
from .tables import each_row_after_reset


class Check:
    """Asks for an update as the updater does."""

    def __init__(self, emu: Emulator, post: Post) -> None:
        self._emu = emu
        self._post = post

    async def reply(self, id: str = "DEV0000001", version: str = "1.0.0", **more: object) -> Reply:
        body = {"id": id, "product": self._emu.product_token, "version": version} | more
        return await self._post("/tok/provision/update", body)

    async def __call__(self, id: str = "DEV0000001", version: str = "1.0.0", **more: object) -> str | None:
        """Return the version on offer."""
        reply = await self.reply(id, version, **more)
        assert reply.status == 200, reply.text
        return reply.json.get("version") if "url" in reply.json else None


def claim(emu: Emulator) -> None:
    for number in range(1, 101):
        claim_id = emu.cloud.register_device(f"DEV{number:07}", model="Demo-01")
        emu.cloud.claim_device(claim_id)


@pytest.fixture
def check(emu: Emulator, post: Post) -> Check:
    claim(emu)
    return Check(emu, post)


async def test_an_offer_has_what_the_updater_needs(emu: Emulator, check: Check) -> None:
    update = emu.cloud.add_update("2.0.0", b"firmware")
    offer = (await check.reply()).json
    assert set(offer) == {"checksum", "url", "update", "version"}
    assert (offer["update"], offer["version"]) == (update, "2.0.0")
    assert offer["checksum"] == hashlib.sha256(b"firmware").hexdigest()


async def test_nothing_to_do_is_a_message_without_a_url(check: Check) -> None:
    reply = await check.reply()
    assert reply.status == 200
    assert set(reply.json) == {"message"}


async def test_the_image_is_downloaded_without_a_token(emu: Emulator, check: Check) -> None:
    image = bytes(range(256)) * 1000
    emu.cloud.add_update("2.0.0", image)
    url = (await check.reply()).json["url"]
    path = url.removeprefix(emu.api)
    assert len(path) > 40
    reply = await exchange(emu.api, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nContent-Length: 256000\r\n" in head
    assert body == image


async def test_a_head_request_tells_the_length_of_the_image(emu: Emulator, check: Check) -> None:
    emu.cloud.add_update("2.0.0", b"firmware")
    path = (await check.reply()).json["url"].removeprefix(emu.api)
    reply = await exchange(emu.api, f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nContent-Length: 8\r\n" in reply
    assert reply.endswith(b"\r\n\r\n")


@each_row_after_reset("path", ["/download/", "/download/x", "/download/../tok/device/get", "/download/%00%ff"])
async def test_no_image_is_found_by_guessing(emu: Emulator, post: Post, path: str) -> None:
    emu.cloud.add_update("2.0.0", b"firmware")
    assert (await post(path, method="GET", token="")).status in (400, 403)


SENT = "model == 'Demo-01' && pro === 'true'"
BACK = "version > newVersion && major == 2 && minor == 1 && patch == 3"


@each_row_after_reset(
    "published, asked, offered",
    [
        # By semantic order.
        ([("9.0.0", {}), ("10.0.0", {}), ("10.0.0-rc.1", {}), ("1.0.0", {})], {}, "10.0.0"),
        # Without a policy an update suits lower versions.
        ([("2.0.0", {})], {"version": "0.0.1"}, "2.0.0"),
        ([("2.0.0", {})], {"version": "2.0.0-rc.1"}, "2.0.0"),
        ([("2.0.0", {})], {"version": "2.0.0"}, None),
        ([("2.0.0", {})], {"version": "2.0.0+build"}, None),
        ([("2.0.0", {})], {"version": "999.999.999"}, None),
        ([("2.0.0", {"enabled": False})], {}, None),
        # The cloud knows the product from the device.
        ([("2.0.0", {})], {"product": "wrong"}, "2.0.0"),
        # A policy sees registered and sent properties, and replaces the rule of the lower version.
        ([("2.0.0", {"policy": SENT})], {}, None),
        ([("2.0.0", {"policy": SENT})], {"pro": "true"}, "2.0.0"),
        ([("2.0.0", {"policy": SENT})], {"pro": "true", "model": "Demo-02"}, None),
        ([("1.5.0", {"policy": BACK})], {"version": "2.1.3"}, "1.5.0"),
        ([("1.5.0", {"policy": BACK})], {"version": "1.0.0"}, None),
        # What runs is never offered.
        ([("2.0.0", {"policy": "true"})], {"version": "2.0.0"}, None),
        # An older one, where the newest does not suit.
        ([("3.0.0", {"policy": "beta"}), ("2.0.0", {})], {}, "2.0.0"),
        ([("3.0.0", {"policy": "beta"}), ("2.0.0", {})], {"beta": True}, "3.0.0"),
    ],
    before=claim,
)
async def test_the_newest_update_that_suits_is_offered(
    emu: Emulator, check: Check, published: list[tuple[str, Any]], asked: dict[str, Any], offered: str | None
) -> None:
    for version, options in published:
        emu.cloud.add_update(version, b"x", **options)
    assert await check(**asked) == offered


@each_row_after_reset(
    "id, version, text",
    [
        ("NOBODY", "1.0.0", "Cannot find device"),
        *(
            ("DEV0000001", version, "version must be a semantic version")
            for version in ("1", "1.0", "x", "1.0.0.0", "01.0.0", "v1.2.3", "1.0.0\n", "9" * 5000 + ".0.0", "\0")
        ),
    ],
    before=claim,
)
async def test_a_check_needs_a_known_device_and_a_semantic_version(
    check: Check, id: str, version: str, text: str
) -> None:
    reply = await check.reply(id, version)
    assert (reply.status, reply.text) == (400, text)


async def test_of_one_version_the_image_that_was_published_last_is_offered(emu: Emulator, check: Check) -> None:
    emu.cloud.clock = lambda: 1000.0
    emu.cloud.add_update("2.0.0", b"first")
    emu.cloud.clock = lambda: 1001.0
    emu.cloud.add_update("2.0.0", b"second")
    assert (await check.reply()).json["checksum"] == hashlib.sha256(b"second").hexdigest()


async def test_an_image_that_is_published_is_known_by_its_version_and_product(emu: Emulator) -> None:
    update = emu.cloud.add_update("2.0.0", b"firmware")
    with emu.cloud.lock:
        published = emu.cloud.updates.published
        assert published("2.0.0", b"firmware", emu.product_token) == update
        assert published("2.0.1", b"firmware", emu.product_token) is None
        assert published("2.0.0", b"other", emu.product_token) is None
        assert published("2.0.0", b"firmware", "another product") is None


async def test_an_update_of_another_product_is_not_offered(emu: Emulator, check: Check) -> None:
    emu.cloud.add_update("2.0.0", b"x", product=emu.cloud.create_token("product"))
    assert await check() is None


async def test_no_more_devices_than_the_limit_are_offered_an_update(emu: Emulator, check: Check) -> None:
    emu.cloud.add_update("2.0.0", b"x", limit=2)
    offers = [await check(f"DEV{number:07}") for number in (1, 2, 3, 1, 2)]
    assert offers == ["2.0.0", "2.0.0", None, "2.0.0", "2.0.0"]


async def test_a_percentage_picks_the_same_devices_each_time(emu: Emulator, check: Check) -> None:
    emu.cloud.add_update("2.0.0", b"x", percentage=50)
    first, second = [[await check(f"DEV{number:07}") for number in range(1, 101)] for _ in range(2)]
    assert first == second
    # 100 devices, each with a chance of a half: beyond these bounds once in a million times.
    assert 25 < first.count("2.0.0") < 75


async def test_a_percentage_of_zero_offers_nothing(emu: Emulator, check: Check) -> None:
    emu.cloud.add_update("2.0.0", b"x", percentage=0)
    assert {await check(f"DEV{number:07}") for number in range(1, 101)} == {None}


async def test_a_rate_spreads_an_update_over_periods(emu: Emulator, check: Check) -> None:
    emu.cloud.add_update("2.0.0", b"x", rate=1, period=60)
    emu.cloud.clock = lambda: 1000.0
    assert [await check("DEV0000001"), await check("DEV0000002"), await check("DEV0000001")] == ["2.0.0", None, "2.0.0"]
    emu.cloud.clock = lambda: 1060.0
    assert await check("DEV0000002") == "2.0.0"


async def test_the_version_reported_shows_in_the_record(emu: Emulator, check: Check) -> None:
    await check(version="1.2.3")
    record: dict[str, Any] = emu.cloud.device("DEV0000001") or {}
    assert (record["version"], record["checked"]) == ("1.2.3", "1.2.3")


@each_row_after_reset("success, kept", [(True, True), (False, False), ("true", True), ("false", False)], before=claim)
async def test_a_report_is_kept_and_may_come_as_text(
    emu: Emulator, post: Post, check: Check, success: object, kept: bool
) -> None:
    update = emu.cloud.add_update("2.0.0", b"x")
    await check()
    assert emu.cloud.update_reports(update) == {"DEV0000001": None}
    body = {"success": success, "id": "DEV0000001", "update": update}
    reply = await post("/tok/provision/updateReport", body)
    assert (reply.status, reply.text) == (200, "{}")
    assert emu.cloud.update_reports(update) == {"DEV0000001": kept}


@each_row_after_reset(
    "success, why",
    [*((success, "success") for success in ("yes", "", 1, "True")), (True, "Cannot find update")],
    before=claim,
)
async def test_a_report_of_another_kind_or_on_what_was_not_offered_is_refused(
    post: Post, check: Check, success: object, why: str
) -> None:
    body = {"success": success, "id": "DEV0000001", "update": "x"}
    reply = await post("/tok/provision/updateReport", body)
    assert reply.status == 400
    assert why in reply.text


async def test_the_updaters_bytes_are_served(emu: Emulator, check: Check) -> None:
    emu.cloud.add_update("2.1.3", b"x")
    body = b'{"id":"DEV0000001","product":"ABC","version":"2.1.2","pro":"true"}'
    request = request_bytes("/tok/provision/update", emu.token, body)
    reply = await exchange(emu.api, request.replace(b"Authorization: ", b"Authorization:"))
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nContent-Length: " in reply
    assert b'"url":"http' in reply


BAD_POLICIES = [
    *("", "(", ")", "a b", "a &&", "a & b", "a = 1", "'open", "f()", "a.b", "a[0]", "1 + 1", "a; b", "`a`"),
    *("__import__('os')", "(" * 500 + "a" + ")" * 499, "!" * 900 + "a", "a||" * 400 + "a"),
]


@each_row_after_reset(
    "version, policy, why",
    [
        *((version, "", "SemVer") for version in ("", "1", "v1.0.0", "latest")),
        *(("2.0.0", policy, "Bad policy") for policy in BAD_POLICIES if policy),
    ],
)
async def test_an_update_needs_a_semantic_version_and_a_policy_of_the_language(
    emu: Emulator, version: str, policy: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        emu.cloud.add_update(version, b"x", policy=policy)


NAMES = {"version": "9.2.0", "model": "A", "n": 2, "zero": 0, "text": "", "list": [], "on": True, "five": "5"}


@each_row(
    "policy, value",
    [
        ("true", True),
        ("!true", False),
        ("!!n", True),
        ("zero || text || null || undefined || missing", False),
        ("list", True),
        ("true || false && false", True),
        ("(true || false) && false", False),
        ("n == '2'", True),
        ("n === '2'", False),
        ("n === 2.0", True),
        ("n !== '2'", True),
        ("n != 2", False),
        ("missing == null", True),
        ("zero == null", False),
        ("zero == false", True),
        ("on == 1", True),
        ("on === 1", False),
        ('model == "A"', True),
        ("model < 'B'", True),
        ("model < 1", False),
        ("model >= 1", False),
        ("five > 10", False),
        ("five >= 5 && five <= 5", True),
        ("n > -1", True),
        ("missing < 1", False),
        ("version < '10.0.0'", True),
        ("version >= '9.2.0-rc.1'", True),
        ("1 < 2 == true", True),
        (" ( n ) ", True),
    ],
)
def test_a_policy_means_what_it_means_in_javascript(policy: str, value: bool) -> None:
    assert parse(policy)(NAMES) is value


@each_row("policy", BAD_POLICIES)
def test_a_policy_beyond_the_language_is_no_policy(policy: str) -> None:
    with pytest.raises(ValueError, match="Bad policy"):
        parse(policy)


def test_a_long_chain_is_evaluated() -> None:
    assert parse("a||" * 333 + "1")({}) is True
    assert parse("1<" * 499 + "1")({}) is False
