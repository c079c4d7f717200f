"""The tokens of a sign-in are JWTs, verified here by the served keys with nothing but cryptography."""

import base64
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from ioto_async.emulator import Emulator, Fault
from ioto_async.emulator.state.cloud import Cloud
from tests.rows import each_row

TARGET = {"X-Amz-Target": "AWSCognitoIdentityProviderService.InitiateAuth"}


async def sign_in(cloud: Cloud, **parameters: str) -> dict[str, Any]:
    """The ``AuthenticationResult`` for the owner, or for *parameters* of a refresh."""
    flow = "REFRESH_TOKEN_AUTH" if parameters else "USER_PASSWORD_AUTH"
    parameters = parameters or {"USERNAME": cloud.username, "PASSWORD": cloud.password}
    body = {"AuthFlow": flow, "ClientId": cloud.client_id, "AuthParameters": parameters}
    headers = TARGET | {"Content-Type": "application/x-amz-json-1.1"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(cloud.cognito, data=json.dumps(body), headers=headers) as reply,
    ):
        result: dict[str, Any] = json.loads(await reply.text())["AuthenticationResult"]
    return result


async def get(url: str, method: str = "GET") -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.request(method, url) as reply:
        text = await reply.text()
        return reply.status, json.loads(text) if text else None


async def keys(cloud: Cloud) -> list[dict[str, str]]:
    status, found = await get(f"{cloud.identities.issuer}/.well-known/jwks.json")
    assert status == 200
    return list(found["keys"])


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verified(token: str, key: dict[str, str]) -> dict[str, Any]:
    """The claims of a token that *key* has signed."""
    header, claims, signature = token.split(".")
    assert json.loads(decoded(header)) == {"alg": "RS256", "kid": key["kid"]}
    numbers = (int.from_bytes(decoded(key[name])) for name in "en")
    public = rsa.RSAPublicNumbers(*numbers).public_key()
    public.verify(decoded(signature), f"{header}.{claims}".encode(), padding.PKCS1v15(), SHA256())
    result: dict[str, Any] = json.loads(decoded(claims))
    return result


async def test_both_tokens_are_signed_by_the_served_key_and_say_what_those_of_cognito_do(emu: Emulator) -> None:
    cloud = emu.cloud
    cloud.clock = lambda: 1_000_000.75
    (key,) = await keys(cloud)
    assert (key["alg"], key["kty"], key["use"]) == ("RS256", "RSA", "sig")
    result = await sign_in(cloud)
    access, identity = (verified(result[name], key) for name in ("AccessToken", "IdToken"))
    subject = cloud.identities.of_email(cloud.username)
    for claims in (access, identity):
        issuer = f"{emu.cognito}/{cloud.user_pool}"
        assert (claims["sub"], claims["iss"], claims["origin_jti"]) == (subject, issuer, access["origin_jti"])
        assert (claims["auth_time"], claims["iat"], claims["exp"]) == (1_000_000, 1_000_000, 1_003_600)
    assert access["jti"] != identity["jti"]
    assert (access["token_use"], access["client_id"], access["username"]) == ("access", cloud.client_id, subject)
    assert (identity["token_use"], identity["aud"]) == ("id", cloud.client_id)
    assert (identity["email"], identity["email_verified"]) == (cloud.username, True)
    assert identity["cognito:username"] == subject
    assert {"aud", "email"}.isdisjoint(access)
    header, _, signature = result["AccessToken"].split(".")
    with pytest.raises(InvalidSignature):
        verified(f"{header}.{result['IdToken'].split('.')[1]}.{signature}", key)


async def test_the_tokens_of_a_refresh_tell_of_the_sign_in_before(emu: Emulator) -> None:
    cloud = emu.cloud
    cloud.clock = lambda: 1000.0
    (key,) = await keys(cloud)
    first = await sign_in(cloud)
    cloud.clock = lambda: 5000.0
    cloud.login_lifetime = 600
    second = await sign_in(cloud, REFRESH_TOKEN=first["RefreshToken"])
    for name in ("AccessToken", "IdToken"):
        before, claims = verified(first[name], key), verified(second[name], key)
        assert (claims["auth_time"], claims["iat"], claims["exp"]) == (1000, 5000, 5600)
        assert claims["origin_jti"] == before["origin_jti"]
        assert claims["jti"] != before["jti"]


async def test_the_key_is_kept_with_the_cloud_and_over_a_reset_and_each_cloud_has_its_own(tmp_path: Path) -> None:
    async with Emulator(db=tmp_path / "cloud.db", clouds=2, mqtt=False) as emu:
        before = emu.snapshot()
        (first,), (second,) = [await keys(cloud) for cloud in emu.clouds]
        token = (await sign_in(emu.cloud))["IdToken"]
        emu.restore(before)
        emu.reset()
        assert await keys(emu.cloud) == [first]
    assert first["n"] != second["n"]
    assert first["kid"] != second["kid"]
    async with Emulator(db=tmp_path / "cloud.db", mqtt=False) as emu:
        (key,) = await keys(emu.cloud)
        assert verified(token, key)["token_use"] == "id"


@each_row(
    "path, method, status, text",
    [
        ("/us-east-1_nowhere/.well-known/jwks.json", "GET", 400, "ResourceNotFoundException"),
        ("/{pool}/.well-known/jwks.json", "POST", 400, "UnknownOperationException"),
        ("/{pool}/.well-known/jwks.json", "HEAD", 200, None),
        ("/{pool}/.well-known/other.json", "GET", 400, "UnknownOperationException"),
    ],
)
async def test_there_are_keys_of_the_pool_alone(
    emu: Emulator, path: str, method: str, status: int, text: str | None
) -> None:
    seen, found = await get(emu.cognito + path.format(pool=emu.cloud.user_pool), method)
    assert (seen, found and found["__type"]) == (status, text)


async def test_a_fault_of_sign_ins_leaves_the_keys_alone(emu: Emulator) -> None:
    emu.faults.add(Fault("cognito", status=500))
    assert await keys(emu.cloud)
    emu.faults.clear()
    emu.faults.add(Fault("jwks", status=503, body=b"{}"))
    assert (await get(f"{emu.cloud.identities.issuer}/.well-known/jwks.json"))[0] == 503
    assert [request.operation for request in emu.requests] == ["jwks", "jwks"]
