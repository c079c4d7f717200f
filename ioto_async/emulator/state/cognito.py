"""Sign-in shaped as AWS Cognito's (reference, section 4)."""

import hashlib
import hmac
import re
import secrets
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from ..request import Refused
from ..wire import loads, new_ulid
from .accounts import check_email
from .jwts import JwtSigner
from .tokens import Tokens

__all__ = ["CONTENT_TYPE", "Cognito", "CognitoError", "redacted"]

CONTENT_TYPE: Final = "application/x-amz-json-1.1"

_TARGET: Final = "AWSCognitoIdentityProviderService.InitiateAuth"
_FLOW: Final = re.compile("[A-Z_]{1,64}")
_REFRESH_LIFE_MS: Final = 30 * 86_400_000
# Passwords here protect nothing of value, and each start and reset hashes one: cheap, but never stored in clear.
_COST: Final = 2**9

_IDENTITIES: Final = """
CREATE TABLE IF NOT EXISTS identities (
    id TEXT PRIMARY KEY, email TEXT NOT NULL COLLATE NOCASE UNIQUE, salt BLOB NOT NULL, hash BLOB NOT NULL
) WITHOUT ROWID
"""
_REFRESHES: Final = """
CREATE TABLE IF NOT EXISTS refreshes (
    token TEXT PRIMARY KEY, identity_id TEXT NOT NULL, expires INTEGER NOT NULL, signed_in INTEGER NOT NULL,
    jti TEXT NOT NULL
)
"""


class CognitoError(Exception):
    """Ends a sign-in as AWS does: status 400 and ``{"__type", "message"}``."""

    def __init__(self, type: str, message: str) -> None:
        super().__init__(message)
        self.body = {"__type": type, "message": message}


def redacted(body: bytes) -> dict[str, Any]:
    """Return what may be recorded of a sign-in: neither user name nor password nor refresh token."""
    try:
        request = loads(body)
    except ValueError:
        return {}
    return {name: request[name] for name in ("AuthFlow", "ClientId") if name in request}


class Cognito:
    """A user pool with one client: its identities, sign-in, and the tokens that it issues.

    Args:
        db: the cloud's database; identities and refresh tokens have tables of their own in it.
        now: returns the time in epoch milliseconds.
        tokens: where the access tokens go.
        signer: signs access and ID tokens.
        pool: the key of the user pool.
        client_id: the key of its client.
        url: returns where sign-ins go.

    Attributes:
        lifetime: seconds that an access token is good for; may be set.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        now: Callable[[], int],
        tokens: Tokens,
        signer: JwtSigner,
        pool: str,
        client_id: str,
        url: Callable[[], str],
    ) -> None:
        self._db = db
        self._now = now
        self._tokens = tokens
        self._signer = signer
        self._pool = pool
        self._client_id = client_id
        self._url = url
        self.lifetime: float = 3600
        db.execute(_IDENTITIES)
        db.execute(_REFRESHES)

    def sign_up(self, email: str, password: str, *, id: str | None = None) -> str:
        """Add an identity and return its key, *id* or a new one.

        Raises:
            Refused: 400 if *email* is no address or an identity already, or if *password* is empty.
        """
        check_email(email)
        if not password:
            raise Refused('Bad value for "password": empty')
        if self.of_email(email):
            raise Refused("There is already an identity with this email")
        id = id or new_ulid(self._now())
        salt = secrets.token_bytes(16)
        self._db.execute("INSERT INTO identities VALUES (?, ?, ?, ?)", (id, email, salt, _hash(password, salt)))
        return id

    def email(self, identity_id: str) -> str | None:
        """Return the address of an identity, None if there is no such identity."""
        row = self._db.execute("SELECT email FROM identities WHERE id = ?", (identity_id,)).fetchone()
        return row[0] if row else None

    def of_email(self, email: str) -> str | None:
        """Return the identity with an address, in any case; None if there is none."""
        row = self._db.execute("SELECT id FROM identities WHERE email = ?", (email,)).fetchone()
        return row[0] if row else None

    def rename(self, identity_id: str, email: str) -> None:
        """Let an identity sign in with another address.

        Raises:
            Refused: 400 if it is another identity's.
        """
        if self.of_email(email) not in (None, identity_id):
            raise Refused("There is already an identity with this email")
        self._db.execute("UPDATE identities SET email = ? WHERE id = ?", (email, identity_id))

    def remove(self, identity_id: str) -> None:
        """Remove an identity and all it holds; it signs in no more."""
        self._db.execute("DELETE FROM identities WHERE id = ?", (identity_id,))
        self._db.execute("DELETE FROM refreshes WHERE identity_id = ?", (identity_id,))
        self._tokens.revoke_identity(identity_id)

    def initiate_auth(self, pool: str, target: str, content_type: str, body: bytes) -> dict[str, Any]:
        """Answer ``InitiateAuth`` with ``{ChallengeParameters, AuthenticationResult}``.

        Args:
            pool: the user pool that the path names; empty if it names none.
            target: the header ``X-Amz-Target``.
            content_type: the media type of the body.
            body: ``{AuthFlow, ClientId, AuthParameters}``; the flow is USER_PASSWORD_AUTH or REFRESH_TOKEN_AUTH.

        Raises:
            CognitoError: as AWS refuses it.
        """
        if target != _TARGET:
            raise CognitoError("UnknownOperationException", "The operation is not known.")
        request = _request(content_type, body)
        self._check_pool(pool)
        flow, client_id = _text(request, "AuthFlow"), _text(request, "ClientId")
        parameters = request.get("AuthParameters")
        if not isinstance(parameters, dict):
            raise CognitoError("InvalidParameterException", "Missing required parameter AuthParameters")
        if client_id != self._client_id:
            raise CognitoError("ResourceNotFoundException", "The user pool client does not exist.")
        match flow:
            case "USER_PASSWORD_AUTH":
                identity_id = self._signed_in(_text(parameters, "USERNAME"), _text(parameters, "PASSWORD"))
                signed_in, jti = self._now() // 1000, str(uuid.uuid4())
                return self._result(
                    identity_id, signed_in, jti, RefreshToken=self._refresh_token(identity_id, signed_in, jti)
                )
            case "REFRESH_TOKEN_AUTH":
                return self._result(*self._refreshed(_text(parameters, "REFRESH_TOKEN")))
        named = flow if _FLOW.fullmatch(flow) else "AuthFlow"
        raise CognitoError("InvalidParameterException", f"{named} is not enabled for the client.")

    @property
    def issuer(self) -> str:
        """The URL of the user pool, which its tokens name; ``/.well-known/jwks.json`` below it has their keys."""
        return f"{self._url()}/{self._pool}"

    def jwks(self, pool: str) -> dict[str, Any]:
        """Return the keys that verify the tokens of a user pool.

        Raises:
            CognitoError: there is no such pool.
        """
        self._check_pool(pool)
        return self._signer.jwks()

    def _check_pool(self, pool: str) -> None:
        if pool not in ("", self._pool):
            raise CognitoError("ResourceNotFoundException", "The user pool does not exist.")

    def _signed_in(self, email: str, password: str) -> str:
        row = self._db.execute("SELECT id, salt, hash FROM identities WHERE email = ?", (email,)).fetchone()
        # A user who is not there takes as long as a wrong password.
        id_, salt, expected = row or (None, b"", b"")
        if not hmac.compare_digest(_hash(password, salt), expected) or id_ is None:
            raise CognitoError("NotAuthorizedException", "Incorrect username or password.")
        return str(id_)

    def _refresh_token(self, identity_id: str, signed_in: int, jti: str) -> str:
        token = secrets.token_urlsafe(48)
        row = token, identity_id, self._now() + _REFRESH_LIFE_MS, signed_in, jti
        self._db.execute("INSERT INTO refreshes VALUES (?, ?, ?, ?, ?)", row)
        return token

    def _refreshed(self, token: str) -> tuple[str, int, str]:
        """Return whose token it is, when its sign-in was (epoch seconds), and the key of that."""
        row = self._db.execute(
            "SELECT identity_id, expires, signed_in, jti FROM refreshes WHERE token = ?", (token,)
        ).fetchone()
        if row is None:
            raise CognitoError("NotAuthorizedException", "Invalid Refresh Token")
        identity_id, expires, signed_in, jti = row
        if expires <= self._now():
            raise CognitoError("NotAuthorizedException", "Refresh Token has expired")
        return str(identity_id), int(signed_in), str(jti)

    def _result(self, identity_id: str, signed_in: int, jti: str, **more: str) -> dict[str, Any]:
        now = self._now()
        both = {
            "sub": identity_id,
            "iss": self.issuer,
            "origin_jti": jti,
            "event_id": str(uuid.uuid4()),
            "auth_time": signed_in,
            "iat": now // 1000,
            "exp": now // 1000 + int(self.lifetime),
        }
        access = {
            "token_use": "access",
            "client_id": self._client_id,
            "scope": "aws.cognito.signin.user.admin",
            "username": identity_id,
        }
        identity = {
            "token_use": "id",
            "aud": self._client_id,
            "cognito:username": identity_id,
            "email": self.email(identity_id),
            "email_verified": True,
        }
        token, id_token = (self._signer.sign(both | {"jti": str(uuid.uuid4())} | own) for own in (access, identity))
        expires = now + int(self.lifetime * 1000)
        return {
            "ChallengeParameters": {},
            "AuthenticationResult": {
                "AccessToken": self._tokens.create("login", token=token, identity_id=identity_id, expires=expires),
                "ExpiresIn": int(self.lifetime),
                "IdToken": id_token,
                **more,
                "TokenType": "Bearer",
            },
        }


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_COST, r=8, p=1)


def _request(content_type: str, body: bytes) -> Mapping[str, Any]:
    if content_type != CONTENT_TYPE:
        raise CognitoError("SerializationException", f"Content-Type must be {CONTENT_TYPE}")
    try:
        return loads(body)
    except (ValueError, orjson.JSONDecodeError) as error:
        raise CognitoError("SerializationException", str(error)) from error


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if not value:
        raise CognitoError("InvalidParameterException", f"Missing required parameter {name}")
    if not isinstance(value, str):
        raise CognitoError("SerializationException", f"{name} must be a string")
    return value
