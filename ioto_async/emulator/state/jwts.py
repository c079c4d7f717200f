"""The signed tokens of a sign-in (JWT, RFC 7519) and the keys that verify them (JWKS, RFC 7517), as in Cognito."""

import base64
import functools
import hashlib
import sqlite3
from collections.abc import Mapping
from typing import Any, Final, cast

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ..wire import dumps
from .storage import load_settings, save_settings

__all__ = ["PART", "JwtSigner"]

PART: Final = "jwt"
"""The part of the settings that has the key."""
_ALGORITHM: Final = "RS256"


class JwtSigner:
    """Signs tokens with a key that is made for the first of them, and kept in the database.

    Args:
        db: the cloud's database.
        number: which cloud of this process it is; each has a key of its own.
    """

    def __init__(self, db: sqlite3.Connection, number: int) -> None:
        self._db = db
        self._number = number

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a token that says *claims*."""
        header = {"kid": self._public["kid"], "alg": _ALGORITHM}
        signed = f"{_base64(dumps(header))}.{_base64(dumps(claims))}"
        return f"{signed}.{_base64(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def jwks(self) -> dict[str, Any]:
        """Return the set of public keys (RFC 7517, section 5)."""
        return {"keys": [self._public]}

    @functools.cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        pem = load_settings(self._db, PART).get("key")
        if pem is None:
            pem = _generate_key(self._number)
            save_settings(self._db, PART, {"key": pem})
        # It was made here, and checking it takes half as long as making it.
        key = serialization.load_pem_private_key(pem.encode(), password=None, unsafe_skip_rsa_key_validation=True)
        return cast("rsa.RSAPrivateKey", key)

    @functools.cached_property
    def _public(self) -> dict[str, str]:
        numbers = self._key.public_key().public_numbers()
        members = {"e": _base64_of(numbers.e), "kty": "RSA", "n": _base64_of(numbers.n)}
        # The thumbprint of the key (RFC 7638): its required members, in the order of their names.
        return {"alg": _ALGORITHM, **members, "kid": _base64(hashlib.sha256(dumps(members)).digest()), "use": "sig"}


@functools.cache
def _generate_key(number: int) -> str:
    """Make a key for the cloud *number* of each emulator in this process, as it takes tenths of a second: PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, pkcs8, serialization.NoEncryption()).decode()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _base64_of(number: int) -> str:
    return _base64(number.to_bytes((number.bit_length() + 7) // 8))
