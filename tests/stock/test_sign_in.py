"""boto3, pycognito and PyJWT with the user pool of the embedded cloud."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from ioto_async import IotoClient
from ioto_async.emulator import EmulatorThread

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed (it comes with the extra stock-clients)")
pycognito = pytest.importorskip(
    "pycognito", reason="pycognito is not installed (it comes with the extra stock-clients)"
)
jwt = pytest.importorskip("jwt", reason="PyJWT is not installed (it comes with the extra stock-clients)")


@pytest.fixture
def idp(ioto_emulator: EmulatorThread) -> Iterator[Any]:
    """The client of boto3; signing in needs no keys of AWS."""
    client = boto3.client("cognito-idp", endpoint_url=ioto_emulator.cognito, region_name="us-east-1")
    yield client
    client.close()


def sign_in(idp: Any, emulator: EmulatorThread, password: str | None = None) -> dict[str, Any]:
    cloud = emulator.cloud
    parameters = {"USERNAME": cloud.username, "PASSWORD": password or cloud.password}
    reply = idp.initiate_auth(ClientId=cloud.client_id, AuthFlow="USER_PASSWORD_AUTH", AuthParameters=parameters)
    return dict(reply["AuthenticationResult"])


def user_of(emulator: EmulatorThread, tokens: dict[str, Any] | None = None) -> Any:
    """A user of pycognito, with the *tokens* of a sign-in."""
    tokens = tokens or {}
    return pycognito.Cognito(
        emulator.cloud.user_pool,
        emulator.cloud.client_id,
        username=emulator.cloud.username,
        id_token=tokens.get("IdToken"),
        access_token=tokens.get("AccessToken"),
        refresh_token=tokens.get("RefreshToken"),
        boto3_client_kwargs={"endpoint_url": emulator.cognito},
    )


async def email_of(emulator: EmulatorThread, token: str) -> str | None:
    """The address of the user that an access token is good for."""
    async with IotoClient(emulator.api, login=token, origin=emulator.origin) as client:
        return (await client.user.get()).email


async def test_boto3_signs_in_and_refreshes(idp: Any, ioto_emulator: EmulatorThread) -> None:
    cloud = ioto_emulator.cloud
    result = sign_in(idp, ioto_emulator)
    assert await email_of(ioto_emulator, result["AccessToken"]) == cloud.username
    again = idp.initiate_auth(
        ClientId=cloud.client_id,
        AuthFlow="REFRESH_TOKEN_AUTH",
        AuthParameters={"REFRESH_TOKEN": result["RefreshToken"]},
    )["AuthenticationResult"]
    assert again["ExpiresIn"] == 3600
    assert await email_of(ioto_emulator, again["AccessToken"]) == cloud.username


def test_boto3_has_a_class_for_each_refusal(idp: Any, ioto_emulator: EmulatorThread) -> None:
    with pytest.raises(idp.exceptions.NotAuthorizedException, match=r"Incorrect username or password\."):
        sign_in(idp, ioto_emulator, "wrong")
    with pytest.raises(idp.exceptions.ResourceNotFoundException):
        idp.initiate_auth(
            ClientId="other", AuthFlow="USER_PASSWORD_AUTH", AuthParameters={"USERNAME": "x", "PASSWORD": "y"}
        )
    with pytest.raises(idp.exceptions.ClientError, match="UnknownOperationException"):
        idp.get_user(AccessToken=sign_in(idp, ioto_emulator)["AccessToken"])


def test_pycognito_verifies_and_renews_the_tokens(idp: Any, ioto_emulator: EmulatorThread) -> None:
    user = user_of(ioto_emulator, sign_in(idp, ioto_emulator))
    user.verify_tokens()
    assert user.id_claims["email"] == ioto_emulator.cloud.username
    assert user.access_claims["token_use"] == "access"
    assert user.check_token(renew=False) is False
    before = user.access_token
    user.renew_access_token()
    assert user.access_token != before
    user.verify_tokens()


def test_pycognito_is_told_that_srp_is_not_served(ioto_emulator: EmulatorThread) -> None:
    user = user_of(ioto_emulator)
    with pytest.raises(user.client.exceptions.InvalidParameterException, match="USER_SRP_AUTH is not enabled"):
        user.authenticate(ioto_emulator.cloud.password)


def test_pyjwt_verifies_the_tokens_by_the_served_keys(idp: Any, ioto_emulator: EmulatorThread) -> None:
    cloud = ioto_emulator.cloud
    issuer = f"{ioto_emulator.cognito}/{cloud.user_pool}"
    keys = jwt.PyJWKClient(f"{issuer}/.well-known/jwks.json")
    result = sign_in(idp, ioto_emulator)
    access, identity = result["AccessToken"], result["IdToken"]
    key = keys.get_signing_key_from_jwt(access)
    claims = jwt.decode(access, key, algorithms=["RS256"], issuer=issuer)
    assert (claims["token_use"], claims["client_id"]) == ("access", cloud.client_id)
    claims = jwt.decode(identity, key, algorithms=["RS256"], issuer=issuer, audience=cloud.client_id)
    assert (claims["token_use"], claims["email"]) == ("id", cloud.username)
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(identity, key, algorithms=["RS256"], issuer=issuer, audience="other")
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(f"{access[:-4]}AAAA", key, algorithms=["RS256"], issuer=issuer)


def test_tokens_expire_by_the_clock_of_the_cloud(idp: Any, ioto_emulator: EmulatorThread) -> None:
    cloud = ioto_emulator.cloud
    issuer = f"{ioto_emulator.cognito}/{cloud.user_pool}"
    key = jwt.PyJWKClient(f"{issuer}/.well-known/jwks.json")
    ioto_emulator.advance(timedelta(days=1))
    token = sign_in(idp, ioto_emulator)["AccessToken"]
    claims = jwt.decode(
        token,
        key.get_signing_key_from_jwt(token),
        algorithms=["RS256"],
        issuer=issuer,
        options={"verify_iat": False},  # tomorrow
    )
    assert claims["exp"] - ioto_emulator.time.timestamp() == pytest.approx(3600, abs=60)
