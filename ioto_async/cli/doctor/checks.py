"""The checks, in the order in which they are made."""

from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from .builder import check_builder
from .credentials import check_account, check_role, check_token
from .endpoint import check_endpoint, check_proxy
from .found import Found
from .mqtt import check_mqtt
from .network import check_dns, check_tcp, check_tls
from .results import CheckResult
from .service import check_clock, check_service
from .sign_in import check_sign_in
from .versions import check_versions

__all__ = ["CHECKS", "Check"]


@attrs.frozen
class Check:
    """A check."""

    name: str
    make: Callable[[Found], Awaitable[CheckResult]]
    needs: tuple[str, ...] = ()
    """The checks without which this one cannot be made: if one of them fails, it is skipped."""


CHECKS: Final = (
    Check("versions", check_versions),
    Check("endpoint", check_endpoint),
    Check("proxy", check_proxy, ("endpoint",)),
    Check("dns", check_dns, ("proxy",)),
    Check("tcp", check_tcp, ("dns",)),
    Check("tls", check_tls, ("tcp",)),
    Check("service", check_service, ("tls",)),
    Check("clock", check_clock, ("service",)),
    Check("sign-in", check_sign_in, ("endpoint",)),
    Check("token", check_token, ("service", "sign-in")),
    Check("role", check_role, ("token",)),
    Check("account", check_account, ("token",)),
    Check("builder", check_builder),
    Check("mqtt", check_mqtt),
)
