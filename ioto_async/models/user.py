"""Records of the User controller (reference, section 7), and what a sign-in answers."""

from datetime import datetime
from typing import Any

import attrs

from .account import Account
from .manager import Manager
from .record import Record

__all__ = ["Login", "NewAccount", "User"]


@attrs.define(kw_only=True)
class User(Record):
    """A user of an account."""

    account_id: str | None = None
    """Account that owns the user."""
    activity: datetime | None = None
    """Time of the last use."""
    cloud_id: str | None = None
    """Device cloud."""
    email: str | None = None
    """Login address."""
    first: str | None = None
    """Given name."""
    id: str
    """Key of the user."""
    last: str | None = None
    """Family name."""
    role: str | None = None
    """``user``, ``admin`` or ``owner``."""
    extra: dict[str, Any] = attrs.field(factory=dict)


@attrs.define(kw_only=True)
class Login(Record):
    """What ``user/login`` answers: who the caller is, and what an app needs to begin."""

    account: Account | None = None
    manager: Manager | None = None
    """The app itself."""
    roles: dict[str, Any] | None = None
    """Roles of the cloud; the members are not documented."""
    schema: dict[str, Any] | None = None
    """Schema of the device database."""
    user: User | None = None
    extra: dict[str, Any] = attrs.field(factory=dict)


@attrs.define(kw_only=True)
class NewAccount(Record):
    """What ``account/create`` made."""

    account: Account | None = None
    user: User | None = None
    """Its first user."""
    extra: dict[str, Any] = attrs.field(factory=dict)
