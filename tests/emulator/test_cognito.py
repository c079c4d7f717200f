import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from ioto_async.emulator import Emulator, Fault

from .conftest import Post, Reply
from .tables import each_row_after_reset

TARGET = "AWSCognitoIdentityProviderService.InitiateAuth"
EMAIL, PASSWORD = "ada@ioto.test", "Secret-123"
WRONG = {"__type": "NotAuthorizedException", "message": "Incorrect username or password."}


class SignIn:
    """Sends one sign-in; its members may be replaced, or left out with None."""

    def __init__(self, emu: Emulator, session: aiohttp.ClientSession) -> None:
        self._emu = emu
        self._session = session

    async def __call__(
        self,
        flow: str = "USER_PASSWORD_AUTH",
        *,
        path: str = "",
        target: str = TARGET,
        data: bytes | None = None,
        **replaced: object,
    ) -> Reply:
        members: dict[str, object] = {"AuthFlow": flow, "ClientId": self._emu.cloud.client_id}
        if flow == "USER_PASSWORD_AUTH":
            cloud = self._emu.cloud
            members["AuthParameters"] = {"USERNAME": cloud.username, "PASSWORD": cloud.password}
        body = {name: value for name, value in (members | replaced).items() if value is not None}
        headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
        data = json.dumps(body).encode() if data is None else data
        async with self._session.post(self._emu.cognito + path, data=data, headers=headers) as reply:
            return Reply(reply.status, await reply.text(), reply.headers)

    async def refresh(self, token: object) -> Reply:
        return await self("REFRESH_TOKEN_AUTH", AuthParameters={"REFRESH_TOKEN": token})

    async def tokens(self, **options: Any) -> dict[str, Any]:
        """Sign in, as the owner unless told otherwise, and return the ``AuthenticationResult``."""
        reply = await self(**options)
        assert reply.status == 200, reply.text
        return dict(reply.json["AuthenticationResult"])


@pytest.fixture
async def sign_in(emu: Emulator) -> AsyncIterator[SignIn]:
    async with aiohttp.ClientSession() as session:
        yield SignIn(emu, session)


def as_user(email: str = EMAIL, password: str = PASSWORD) -> Mapping[str, Any]:
    return {"AuthParameters": {"USERNAME": email, "PASSWORD": password}}


async def test_a_sign_in_has_the_documented_members(emu: Emulator, sign_in: SignIn) -> None:
    reply = await sign_in()
    assert reply.headers["Content-Type"] == "application/x-amz-json-1.1"
    result = reply.json["AuthenticationResult"]
    assert set(result) == {"AccessToken", "IdToken", "RefreshToken", "TokenType", "ExpiresIn"}
    assert (result["TokenType"], result["ExpiresIn"]) == ("Bearer", 3600)


async def test_the_access_token_is_a_login_of_the_owner(emu: Emulator, post: Post, sign_in: SignIn) -> None:
    token = (await sign_in.tokens())["AccessToken"]
    reply = await post.login("/user/get", {}, token=token)
    assert (reply.json["email"], reply.json["role"]) == (emu.cloud.username, "owner")
    assert reply.json["accountId"] == emu.account_id


async def test_the_user_pool_may_be_in_the_path(emu: Emulator, sign_in: SignIn) -> None:
    assert (await sign_in(path=f"/{emu.cloud.user_pool}")).status == 200
    reply = await sign_in(path="/us-east-1_nowhere")
    assert (reply.status, reply.json["__type"]) == (400, "ResourceNotFoundException")


async def test_a_user_signs_in_with_his_address_in_any_case(emu: Emulator, sign_in: SignIn) -> None:
    emu.cloud.add_user(EMAIL, password=PASSWORD)
    assert (await sign_in(**as_user(EMAIL.upper()))).status == 200


@each_row_after_reset("email, password", [(EMAIL, "secret-123"), ("nobody@ioto.test", PASSWORD), ("x", "y")])
async def test_a_wrong_password_and_an_unknown_user_look_the_same(
    emu: Emulator, sign_in: SignIn, email: str, password: str
) -> None:
    emu.cloud.add_user(EMAIL, password=PASSWORD)
    reply = await sign_in(**as_user(email, password))
    assert (reply.status, reply.json) == (400, WRONG)


@each_row_after_reset(
    "replaced, type",
    [
        ({"ClientId": "other"}, "ResourceNotFoundException"),
        ({"ClientId": None}, "InvalidParameterException"),
        ({"AuthFlow": None}, "InvalidParameterException"),
        ({"AuthFlow": "USER_SRP_AUTH"}, "InvalidParameterException"),
        ({"AuthParameters": None}, "InvalidParameterException"),
        ({"AuthParameters": {"USERNAME": EMAIL}}, "InvalidParameterException"),
        ({"AuthParameters": {"PASSWORD": PASSWORD}}, "InvalidParameterException"),
        ({"AuthParameters": {"USERNAME": [], "PASSWORD": 1}}, "InvalidParameterException"),
        ({"AuthParameters": {"USERNAME": 1, "PASSWORD": 1}}, "SerializationException"),
        ({"data": b"{"}, "SerializationException"),
        ({"target": "AWSCognitoIdentityProviderService.Other"}, "UnknownOperationException"),
    ],
)
async def test_what_is_wrong_with_a_sign_in_is_said_as_aws_does(
    sign_in: SignIn, replaced: Mapping[str, Any], type: str
) -> None:
    reply = await sign_in(**replaced)
    assert reply.status == 400
    assert reply.headers["Content-Type"] == "application/x-amz-json-1.1"
    assert set(reply.json) == {"__type", "message"}
    assert reply.json["__type"] == type


async def test_a_refresh_gives_another_access_token_and_no_refresh_token(
    emu: Emulator, post: Post, sign_in: SignIn
) -> None:
    first = await sign_in.tokens()
    second = (await sign_in.refresh(first["RefreshToken"])).json["AuthenticationResult"]
    assert set(second) == {"AccessToken", "IdToken", "TokenType", "ExpiresIn"}
    assert second["AccessToken"] != first["AccessToken"]
    assert (await post.login("/user/get", {}, token=second["AccessToken"])).status == 200
    # It is good more than once.
    assert (await sign_in.refresh(first["RefreshToken"])).status == 200


async def test_an_access_token_lives_an_hour(emu: Emulator, post: Post, sign_in: SignIn) -> None:
    emu.cloud.clock = lambda: 1000.0
    token = (await sign_in.tokens())["AccessToken"]
    emu.cloud.clock = lambda: 1000.0 + 3599
    assert (await post.login("/user/get", {}, token=token)).status == 200
    emu.cloud.clock = lambda: 1000.0 + 3600
    reply = await post.login("/user/get", {}, token=token)
    assert (reply.status, reply.text) == (403, "Authentication failed")


async def test_the_life_of_access_tokens_can_be_shortened(emu: Emulator, post: Post, sign_in: SignIn) -> None:
    emu.cloud.clock = lambda: 1000.0
    emu.cloud.login_lifetime = 5
    result = await sign_in.tokens()
    assert result["ExpiresIn"] == 5
    emu.cloud.clock = lambda: 1005.0
    assert (await post.login("/user/get", {}, token=result["AccessToken"])).status == 403
    emu.reset()
    assert emu.cloud.login_lifetime == 3600


async def test_a_refresh_token_lives_thirty_days(emu: Emulator, sign_in: SignIn) -> None:
    emu.cloud.clock = lambda: 1000.0
    token = (await sign_in.tokens())["RefreshToken"]
    emu.cloud.clock = lambda: 1000.0 + 30 * 86400 - 1
    assert (await sign_in.refresh(token)).status == 200
    emu.cloud.clock = lambda: 1000.0 + 30 * 86400
    reply = await sign_in.refresh(token)
    assert (reply.status, reply.json["__type"]) == (400, "NotAuthorizedException")


async def test_a_refresh_token_is_no_access_token_and_the_other_way_round(post: Post, sign_in: SignIn) -> None:
    result = await sign_in.tokens()
    assert (await post.login("/user/get", {}, token=result["RefreshToken"])).status == 403
    assert (await sign_in.refresh(result["AccessToken"])).json["__type"] == "NotAuthorizedException"


async def test_an_address_signs_up_once(emu: Emulator) -> None:
    emu.cloud.sign_up(EMAIL, PASSWORD)
    with pytest.raises(Exception, match="already an identity"):
        emu.cloud.sign_up(EMAIL.upper(), "other")
    with pytest.raises(Exception, match="password"):
        emu.cloud.sign_up("eve@ioto.test", "")


async def test_a_user_of_whom_logins_were_made_can_sign_up_later(emu: Emulator, post: Post, sign_in: SignIn) -> None:
    user = emu.cloud.add_user(EMAIL)
    token = emu.cloud.create_token("login", user_id=user)
    emu.cloud.sign_up(EMAIL, PASSWORD)
    for each in (token, (await sign_in.tokens(**as_user()))["AccessToken"]):
        assert (await post.login("/user/get", {}, token=each)).json["id"] == user


async def test_passwords_and_tokens_are_neither_kept_nor_logged(
    emu: Emulator, sign_in: SignIn, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        emu.cloud.add_user(EMAIL, password=PASSWORD)
        result = await sign_in.tokens(**as_user())
        await sign_in.refresh(result["RefreshToken"])
        await sign_in(data=f'{{"AuthParameters":{{"PASSWORD":"{PASSWORD}"}}'.encode())
        emu.faults.add(Fault("cognito", status=500))
        await sign_in(**as_user())
    with emu.cloud.lock:
        stored = [str(row) for row in emu.cloud.builder.db.execute("SELECT * FROM identities")]
    assert len(stored) == 2
    kept = [*map(str, emu.requests), *(str(received.body) for received in emu.requests), *stored, caplog.text]
    for secret in (PASSWORD, result["RefreshToken"], result["AccessToken"]):
        assert secret not in "".join(kept)
    assert json.loads(emu.requests[0].body) == {"AuthFlow": "USER_PASSWORD_AUTH", "ClientId": emu.cloud.client_id}


async def test_a_fault_can_be_for_sign_ins(emu: Emulator, sign_in: SignIn) -> None:
    emu.faults.add(Fault("cognito", status=503))
    assert (await sign_in()).status == 503
    assert (await sign_in()).status == 200


async def test_the_seeded_owner_keeps_his_password_over_a_reset(emu: Emulator, sign_in: SignIn) -> None:
    before = (emu.cloud.username, emu.cloud.password, emu.cloud.client_id, emu.cognito)
    emu.reset()
    assert (emu.cloud.username, emu.cloud.password, emu.cloud.client_id, emu.cognito) == before
    assert (await sign_in()).status == 200
