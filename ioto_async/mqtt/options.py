"""What a device link is told: its options and certificates, looked at."""

import importlib
import math
import re
from typing import Final

import attrs

from ..errors import InvalidArgumentError
from ..models import Certificates
from ..settings import is_number, must_be

__all__ = ["PORT", "LinkOptions", "checked", "need_aiomqtt"]

PORT: Final = 443
"""The agent's, where the certificates name none."""

_OF: Final = "DeviceLink"
_whole: Final = must_be("a whole number from 1", lambda value: type(value) is int and value >= 1, of=_OF)
_seconds: Final = must_be("seconds above 0", lambda value: is_number(value) and 0 < value < math.inf, of=_OF)


@attrs.frozen
class LinkOptions:
    """The numbers of a link; `DeviceLink` explains them."""

    window: int = attrs.field(
        validator=must_be(
            "a whole number from 1 to 10000", lambda value: type(value) is int and 0 < value <= 10**4, of=_OF
        )
    )
    patience: float = attrs.field(validator=_seconds)
    timeout: float = attrs.field(validator=_seconds)
    keepalive: int = attrs.field(
        validator=must_be("seconds from 30 to 1200", lambda value: type(value) is int and 30 <= value <= 1200, of=_OF)
    )
    backlog: int = attrs.field(validator=_whole)


def need_aiomqtt() -> None:
    """Raise ModuleNotFoundError where aiomqtt is not installed."""
    try:
        importlib.import_module("aiomqtt")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed, which a device link needs: pip install 'ioto-async[mqtt]'", name=error.name
        ) from None


def checked(certs: Certificates) -> Certificates:
    """*certs*, if a link can be made of them.

    Raises:
        InvalidArgumentError: they are not whole.
    """
    if not isinstance(certs, Certificates):
        raise InvalidArgumentError(f"{_OF}: certs: expected Certificates, got {type(certs).__name__}")
    for name in ("id", "certificate", "key", "endpoint"):
        value = getattr(certs, name)
        if not isinstance(value, str) or not value:
            raise InvalidArgumentError(f"{_OF}: certs: {name} is required")
    for name in ("id", "account_id"):
        value = getattr(certs, name)
        if value is not None and not re.fullmatch(r"[^/+#\s\x00]+", value):
            raise InvalidArgumentError(f"{_OF}: certs: {name}: expected a key without / + # and spaces, got {value!r}")
    if certs.port is not None and not (type(certs.port) is int and 0 < certs.port < 65536):
        raise InvalidArgumentError(f"{_OF}: certs: port: expected 1 to 65535, got {certs.port!r}")
    return certs
