from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509

from ioto_async.emulator import Emulator
from ioto_async.emulator.wire import ALPHABET
from tests.rows import each_row

from .conftest import Post, Reply
from .tables import each_row_after_reset

UNKNOWN = (400, "Cannot find device")
RECORD = {"accessed", "accountId", "created", "id", "product", "productId", "test", "version", "checked"}


@pytest.fixture
def mqtt() -> bool:
    return True


@pytest.fixture
def other(emu: Emulator) -> str:
    return emu.cloud.add_account("Other", "other@ioto.test")


async def pages(post: Post, query: str, limit: int, cursor: str | None = None) -> list[list[str]]:
    """Follow the cursors named *query* to the end and return the claim IDs of each page."""
    found = []
    while True:
        step = f"&{query}={quote(cursor)}" if cursor else ""
        reply = await post(f"/tok/device/find?limit={limit}{step}", {})
        assert reply.status == 200
        found.append([record["id"] for record in reply.json["data"]])
        cursor = reply.json.get(query)
        if cursor is None:
            return found


# Registration


async def test_an_unclaimed_device_is_answered_with_one_member(post: Post) -> None:
    reply = await post.register(id="DEV0000001")
    assert reply.text == '{"registered":true}'


async def test_a_claimed_device_learns_its_cloud_and_token(emu: Emulator, post: Post) -> None:
    emu.cloud.register_device("DEV0000001")
    emu.cloud.claim_device("DEV0000001")
    reply = (await post.register(id="DEV0000001")).json
    assert set(reply) == {"registered", "api", "token", "cloudType", "cloudName", "cloudRegion"}
    assert reply["registered"] is True
    assert reply["api"] == emu.api


async def test_the_device_token_is_the_same_as_long_as_the_claim_lasts(emu: Emulator, post: Post) -> None:
    first = await post.device_token()
    assert (await post.register(id="DEV0000001")).json["token"] == first
    emu.cloud.release_device("DEV0000001")
    emu.cloud.claim_device("DEV0000001")
    assert (await post.register(id="DEV0000001")).json["token"] != first


async def test_a_device_whose_token_was_revoked_gets_another(emu: Emulator, post: Post) -> None:
    first = await post.device_token()
    emu.cloud.revoke_token(first)
    second = (await post.register(id="DEV0000001")).json["token"]
    assert (await post("/tok/device/provision", {"id": "DEV0000001"}, token=second)).status == 200


async def test_account_and_cloud_in_the_registration_claim_the_device(emu: Emulator, post: Post, other: str) -> None:
    body = {"id": "DEV0000001", "account": other, "cloud": emu.cloud_id}
    assert "token" in (await post.register(**body)).json
    assert emu.cloud.device("DEV0000001", other) is not None
    assert "token" in (await post.register(**body)).json


@each_row_after_reset("wrong", ["account", "cloud"])
async def test_a_claim_by_registration_needs_a_known_account_and_cloud(emu: Emulator, post: Post, wrong: str) -> None:
    body = {"account": emu.account_id, "cloud": emu.cloud_id} | {wrong: "nobody"}
    reply = await post.register(id="DEV0000001", **body)
    assert (reply.status, reply.text) == (400, f"Cannot find {wrong}")


@each_row_after_reset("id", ["A B", "A/B", "A\n", "Ä", "\0", "A" * 65, "${x}"])
async def test_a_claim_id_that_cannot_name_a_thing_is_refused(post: Post, id: str) -> None:
    reply = await post.register(id=id)
    assert (reply.status, reply.text) == (400, "Bad claim ID")


async def test_a_claim_id_stays_with_its_product(emu: Emulator, post: Post) -> None:
    await post.register(id="DEV0000001")
    other = emu.cloud.create_token("product", name="Other")
    reply = await post.register(id="DEV0000001", product=other)
    assert reply.status == 403
    reply = await post("/api/device/register", {"id": "DEV0000001", "product": other}, token=other)
    assert (reply.status, reply.text) == (400, "Claim ID is in use by another product")


async def test_a_device_without_a_claim_id_gets_one_of_ten_characters(emu: Emulator) -> None:
    claim_ids = {emu.cloud.register_device() for _ in range(100)}
    assert len(claim_ids) == 100
    assert all(len(claim_id) == 10 and set(claim_id) <= set(ALPHABET) for claim_id in claim_ids)


# Claims


async def test_a_claim_answers_with_the_record_of_the_device(emu: Emulator, post: Post) -> None:
    emu.cloud.clock = lambda: 1706061837.062
    emu.cloud.register_device("DEV0000001", test=True, version="1.0.0")
    reply = await post("/tok/device/claim", {"id": "DEV0000001"})
    assert reply.json == {
        "accessed": "2024-01-24T02:03:57.062Z",
        "accountId": emu.account_id,
        "created": "2024-01-24T02:03:57.062Z",
        "id": "DEV0000001",
        "product": "Demo",
        "productId": emu.product_token,
        "test": True,
        "version": "1.0.0",
    }


async def test_a_record_has_no_member_beyond_the_documented_and_no_null(emu: Emulator, post: Post) -> None:
    token = await post.device_token()
    await post("/tok/provision/update", {"id": "DEV0000001", "product": "x", "version": "1.0.0"}, token=token)
    record = (await post("/tok/device/get", {"id": "DEV0000001"})).json
    assert set(record) <= RECORD
    assert None not in record.values()


async def test_a_device_that_is_not_registered_cannot_be_claimed(post: Post) -> None:
    reply = await post("/tok/device/claim", {"id": "DEV0000001"})
    assert (reply.status, reply.text) == UNKNOWN


async def test_a_device_is_claimed_once_by_whomever(emu: Emulator, post: Post, other: str) -> None:
    emu.cloud.register_device("DEV0000001")
    assert (await post("/tok/device/claim", {"id": "DEV0000001", "accountId": other})).json["accountId"] == other
    for account_id in (other, emu.account_id):
        reply = await post("/tok/device/claim", {"id": "DEV0000001", "accountId": account_id})
        assert (reply.status, reply.text) == (400, "Device is already claimed")


async def test_a_login_claims_for_its_own_account(emu: Emulator, post: Post, other: str) -> None:
    token = emu.cloud.create_token("login", account_id=other)
    emu.cloud.register_device("DEV0000001")
    assert (await post.login("/device/claim", {"id": "DEV0000001"}, token=token)).json["accountId"] == other


async def test_an_unknown_account_claims_nothing(emu: Emulator, post: Post) -> None:
    emu.cloud.register_device("DEV0000001")
    reply = await post("/tok/device/claim", {"id": "DEV0000001", "accountId": "nobody"})
    assert (reply.status, reply.text) == (400, "Cannot find account")
    assert emu.cloud.device("DEV0000001") is None


async def test_an_unclaimed_device_is_not_in_the_cloud(emu: Emulator, post: Post) -> None:
    emu.cloud.register_device("DEV0000001")
    for path in ("device/get", "device/release", "device/provision"):
        reply = await post(f"/tok/{path}", {"id": "DEV0000001"})
        assert (reply.status, reply.text) == UNKNOWN


async def test_a_released_device_is_unclaimed_again_and_its_token_ends(emu: Emulator, post: Post) -> None:
    token = await post.device_token()
    released = await post("/tok/device/release", {"id": "DEV0000001"})
    assert released.json["id"] == "DEV0000001"
    reply = await post("/tok/device/provision", {"id": "DEV0000001"}, token=token)
    assert (reply.status, reply.text) == (403, "Authentication failed")
    assert (await post.register(id="DEV0000001")).text == '{"registered":true}'
    assert (await post("/tok/device/claim", {"id": "DEV0000001"})).status == 200


async def test_nobody_sees_a_device_of_another_account(emu: Emulator, post: Post, other: str) -> None:
    emu.cloud.register_device("DEV0000001")
    emu.cloud.claim_device("DEV0000001", other)
    for path in ("device/get", "device/release"):
        for reply in (
            await post.login(f"/{path}", {"id": "DEV0000001"}),
            await post(f"/tok/{path}", {"id": "DEV0000001", "accountId": emu.account_id}),
            await post(f"/tok/{path}", {"id": "DEV0000001", "accountId": ""}),
        ):
            assert (reply.status, reply.text) == UNKNOWN
    assert (await post.login("/device/find", {})).json["data"] == []
    assert (await post("/tok/device/get", {"id": "DEV0000001", "accountId": other})).status == 200


async def test_a_cloud_token_that_names_no_account_sees_the_whole_cloud(emu: Emulator, post: Post, other: str) -> None:
    for claim_id, account_id in (("DEV0000001", other), ("DEV0000002", None)):
        emu.cloud.register_device(claim_id)
        emu.cloud.claim_device(claim_id, account_id)
    assert len((await post("/tok/device/find", {})).json["data"]) == 2
    assert (await post("/tok/device/get", {"id": "DEV0000001"})).json["accountId"] == other


async def test_a_device_sees_itself_alone(post: Post) -> None:
    token = await post.device_token("DEV0000001")
    await post.device_token("DEV0000002")
    for path in ("device/provision", "provision/getCerts", "device/getSignedUrl"):
        reply = await post(f"/tok/{path}", {"id": "DEV0000002"}, token=token)
        if path == "device/getSignedUrl":
            assert "DEV0000002" not in reply.text
        else:
            assert (reply.status, reply.text) == UNKNOWN


async def test_a_call_of_the_device_counts_as_contact(emu: Emulator, post: Post) -> None:
    token = await post.device_token()
    emu.cloud.clock = lambda: 4102444800.0
    await post("/tok/device/provision", {"id": "DEV0000001"}, token=token)
    assert (await post("/tok/device/get", {"id": "DEV0000001"})).json["accessed"] == "2100-01-01T00:00:00.000Z"


# Lists


@pytest.fixture
def fleet(emu: Emulator) -> list[str]:
    ids = [f"DEV{number:07}" for number in range(7)]
    for claim_id in reversed(ids):
        emu.cloud.register_device(claim_id)
        emu.cloud.claim_device(claim_id)
    return ids


@each_row("limit", [1, 2, 3, 6, 7, 8, 1000])
async def test_pages_cover_the_list_once_and_end_without_next(post: Post, fleet: list[str], limit: int) -> None:
    found = await pages(post, "next", limit)
    assert [claim_id for page in found for claim_id in page] == fleet
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1]


async def test_the_first_page_has_no_prev(post: Post, fleet: list[str]) -> None:
    reply = (await post("/tok/device/find?limit=2", {})).json
    assert set(reply) == {"data", "next", "paged"}
    assert reply["paged"] is True
    assert isinstance(reply["next"], str)


async def test_paging_back_returns_items_in_forward_order(post: Post, fleet: list[str]) -> None:
    first = (await post("/tok/device/find?limit=2", {})).json
    second = (await post(f"/tok/device/find?limit=2&next={quote(first['next'])}", {})).json
    third = (await post(f"/tok/device/find?limit=2&next={quote(second['next'])}", {})).json
    back = await pages(post, "prev", 2, third["prev"])
    assert [ids for ids in back if ids] == [fleet[2:4], fleet[0:2]]
    again = (await post(f"/tok/device/find?limit=2&prev={quote(third['prev'])}", {})).json
    forth = (await post(f"/tok/device/find?limit=2&next={quote(again['next'])}", {})).json
    assert [record["id"] for record in forth["data"]] == fleet[4:6]


async def test_a_list_without_limit_has_a_hundred_items(emu: Emulator, post: Post) -> None:
    for number in range(101):
        emu.cloud.claim_device(emu.cloud.register_device(f"DEV{number:07}"))
    assert [len(page) for page in await pages(post, "next", 100)] == [100, 1]
    assert len((await post("/tok/device/find", {})).json["data"]) == 100


@each_row("cursor", ["x", "{}", "[]", "null", '{"id":1}', '"DEV"', "%00", "%ff", "{" * 3000, "[" * 3000])
async def test_a_bad_cursor_is_refused(post: Post, fleet: list[str], cursor: str) -> None:
    for option in ("next", "prev"):
        reply = await post(f"/tok/device/find?{option}={cursor}", {})
        assert reply.status == 400
        assert "\n" not in reply.text


async def test_a_list_is_narrowed_by_id_and_product(emu: Emulator, post: Post, fleet: list[str]) -> None:
    async def ids(**body: str) -> list[str]:
        reply: Reply = await post("/tok/device/find", body)
        return [record["id"] for record in reply.json["data"]]

    assert await ids(id=fleet[3]) == [fleet[3]]
    assert await ids(productId=emu.product_token) == fleet
    assert await ids(productId="other") == []
    assert await ids(accountId=emu.account_id) == fleet


# Provisioning


async def test_provisioning_answers_at_top_level(emu: Emulator, post: Post) -> None:
    token = await post.device_token()
    reply = (await post("/tok/device/provision", {"id": "DEV0000001"}, token=f"bearer {token}")).json
    assert set(reply) == {
        *("accountId", "certificate", "endpoint", "id", "key", "port", "thing"),
        *("cloudType", "cloudName", "cloudRegion"),
    }
    assert (reply["accountId"], reply["id"]) == (emu.account_id, "DEV0000001")
    assert (reply["endpoint"], reply["port"]) == (emu.mqtt_host, emu.mqtt_port)


async def test_the_certificate_is_the_devices_own_and_of_the_ca(emu: Emulator, post: Post) -> None:
    await post.device_token()
    reply = (await post("/tok/device/provision", {"id": "DEV0000001"})).json
    certificate = x509.load_pem_x509_certificate(reply["certificate"].encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(Path(emu.ca).read_bytes()))
    assert certificate.subject.rfc4514_string() == "CN=DEV0000001"


async def test_the_certificate_is_the_same_as_long_as_the_claim_lasts(emu: Emulator, post: Post) -> None:
    token = await post.device_token()
    first = (await post("/tok/device/provision", {"id": "DEV0000001"}, token=token)).json
    assert (await post("/tok/provision/getCerts", {"id": "DEV0000001"}, token=token)).json == first
    emu.cloud.release_device("DEV0000001")
    emu.cloud.claim_device("DEV0000001")
    second = (await post("/tok/device/provision", {"id": "DEV0000001"})).json
    assert second["certificate"] != first["certificate"]
    assert second["key"] != first["key"]


async def test_a_blocked_device_is_told_how_many_seconds_to_wait(emu: Emulator, post: Post) -> None:
    token = await post.device_token()
    emu.cloud.clock = lambda: 1000.0
    emu.cloud.block_device("DEV0000001", 90)
    emu.cloud.clock = lambda: 1030.5
    reply = await post("/tok/device/provision", {"id": "DEV0000001"}, token=token)
    assert reply.status == 200
    assert set(reply.json) == {"error", "delay"}
    assert reply.json["delay"] == 60
    emu.cloud.clock = lambda: 1090.0
    assert "certificate" in (await post("/tok/device/provision", {"id": "DEV0000001"}, token=token)).json


async def test_credentials_need_no_body_and_expire(emu: Emulator, post: Post) -> None:
    token = await post.device_token()
    reply = (await post("/tok/device/getCreds", data=b"", token=token)).json
    assert set(reply) == {"accessKeyId", "secretAccessKey", "sessionToken", "region", "expires"}
    assert datetime.fromisoformat(reply["expires"]).timestamp() > emu.cloud.now() / 1000


async def test_credentials_exist_in_dedicated_clouds_only(emu: Emulator, post: Post) -> None:
    token = await post.device_token()
    emu.cloud.type = "hosted"
    assert (await post("/tok/device/getCreds", token=token)).status == 400


async def test_a_signed_url_is_a_json_string_and_takes_the_size_as_text(post: Post) -> None:
    token = await post.device_token()
    body = {"id": "DEV0000001", "command": "put", "filename": "a b.jpg", "mimeType": "image/jpeg", "size": "12"}
    reply = await post("/tok/device/getSignedUrl", body, token=token)
    assert reply.status == 200
    assert reply.text.startswith('"http')
    assert reply.text.endswith('"')


@each_row_after_reset("size", ["1.5", "-1", "", "x", "9" * 400, [], True])
async def test_a_size_that_is_no_number_is_refused(post: Post, size: object) -> None:
    token = await post.device_token()
    reply = await post("/tok/device/getSignedUrl", {"id": "DEV0000001", "size": size}, token=token)
    assert (reply.status, reply.text) == (400, "size must be of type number")


async def test_a_signed_url_needs_a_known_command_and_device(post: Post) -> None:
    await post.device_token()
    reply = await post("/tok/device/getSignedUrl", {"id": "DEV0000001", "command": "list"})
    assert (reply.status, reply.text) == (400, "command must be get, put or delete")
    reply = await post("/tok/device/getSignedUrl", {})
    assert (reply.status, reply.text) == (400, "Missing id")
