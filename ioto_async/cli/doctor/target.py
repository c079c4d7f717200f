"""The settings that a check is about, and where each of them came from."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import attrs
from yarl import URL

from ...errors import InvalidArgumentError
from ...models import JSON
from ...settings import BUILDER_URL, Secret, parse_endpoint, secret
from ...transport.proxies import concealed

__all__ = ["Setting", "Target"]

_DEFAULT: Final = "default"


@attrs.frozen
class Setting:
    """A setting, and where it came from."""

    value: Secret | None = None
    """None if it is not set."""
    source: str | None = None
    """The flag or the variable that it is from, or ``default``; None if it is not set."""
    shown: str | None = None
    """The value, or of a secret, or of what may hold one, its length."""

    def to_dict(self) -> dict[str, JSON]:
        """The setting as JSON, without secrets."""
        return {"value": self.shown, "source": self.source}


_VARIABLES: Final[Mapping[str, str]] = {
    "api": "IOTO_API",
    "token": "IOTO_TOKEN",
    "account": "IOTO_ACCOUNT",
    "cognito": "IOTO_COGNITO",
    "client_id": "IOTO_CLIENT_ID",
    "username": "IOTO_USERNAME",
    "password": "IOTO_PASSWORD",
    "origin": "IOTO_HOST",
    "builder": "IOTO_BUILDER",
    "builder_token": "BUILDER_TOKEN",
    "product": "IOTO_PRODUCT",
    "mqtt_host": "IOTO_MQTT_HOST",
    "mqtt_port": "IOTO_MQTT_PORT",
}
"""The settings in the order in which they are shown, and the variable of each."""
_FLAGS: Final[Mapping[str, str]] = {"api": "--api", "account": "--account", "product": "--product"}
"""The flags of those that have one; secrets have none, as command lines are seen by others."""
_SECRETS: Final = ("token", "password", "builder_token", "product")
_SHORTEST: Final = 4
"""Characters of a secret that is looked for in texts."""
_URLS: Final = ("api", "cognito", "builder")


@attrs.frozen(kw_only=True)
class Target:
    """A cloud as it is configured."""

    settings: Mapping[str, Setting]
    """By name."""
    environ: Mapping[str, str] = attrs.field(repr=False)
    """The environment for a client, the flags included."""
    certs: Path | None = None
    """Folder of a device as ``fleet provision`` has written it; None to check no connection of a device."""
    device: str | None = None
    """ID of the device, where `certs` is the folder of a fleet."""
    proxy: str | URL | None = attrs.field(default=None, repr=False)
    """Proxy for all connections; None for what the environment says."""

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        api: str | None = None,
        account: str | None = None,
        product: str | None = None,
        certs: Path | None = None,
        device: str | None = None,
        proxy: str | URL | None = None,
    ) -> Self:
        """Read the settings.

        Args:
            environ: the variables; those of the process by default. An empty one counts as not set.
            api: base URL of the device cloud, instead of ``IOTO_API``.
            account: account, instead of ``IOTO_ACCOUNT``.
            product: product token, instead of ``IOTO_PRODUCT``.
            certs: see the class.
            device: see the class.
            proxy: see the class.
        """
        api, product, proxy = secret(api), secret(product), concealed(proxy)  # tracebacks may show these variables
        given = {"api": api, "account": account, "product": product}
        variables = {
            name: secret(value) for name, value in (os.environ if environ is None else environ).items() if value
        }
        variables |= {_VARIABLES[name]: secret(value) for name, value in given.items() if value is not None}
        settings: dict[str, Setting] = {}
        for name, variable in _VARIABLES.items():
            value = variables.get(variable)
            if value is not None:
                source = _FLAGS[name] if given.get(name) is not None else variable
                settings[name] = Setting(value, source, _shown(name, value))
            elif name == "builder":
                settings[name] = Setting(Secret(BUILDER_URL), _DEFAULT, BUILDER_URL)
            else:
                settings[name] = Setting()
        return cls(settings=settings, environ=variables, certs=certs, device=device, proxy=proxy)

    def __getitem__(self, name: str) -> Secret | None:
        """The value of a setting; None if it is not set."""
        return self.settings[name].value

    def is_default(self, name: str) -> bool:
        """Whether a setting has its default."""
        return self.settings[name].source == _DEFAULT

    def named(self, name: str) -> str:
        """What to call a setting: where it came from, or if it is not set, its variable and its flag."""
        source = self.settings[name].source
        if source is not None and source != _DEFAULT:
            return source
        flag = _FLAGS.get(name)
        return _VARIABLES[name] if flag is None else f"{_VARIABLES[name]} (or {flag})"

    def mask(self, text: str) -> str:
        """*text* without the secrets of the settings, should a service or a mistake have put one there."""
        secrets = {self.settings[name].value for name in _SECRETS}
        for value in sorted((value for value in secrets if value and len(value) >= _SHORTEST), key=len, reverse=True):
            text = text.replace(value, "***")
        return text


def _shown(name: str, value: Secret) -> str:
    if name in _URLS:
        try:
            return str(parse_endpoint(value, allow_http=True)).rstrip("/")
        except InvalidArgumentError:
            pass  # people paste tokens into URLs, and into the wrong variable
    elif name not in _SECRETS:
        return str(value)
    return f"{len(value)} character{'s' * (len(value) != 1)}"
