"""Secrets, endpoints and headers; settings from the environment; checks of options and arguments."""

import functools
import ipaddress
import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, SupportsIndex, TypeAlias, TypeVar, overload

import attrs
from yarl import URL

from .errors import InvalidArgumentError

__all__ = [
    "BUILDER_URL",
    "UNITS",
    "Check",
    "Period",
    "Secret",
    "Settings",
    "check_headers",
    "check_names",
    "check_options",
    "check_origin",
    "check_password",
    "check_signed_url",
    "check_text",
    "check_token",
    "conceal",
    "flag",
    "function",
    "in_seconds",
    "instance_of",
    "is_loopback",
    "is_number",
    "masked",
    "must_be",
    "optional_secret",
    "or_none",
    "parse_endpoint",
    "period",
    "seconds",
    "secret",
    "secret_names",
    "secrets_in",
    "whole_number",
]

BUILDER_URL: Final = "https://api.admin.embedthis.com/api"
"""Base URL of the Builder (reference, section 1)."""

Options = TypeVar("Options", bound=attrs.AttrsInstance)
Value = TypeVar("Value")


# Secrets ----------------------------------------------------------------------------------------------------------


class Secret(str):
    """Text that nobody is to see by chance: a token, a password, a key, or a signed URL.

    It is usable as any text, by its value. Its repr is masked, and so is that of whatever holds it: a record, a list,
    the local variables that a traceback shows. A slice of it is one as well, as tools show the beginning of long text;
    what else is made of it is plain text.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')"

    def __getitem__(self, key: SupportsIndex | slice) -> "Secret":
        return Secret(super().__getitem__(key))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema  # by pydantic, which is not needed for anything else

        text = core_schema.str_schema()
        written = core_schema.plain_serializer_function_ser_schema(
            lambda value, info: masked(value, info.context),
            info_arg=True,
            return_schema=text,
            when_used="json-unless-none",
        )
        return core_schema.no_info_after_validator_function(cls, text, serialization=written)


def masked(value: Secret, context: Any) -> str:
    """What pydantic writes of a secret in JSON: its text if the *context* of the serialization asks for secrets."""
    return str(value) if isinstance(context, dict) and context.get("secrets") is True else "***"


@overload
def secret(value: str) -> Secret: ...
@overload
def secret(value: Value) -> Value: ...
def secret(value: object) -> object:
    """*value* as a `Secret` if it is text, else as it is, for a check to refuse it."""
    return Secret(value) if isinstance(value, str) else value


def optional_secret(value: str | None) -> Secret | None:
    """`secret`, as the converter of an attribute."""
    return secret(value)


def secrets_in(members: Mapping[str, Value], *more: str) -> dict[str, Value]:
    """A copy of *members* in which the text of those that are called like secrets, and of *more*, is a `Secret`."""
    return {
        name: secret(value) if name in more or (isinstance(name, str) and secret_names[name]) else value
        for name, value in members.items()
    }


_NAMES: Final = re.compile(r"token|password|passphrase|secret|private[-_]?key|api[-_]?key|authorization", re.IGNORECASE)
_DEPTH: Final = 8
"""Levels of a reply in which secrets are looked for."""


class _SecretNames(dict[str, bool]):
    """Whether a member is called like a secret; what has been looked at once is known, unless it is too much."""

    def __missing__(self, name: str) -> bool:
        found = _NAMES.search(name) is not None
        if len(self) < _KNOWN_NAMES and len(name) <= _LONGEST_KNOWN:
            self[name] = found
        return found


_KNOWN_NAMES: Final = 1024
_LONGEST_KNOWN: Final = 64
secret_names: Final[Mapping[str, bool]] = _SecretNames()
"""Whether a member of that name is a secret: ``secret_names["apiToken"]``."""


def conceal(value: Any, depth: int = _DEPTH) -> Any:
    """Make the text of secrets in the JSON *value* of a reply a `Secret`: what is called like one, and private keys.

    Args:
        value: JSON; its objects and arrays are changed.
        depth: levels that are looked at.
    """
    if type(value) is dict:
        for name, member in value.items():
            kind = type(member)
            if kind is str:
                if secret_names[name] or (member[:1] == "-" and _is_key(member)):
                    value[name] = Secret(member)
            elif (kind is dict or kind is list) and depth:
                if kind is list and secret_names[name]:
                    value[name] = [secret(each) for each in member]
                conceal(value[name], depth - 1)
    elif type(value) is list:
        for position, member in enumerate(value):
            if type(member) is str:
                value[position] = Secret(member) if _is_key(member) else member
            elif depth:
                conceal(member, depth - 1)
    elif type(value) is str and _is_key(value):
        return Secret(value)
    return value


def _is_key(text: str) -> bool:
    return text.startswith("-----BEGIN") and "PRIVATE KEY" in text[:64]


# Endpoints, tokens and headers ------------------------------------------------------------------------------------


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
    # Nothing shows the value: people paste tokens and passwords into URLs, and into the wrong argument.
    value = secret(value)
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{_expected(name)}, got {type(value).__name__}")
    url = _parsed(value, name, allow_http)
    if isinstance(url, str):
        raise InvalidArgumentError(url)
    return url


def _expected(name: str) -> str:
    return f"{name}: expected an absolute https URL such as https://host"


@functools.lru_cache(maxsize=256)  # every clone of a client has its endpoints parsed
def _parsed(value: str, name: str, allow_http: bool) -> URL | str:
    """The URL, or what is wrong with it: an error that is raised here would show it among its variables."""
    expected = _expected(name)
    if any(ord(char) <= 0x20 or ord(char) == 0x7F for char in value):
        return f"{name}: the URL holds white space or a control character"
    try:
        url = URL(value)
        host, port = url.host, url.port
        (url.raw_host or "").encode("idna")  # as the connection will
    except ValueError:
        return f"{expected}; this is no URL"
    if url.user is not None or url.password is not None:
        return f"{name}: user-info in the URL is not supported; use token or login"
    if url.scheme not in ("http", "https") or not host or not port:
        return expected
    if url.raw_query_string or url.raw_fragment or value.endswith(("?", "#")):
        return f"{name}: the URL must not have a query or a fragment"
    if url.scheme == "http" and not allow_http and not is_loopback(host):
        return f"{name}: {host} is not a loopback address: use https (in Python, allow_http=True sends tokens in clear)"
    path = url.raw_path.rstrip("/")
    if path.endswith("/tok"):
        return f"{name}: leave out /tok, the client adds it where the token needs it"
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
    value = secret(value)
    url = _parsed_signed(value, allow_http)
    if isinstance(url, str):
        raise InvalidArgumentError(url)
    return url


def _parsed_signed(value: str, allow_http: bool) -> URL | str:
    """The URL, or what is wrong with it; see `_parsed`."""
    try:
        url = URL(value, encoded=True)
        fits = value.isascii() and value.isprintable() and " " not in value and bool(url.host and url.port)
    except ValueError:
        fits = False
    if not fits or url.scheme not in ("http", "https") or url.raw_user is not None or url.raw_password is not None:
        return "expected an absolute https URL without user-info"
    if url.raw_fragment:
        return "the URL has a fragment"
    if url.scheme == "http" and not allow_http and not is_loopback(url.host or ""):
        return f"{url.host} is not a loopback address: expected https"
    return url


def is_loopback(host: str) -> bool:
    """Whether *host*, a name or an address, is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_token(value: object, name: str = "token") -> Secret:
    """Return *value* as a secret if it can be sent as a token; the error never shows it.

    Raises:
        InvalidArgumentError: not text, empty, or with white space, control or non-ASCII characters.
    """
    value = secret(value)
    if not isinstance(value, Secret):
        raise InvalidArgumentError(f"{name}: expected text, got {type(value).__name__}")
    if not value:
        raise InvalidArgumentError(f"{name}: is empty")
    if not all(0x21 <= ord(char) <= 0x7E for char in value):
        raise InvalidArgumentError(f"{name}: holds white space, a control character or a character beyond ASCII")
    return value


def check_text(name: str, value: object) -> str:
    """Return *value* if it can name an account, a user or the like.

    What has a line break at its end, as a file has, is refused like a token that has one, and not stripped: the service
    compares it as it is, and would find nothing.

    Args:
        name: of the argument, the variable or the option.
        value: what it is.

    Raises:
        InvalidArgumentError: not text, empty, with white space around it, or with characters that cannot be seen.
    """
    if not isinstance(value, str) or not value:
        raise InvalidArgumentError(f"{name}: expected a string that is not empty, got {value!r}")
    if value != value.strip():
        raise InvalidArgumentError(f"{name}: expected no white space around it, got {value!r}")
    if not value.isprintable():
        raise InvalidArgumentError(f"{name}: expected printable characters alone, got {value!r}")
    return value


def check_password(name: str, value: object) -> Secret:
    """Return *value* as a secret if it can be a password, exactly as it is; the error never shows it.

    Raises:
        InvalidArgumentError: not text, empty, or with white space around it, which Cognito takes in no password.
    """
    value = secret(value)
    if not isinstance(value, Secret) or not value:
        raise InvalidArgumentError(f"{name}: expected a string that is not empty")
    if value != value.strip():
        raise InvalidArgumentError(f"{name}: expected no white space around it")
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
    return secrets_in(headers)


# The environment --------------------------------------------------------------------------------------------------


_REPLAYED: Final = "https://replay.example"


@attrs.frozen
class Settings:
    """What the environment says; the names are the vendor's own."""

    api: str | None
    """``IOTO_API``: base URL of the device cloud."""
    token: str | None = attrs.field(converter=optional_secret)
    """``IOTO_TOKEN``: CloudAPI token."""
    account_id: str | None
    """``IOTO_ACCOUNT``: account that calls act for."""
    builder: str | None
    """``IOTO_BUILDER``: base URL of the Builder."""
    origin: str | None
    """``IOTO_HOST``: domain of the device app, sent as ``Origin`` with login tokens."""
    builder_token: str | None = attrs.field(converter=optional_secret)
    """``BUILDER_TOKEN``: BuilderAPI token."""
    cognito: str | None
    """``IOTO_COGNITO``: URL of the Cognito service that login tokens are from."""
    client_id: str | None
    """``IOTO_CLIENT_ID``: key of the app client there."""
    username: str | None
    """``IOTO_USERNAME``: user name."""
    password: str | None = attrs.field(converter=optional_secret)
    """``IOTO_PASSWORD``: password."""
    record: str | None
    """``IOTO_RECORD``: cassette that all requests are added to."""
    replay: str | None
    """``IOTO_REPLAY``: cassette that all replies come from."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read *environ*, or the environment of the process; a variable that is unset or empty gives None."""
        # No default argument: help() and generated documents would show all of it, secrets included.
        environ = os.environ if environ is None else environ
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
            "IOTO_RECORD",
            "IOTO_REPLAY",
        )
        found = cls(*(environ.get(name) or None for name in names))
        return found.for_replay() if found.replay is not None else found

    def for_replay(self) -> "Settings":
        """These, with an endpoint and a token where there are none: what comes from a cassette looks at neither."""
        token = "replay" if self.token is None and self.cognito is None else self.token
        return attrs.evolve(self, api=self.api or _REPLAYED, token=token)


# Options and arguments --------------------------------------------------------------------------------------------


@attrs.frozen
class Check:
    """What a value must be: a validator for the fields of attrs classes, and a `check` of one argument."""

    expected: str
    """What the value must be, in words."""
    fits: Callable[[Any], bool]
    """Whether a value is that."""
    of: str = ""
    """What the argument belongs to; the error begins with it."""

    def check(self, name: str, value: object) -> None:
        """Accept *value* for the argument *name*.

        Raises:
            InvalidArgumentError: it does not fit; the text says which argument, what is expected, and the value.
        """
        if not self.fits(value):
            owner = f"{self.of}: " if self.of else ""
            raise InvalidArgumentError(f"{owner}{name}: expected {self.expected}, got {value!r}")

    def __call__(self, instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        """Accept *value* for a field of *instance*; see `check`."""
        self.check(attribute.alias or attribute.name, value)


def must_be(expected: str, fits: Callable[[Any], bool], *, of: str = "") -> Check:
    """A check of one's own; see `Check` for the arguments."""
    return Check(expected, fits, of)


def or_none(check: Check) -> Check:
    """*check*, which None passes as well."""
    return Check(f"{check.expected}, or None", lambda value: value is None or check.fits(value), check.of)


def whole_number(least: int, most: int | None = None, *, of: str = "") -> Check:
    """An int from *least* to *most*, and no boolean."""
    if most is None:
        return Check(f"a whole number from {least}", lambda value: type(value) is int and value >= least, of)
    return Check(
        f"a whole number from {least} to {most}", lambda value: type(value) is int and least <= value <= most, of
    )


def seconds(*, above_zero: bool = False, of: str = "") -> Check:
    """A finite number from 0, or above it."""
    if above_zero:
        return Check("seconds above 0", lambda value: is_number(value) and 0 < value < math.inf, of)
    return Check("seconds from 0", lambda value: is_number(value) and 0 <= value < math.inf, of)


Period: TypeAlias = float | timedelta | str
"""A span of time: seconds, a `datetime.timedelta`, or text such as ``90s``, ``5m``, ``1.5h``, ``1d`` or ``4w``."""

UNITS: Final[Mapping[str, int]] = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
"""Seconds of the units of a period, the longest first."""
_PERIOD: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw])")


def in_seconds(value: Period) -> float:
    """Seconds of a `Period`; what is none, or not above 0, is left as it is for a check to refuse: see `period`."""
    if isinstance(value, timedelta):
        length = value.total_seconds()
    elif isinstance(value, str) and (match := _PERIOD.fullmatch(value)):
        length = float(match[1]) * UNITS[match[2]]
    else:
        length = 0.0
    if not 0 < length < math.inf:
        return value  # type: ignore[return-value]
    return int(length) if length.is_integer() else length


def period(*, above_zero: bool = True, of: str = "") -> Check:
    """What `in_seconds` has made of a `Period`; without *above_zero* any number, as the service takes it."""
    others = "a timedelta, or text such as 90s, 5m, 1h or 1d"
    if above_zero:
        return Check(f"seconds above 0, {others}", lambda value: is_number(value) and 0 < value < math.inf, of)
    return Check(f"seconds, {others}", is_number, of)


def flag(*, of: str = "") -> Check:
    """True or False, and nothing that only counts as one of them."""
    return Check("True or False", lambda value: isinstance(value, bool), of)


def function(*, of: str = "") -> Check:
    """Anything that can be called."""
    return Check("a callable", callable, of)


def instance_of(kind: type, *, of: str = "") -> Check:
    """An instance of *kind*, or of a subclass."""
    return Check(f"an instance of {kind.__name__}", lambda value: isinstance(value, kind), of)


def is_number(value: object) -> bool:
    """Whether *value* is an int or a float, and no boolean."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_names(given: Iterable[str], expected: Collection[str], *, of: str = "") -> None:
    """Accept the options *given*, if all of them are among those *expected*.

    Args:
        given: names of options.
        expected: the names that there are, in the order in which an error lists them.
        of: what the options belong to; the error begins with it.

    Raises:
        InvalidArgumentError: there is no such option.
    """
    for name in given:
        if name not in expected:
            owner = f"{of}: " if of else ""
            raise InvalidArgumentError(f"{owner}unknown option {name!r}: expected one of {', '.join(expected)}")


def check_options(cls: type[Options], given: Mapping[str, Any]) -> Options:
    """Make an instance of the attrs class *cls* from the options *given*.

    This is how ``**options: Unpack[SomeOptions]`` are checked. The TypedDict is what users see and documents each
    option; the attrs class beside it has the default and the check of each.

    Raises:
        InvalidArgumentError: there is no such option, or one does not fit.
    """
    check_names(given, _names(cls))
    return cls(**given)


@functools.cache
def _names(cls: type[attrs.AttrsInstance]) -> tuple[str, ...]:
    return tuple(field.alias or field.name for field in attrs.fields(cls) if field.init)
