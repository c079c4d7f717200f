"""Records of the Manager controller: device apps (reference, section 7)."""

from datetime import datetime
from typing import Any

import attrs

from .record import Record

__all__ = ["Manager"]


@attrs.define(kw_only=True)
class Manager(Record):
    """A device manager: the app through which users see their devices."""

    account_id: str | None = None
    cert_arn: str | None = None
    """ARN of the TLS certificate."""
    cloud_front: str | None = None
    """Key in the content delivery network."""
    cloud_id: str | None = None
    """Device cloud."""
    custom: bool | None = None
    """Whether the domain is the account's own."""
    distribution_id: str | None = None
    """Distribution of the content delivery network."""
    domain: str | None = None
    error: str | None = None
    """Text of the last failure."""
    id: str
    name: str | None = None
    owner: str | None = None
    """Account of the owner; in an update the owner's e-mail address."""
    prior_domain: str | None = None
    provisioned: datetime | None = None
    """Time of the last provisioning."""
    region: str | None = None
    """AWS region."""
    title: str | None = None
    type: str | None = None
    users: list[Any] | None = None
    """Who may use the app."""
    version: str | None = None
    extra: dict[str, Any] = attrs.field(factory=dict)
