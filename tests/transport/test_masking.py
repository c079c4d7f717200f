"""What of requests and replies gets into a cassette: no secret, whatever the JSON, and of identifiers their masks."""

import base64
import json
import urllib.parse
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ioto_async.transport.masking import Masks
from tests.rows import each_row

MARK = "s3cr3t-Mark+0123/456789"
SALT = "0123456789abcdef"
CLAIM = "M72DANY8BZ"
ULID = "01HV0000000000000000ACC0NT"

SECRET_NAMES = [
    *("token", "apiToken", "API_KEY", "password", "newPassword", "secretAccessKey", "sessionToken", "accessKeyId"),
    *("Authorization", "cookie", "set-cookie", "privateKey", "private_key", "passphrase", "signature", "credentials"),
    *("X-Amz-Signature", "refresh_token", "AccessToken", "IdToken", "key"),
]
NAMES = st.sampled_from(["id", "name", "deviceId", "data", "value", "_type", "items", "a b", "", "email"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


def holders(mark: str) -> st.SearchStrategy[Any]:
    """JSON with *mark* in it, where something tells that it is a secret."""
    text = st.tuples(st.text(), st.text())
    token = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=5)
    named = st.sampled_from(SECRET_NAMES)
    return st.one_of(
        st.tuples(
            named,
            st.recursive(
                st.just(mark), lambda inner: st.lists(inner, min_size=1) | st.fixed_dictionaries({"a": inner})
            ),
        ).map(lambda pair: {pair[0]: pair[1]}),
        token.map(lambda rest: f"https://bucket.example/{mark}?X-Amz-Signature={mark}{rest}"),
        text.map(
            lambda around: f"{around[0]}-----BEGIN PRIVATE KEY-----\n{mark}\n-----END PRIVATE KEY-----\n{around[1]}"
        ),
        st.tuples(named, st.just(mark)).map(lambda pair: json.dumps({"next": {pair[0]: pair[1]}})),
        st.just(f"Authorization: bearer {mark}"),
    )


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        inner,
        lambda part: st.dictionaries(NAMES, part, min_size=1, max_size=3) | st.lists(part, min_size=1, max_size=3),
    )


@settings(max_examples=30)
@given(
    value=st.fixed_dictionaries({"rest": nested(LEAVES), "holder": nested(holders(MARK))}),
    ids=st.booleans(),
    name=NAMES,
)
def test_no_secret_gets_through_whatever_the_json(value: Any, ids: bool, name: str) -> None:
    masks = Masks(SALT, ids=ids)
    masks.look_at(value, name)
    assert MARK not in str(masks.value(value, name))


@settings(max_examples=30)
@given(value=nested(st.text().map(lambda text: text + MARK) | st.text().map(lambda text: MARK + text)), name=NAMES)
def test_what_a_client_sends_as_its_token_is_in_no_text(value: Any, name: str) -> None:
    masks = Masks(SALT)
    masks.learn(MARK)
    masks.look_at(value, name)
    masked = json.dumps(masks.value(value, name))
    assert MARK not in masked
    assert json.dumps(MARK)[1:-1] not in masked


@settings(max_examples=30)
@given(key=st.text().map(lambda text: text + MARK), value=LEAVES)
def test_names_of_members_are_text_as_well(key: str, value: Any) -> None:
    masks = Masks(SALT)
    masks.learn(MARK)
    assert MARK not in str(masks.value({key: value, f"x{key}": value}))


@settings(max_examples=30)
@given(value=nested(LEAVES), name=NAMES)
def test_what_is_masked_is_not_masked_again(value: Any, name: str) -> None:
    masks = Masks(SALT)
    masks.look_at(value, name)
    once = masks.value(value, name)
    again = Masks(SALT)
    again.look_at(once, name)
    assert again.value(once, name) == once


@settings(max_examples=30)
@given(value=nested(LEAVES | holders(MARK)))
def test_the_shape_of_json_stays(value: Any) -> None:
    assert shape(Masks(SALT).value(value)) == shape(value)


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [shape(each) for each in value.values()]
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value)


def test_an_identifier_has_one_mask_wherever_it_is() -> None:
    masks = Masks(SALT)
    value = {
        "id": CLAIM,
        "deviceId": CLAIM,
        "dimensions": {"Device": CLAIM},
        "sk": f"device#{CLAIM}",
        "next": json.dumps({"pk": f"account#{ULID}", "sk": f"device#{CLAIM}"}),
        "message": f"Cannot find device {CLAIM}.",
        "accountIds": [ULID],
        "name": "Device",
    }
    masks.look_at(value)
    masked = masks.value(value)
    device, account = masks.alias(CLAIM), masks.alias(ULID)
    assert masked == {
        "id": device,
        "deviceId": device,
        "dimensions": {"Device": device},
        "sk": f"device#{device}",
        "next": json.dumps({"pk": f"account#{account}", "sk": f"device#{device}"}, separators=(",", ":")),
        "message": f"Cannot find device {device}.",
        "accountIds": [account],
        "name": "Device",
    }


@each_row(
    "value",
    {
        "numbers and words": {
            "temperature": 21.5,
            "count": 5,
            "ok": True,
            "none": None,
            "_type": "Store",
            "role": "user",
        },
        "the key of a store": {"_type": "Store", "deviceId": "MASK0123456789AB", "key": "temp", "value": 5},
        "its record": {"deviceId": "MASK0123456789AB", "key": "temp", "value": "hot", "type": "string"},
        "dates": {"created": "2024-01-23T02:03:57.062Z", "expires": 1706000000000},
        "metrics": {"namespace": "Embedthis/Device", "metric": "temperature", "points": [{"value": 1, "count": 2}]},
        "a product": {"product": "Demo"},
        "a token type": {"TokenType": "Bearer"},
        "a path": {"filename": "logs/today.txt", "mimeType": "text/plain"},
    },
)
def test_what_is_neither_secret_nor_identifier_stays(value: dict[str, Any]) -> None:
    masks = Masks(SALT)
    masks.look_at(value)
    assert masks.value(value) == value


@each_row(
    "text",
    {
        "a bearer token": f"bearer {MARK}",
        "a header": f"x-token: {MARK}",
        "a query": f"call with ?token={MARK}&x=1",
        "a URL in text": f"go to https://x.example/{MARK}?sig={MARK} now",
        "a URL with a quote": f"https://x.example/a'b?sig={MARK}",
        "a JWT": "eyJhbGciOi.eyJzdWIiOiI.c2lnbmF0dXJl",
        "an AWS key": "the key ASIA0123456789ABCDEF",
        "an address": "mail to ann@app.example",
        "an endpoint": "host a1b2c3-ats.iot.us-east-1.amazonaws.com",
        "an ARN": "arn:aws:iot:us-east-1:123456789012:cert/abcdef",
        "a UUID": "sub 0b1c2d3e-0000-4000-8000-0123456789ab",
        "a pool": "us-east-1_AbCdEfGhI",
    },
)
def test_text_without_a_name_shows_nothing_that_looks_like_one(text: str) -> None:
    masked = Masks(SALT).text(text)
    parts = [MARK, "eyJ", "ASIA", "ann@", "amazonaws", "123456789012", "0b1c2d3e", "AbCdEfGhI"]
    assert [part for part in parts if part in masked] == []


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_secret_in_base64_is_found(encode: Any) -> None:
    masks = Masks(SALT)
    masks.learn(MARK)
    assert masks.text(encode(f"user:{MARK}".encode()).decode()) == "***"


def test_masks_of_two_cassettes_are_different() -> None:
    assert Masks("a").alias(CLAIM) != Masks("b").alias(CLAIM)


def test_a_url_has_one_mask_whatever_its_signature() -> None:
    masks = Masks(SALT)
    url = f"https://bucket.example/{urllib.parse.quote(ULID)}/a.txt"
    assert masks.url(f"{url}?sig=1") == masks.url(f"{url}?sig=2") == masks.url(masks.url(url))
    assert masks.url(f"{url}?sig=1") != masks.url("https://bucket.example/other")
