"""Endpoints, tokens and settings from the environment, validated."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import InvalidArgumentError

if TYPE_CHECKING:
    import attrs

import ipaddress
import os
from collections.abc import Mapping
from typing import Final

import attrs
from yarl import URL

__all__ = [
    "BUILDER_URL",
    "Settings",
    "check_account",
    "check_headers",
    "check_origin",
    "check_signed_url",
    "check_token",
    "is_number",
    "must_be",
    "parse_endpoint",
]


def must_be(
    expected: str, fits: Callable[[Any], bool], *, of: str = ""
) -> Callable[[object, "attrs.Attribute[Any]", object], None]:
    """An attrs validator that raises `InvalidArgumentError`, naming attribute and value, unless the value *fits*.

    Args:
        expected: what the value must be, in words.
        fits: whether a value is that.
        of: what the attribute belongs to, for the error.
    """

    def validate(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if not fits(value):
            owner = f"{of}: " if of else ""
            raise InvalidArgumentError(f"{owner}{attribute.name}: expected {expected}, got {value!r}")

    return validate


def is_number(value: object) -> bool:
    """Whether *value* is an int or a float, and no boolean."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


BUILDER_URL: Final = "https://api.admin.embedthis.com/api"
"""Base URL of the Builder (reference, section 1)."""


@attrs.frozen
class Settings:
    """What the environment says; the names are the vendor's own."""

    api: str | None
    """``IOTO_API``: base URL of the device cloud."""
    token: str | None = attrs.field(repr=False)
    """``IOTO_TOKEN``: CloudAPI token."""
    account_id: str | None
    """``IOTO_ACCOUNT``: account that calls act for."""
    builder: str | None
    """``IOTO_BUILDER``: base URL of the Builder."""
    origin: str | None
    """``IOTO_HOST``: domain of the device app, sent as ``Origin`` with login tokens."""
    builder_token: str | None = attrs.field(repr=False)
    """``BUILDER_TOKEN``: BuilderAPI token."""
    cognito: str | None
    """``IOTO_COGNITO``: URL of the Cognito service that login tokens are from."""
    client_id: str | None
    """``IOTO_CLIENT_ID``: key of the app client there."""
    username: str | None
    """``IOTO_USERNAME``: user name."""
    password: str | None = attrs.field(repr=False)
    """``IOTO_PASSWORD``: password."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read *environ*; a variable that is unset or empty gives None."""
        names = (
            "IOTO_API",
            "IOTO_TOKEN",
            "IOTO_ACCOUNT",
            "IOTO_BUILDER",
            "IOTO_HOST",
            "BUILDER_TOKEN",
            "IOTO_COGNITO",
            "IOTO_CLIENT_ID",
            "IOTO_USERNAME",
            "IOTO_PASSWORD",
        )
        return cls(*(environ.get(name) or None for name in names))


def parse_endpoint(value: str, *, name: str = "api", allow_http: bool = False) -> URL:
    """Return the base URL *value* without a trailing slash.

    A path is kept and goes in front of every operation's path (the Builder's is ``/api``).

    Args:
        value: the URL as configured.
        name: what to call it in an error.
        allow_http: accept plain http for a host that is not loopback.

    Raises:
        InvalidArgumentError: no absolute http(s) URL; http beyond loopback; user-info, query or fragment; a path
            that ends in ``/tok``, which the client adds by itself.
    """
    # No text shows the value: people paste tokens and passwords into URLs, and into the wrong argument.
    expected = f"{name}: expected an absolute https URL such as https://host"
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{expected}, got {type(value).__name__}")
    if any(ord(char) <= 0x20 or ord(char) == 0x7F for char in value):
        raise InvalidArgumentError(f"{name}: the URL holds white space or a control character")
    try:
        url = URL(value)
        host, port = url.host, url.port
        (url.raw_host or "").encode("idna")  # as the connection will
    except ValueError:
        raise InvalidArgumentError(f"{expected}; this is no URL") from None
    if url.user is not None or url.password is not None:
        raise InvalidArgumentError(f"{name}: user-info in the URL is not supported; use token or login")
    if url.scheme not in ("http", "https") or not host or not port:
        raise InvalidArgumentError(expected)
    if url.raw_query_string or url.raw_fragment or value.endswith(("?", "#")):
        raise InvalidArgumentError(f"{name}: the URL must not have a query or a fragment")
    if url.scheme == "http" and not allow_http and not _is_loopback(host):
        raise InvalidArgumentError(
            f"{name}: {host} is not a loopback address: use https, or allow_http=True to send tokens in clear"
        )
    path = url.raw_path.rstrip("/")
    if path.endswith("/tok"):
        raise InvalidArgumentError(f"{name}: leave out /tok, the client adds it where the token needs it")
    return url.with_path(path or "/", encoded=True)


def check_signed_url(value: str, *, allow_http: bool = False) -> URL:
    """Return the URL *value*, that a service has given to transfer one file with, exactly as it is.

    Args:
        value: the URL; a signature may cover its every character.
        allow_http: accept plain http for a host that is not loopback.

    Raises:
        InvalidArgumentError: no absolute http(s) URL; http beyond loopback; user-info or fragment. The text does not
            show it: whoever has the URL can use it.
    """
    try:
        url = URL(value, encoded=True)
        fits = value.isascii() and value.isprintable() and " " not in value and bool(url.host and url.port)
    except ValueError:
        fits = False
    if not fits or url.scheme not in ("http", "https") or url.raw_user is not None or url.raw_password is not None:
        raise InvalidArgumentError("expected an absolute https URL without user-info")
    if url.raw_fragment:
        raise InvalidArgumentError("the URL has a fragment")
    if url.scheme == "http" and not allow_http and not _is_loopback(url.host or ""):
        raise InvalidArgumentError(f"{url.host} is not a loopback address: expected https")
    return url


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_token(value: object, name: str = "token") -> str:
    """Return *value* if it can be sent as a token; the error never shows it.

    Raises:
        InvalidArgumentError: not text, empty, or with white space, control or non-ASCII characters.
    """
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{name}: expected text, got {type(value).__name__}")
    if not value:
        raise InvalidArgumentError(f"{name}: is empty")
    if not all(0x21 <= ord(char) <= 0x7E for char in value):
        raise InvalidArgumentError(f"{name}: holds white space, a control character or a character beyond ASCII")
    return value


def check_account(value: object) -> str | None:
    """Return *value* if it can name an account: text that is not empty, or None.

    Raises:
        InvalidArgumentError: it cannot.
    """
    if value is not None and (not isinstance(value, str) or not value):
        raise InvalidArgumentError(f"account_id: expected a string that is not empty, got {value!r}")
    return value


def check_origin(value: object) -> str:
    """Return *value* if it can be sent as ``Origin``: a domain such as ``app.ioto.me``, or a URL of one.

    Raises:
        InvalidArgumentError: not text, empty, or with white space or control characters.
    """
    if not isinstance(value, str) or not value or not all(0x21 <= ord(char) <= 0x7E for char in value):
        raise InvalidArgumentError(f"origin: expected the domain of the device app, got {value!r}")
    return value


_OURS = frozenset({"authorization", "content-length", "content-type", "host", "origin", "transfer-encoding", "x-token"})


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of *headers* if they may travel beside the client's own.

    Raises:
        InvalidArgumentError: a name or value that is no header text, or a header that the client sets itself.
    """
    if not isinstance(headers, Mapping):
        raise InvalidArgumentError(f"headers: expected a mapping, got {type(headers).__name__}")
    for name, value in headers.items():
        if not isinstance(name, str) or not name or not all(0x21 <= ord(c) <= 0x7E and c != ":" for c in name):
            raise InvalidArgumentError(f"headers: {name!r} is not a header name")
        if name.lower() in _OURS:
            raise InvalidArgumentError(f"headers: {name} is set by the client itself")
        if not isinstance(value, str) or any(
            (ord(c) < 0x20 and c != "\t") or ord(c) == 0x7F or 0xD800 <= ord(c) < 0xE000 for c in value
        ):
            raise InvalidArgumentError(f"headers: the value of {name} is not text, or holds a control character")
    return dict(headers)
