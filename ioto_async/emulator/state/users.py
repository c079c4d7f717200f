"""The users of a cloud and their invitations.

A user is a record of the cloud; who signs in with a password is an identity of `cognito`. The two come together when
an identity with the user's address calls user/login for the first time.
"""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import orjson

from ..request import CANNOT_FIND_USER, Refused
from ..wire import dumps, iso, new_ulid
from .accounts import Accounts, check_email
from .cognito import Cognito
from .models import cursor, paged
from .tokens import RANKS, Role

__all__ = ["User", "Users", "check_role"]

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS users (
    id TEXT PRIMARY KEY, account_id TEXT NOT NULL, email TEXT NOT NULL COLLATE NOCASE UNIQUE, role TEXT NOT NULL,
    first TEXT, last TEXT, preferences BLOB, activity INTEGER NOT NULL, identity_id TEXT UNIQUE, invite TEXT UNIQUE
) WITHOUT ROWID
"""
_SELECT: Final = (
    "SELECT id, account_id, email, role, first, last, preferences, activity, identity_id, invite FROM users"
)
_FIND: Final = (
    _SELECT + " WHERE (:account IS NULL OR account_id = :account) AND (:id IS NULL OR id = :id)"
    " AND (:email IS NULL OR email = :email)"
)
_FORWARD: Final = _FIND + " AND id > :position ORDER BY id"
_BACK: Final = _FIND + " AND id < :position ORDER BY id DESC"


def check_role(role: str) -> Role:
    """Return *role* if it is one that users have.

    Raises:
        Refused: 400 if not.
    """
    for rank in RANKS:
        if role == rank:
            return rank
    raise Refused(f'Bad value for "role": {role} is not user, admin or owner')


def _preferences(text: bytes | None) -> dict[str, Any] | None:
    return None if text is None else orjson.loads(text)


@attrs.frozen
class User:
    """A user; ``activity`` is in epoch milliseconds.

    ``identity_id`` is None until the first login, ``invite`` (the key of the invitation) if none was sent.
    """

    id: str
    account_id: str
    email: str
    role: Role
    first: str | None
    last: str | None
    preferences: dict[str, Any] | None = attrs.field(converter=_preferences)
    activity: int
    identity_id: str | None
    invite: str | None = attrs.field(repr=False)

    def record(self, cloud_id: str) -> dict[str, Any]:
        """Return what replies show (reference, section 7), with the preferences, which no table lists."""
        record = {
            "accountId": self.account_id,
            "activity": iso(self.activity),
            "cloudId": cloud_id,
            "email": self.email,
            "first": self.first,
            "id": self.id,
            "last": self.last,
            "preferences": self.preferences,
            "role": self.role,
        }
        return {name: value for name, value in record.items() if value is not None}


class Users:
    """The table of users. An address is one user's in the whole cloud, as it is what he signs in with.

    Args:
        db: the cloud's database.
        now: returns the time in epoch milliseconds.
        cloud_id: the cloud.
        accounts: the accounts of the cloud.
        identities: who signs in.
    """

    def __init__(
        self, db: sqlite3.Connection, now: Callable[[], int], cloud_id: str, accounts: Accounts, identities: Cognito
    ) -> None:
        self._db = db
        self._now = now
        self._cloud_id = cloud_id
        self._accounts = accounts
        self._identities = identities
        db.execute(_TABLE)

    def add(
        self,
        email: str,
        account_id: str,
        role: str,
        *,
        first: str | None = None,
        last: str | None = None,
        password: str | None = None,
        identity_id: str | None = None,
    ) -> User:
        """Add a user to an account, and with *password* an identity that signs in for the user.

        Raises:
            Refused: 400 if *email* is no address, or another user's, or if *role* is none of users.
        """
        rank = check_role(role)
        check_email(email)
        self._check_free(email)
        if password is not None:
            identity_id = self._identities.sign_up(email, password)
        now = self._now()
        id_ = new_ulid(now)
        self._db.execute(
            "INSERT INTO users (id, account_id, email, role, first, last, activity, identity_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (id_, account_id, email, rank, first, last, now, identity_id),
        )
        return self.load(id_)

    def open_account(self, name: str, email: str, *, identity_id: str | None = None) -> User:
        """Add an account and its first user, an owner.

        Raises:
            Refused: 400 if *email* is no address, or another user's, or if *name* is empty.
        """
        self._check_free(email)
        return self.add(email, self._accounts.add(name, email), "owner", identity_id=identity_id)

    def sign_up(self, email: str, password: str) -> str:
        """Add an identity and return its key; one for a user whose logins were made without a password is his.

        Raises:
            Refused: 400 if *email* is no address or signed up already, or if *password* is empty.
        """
        user = self.of_email(email)
        return self._identities.sign_up(email, password, id=user.identity_id if user else None)

    def sign_in(self, identity_id: str, *, invite: str | None, register: bool) -> User:
        """Return the user that *identity_id* signs in for: the one with its address, at first.

        Args:
            identity_id: who signed in.
            invite: the key of the user's invitation; None for none.
            register: whether one who is no user gets an account, as its owner.

        Raises:
            Refused: 400 if there is no such user or invitation.
        """
        email = self._identities.email(identity_id)
        user = self.of_identity(identity_id) or (self.of_email(email) if email else None)
        if invite is not None and (user is None or user.invite != invite):
            raise Refused("Cannot find invitation")
        if user is None:
            if email is None or not register:
                raise Refused(CANNOT_FIND_USER)
            return self.open_account(email, email, identity_id=identity_id)
        self.bind(user.id, identity_id)
        return self.load(user.id)

    def _check_free(self, email: str) -> None:
        if self._one("email", email):
            raise Refused("There is already a user with this email")

    def load(self, id: str, account_id: str | None = None) -> User:
        """Return a user of *account_id*, of any account for None.

        Raises:
            Refused: 400 if there is none; another account's user is not found either.
        """
        user = self._one("id", id)
        if user is None or account_id not in (None, user.account_id):
            raise Refused(CANNOT_FIND_USER)
        return user

    def of_identity(self, identity_id: str) -> User | None:
        """Return the user that *identity_id* signs in for, None if it is no user yet."""
        return self._one("identity_id", identity_id)

    def of_email(self, email: str) -> User | None:
        """Return the user with an address, in any case; None if there is none."""
        return self._one("email", email)

    def _one(self, column: str, value: str) -> User | None:
        row = self._db.execute(f"{_SELECT} WHERE {column} = ?", (value,)).fetchone()
        return User(*row) if row else None

    def of_account(self, account_id: str) -> list[User]:
        """Return the users of an account in the order of their keys."""
        return [User(*row) for row in self._db.execute(_SELECT + " WHERE account_id = ? ORDER BY id", (account_id,))]

    def find(
        self, query: Mapping[str, str], *, account_id: str | None, id: str | None = None, email: str | None = None
    ) -> dict[str, Any]:
        """Answer one page of users in the order of their keys; None narrows nothing."""
        position, back = cursor(query, "id")
        start = position[0] if position else ""
        rows = self._db.execute(
            _BACK if back else _FORWARD, {"account": account_id, "id": id, "email": email, "position": start}
        )
        return paged((({"id": row[0]}, User(*row).record(self._cloud_id)) for row in rows), query)

    def update(self, user: User, members: Mapping[str, Any]) -> None:
        """Change a user's own data: ``email``, ``first``, ``last`` and ``preferences``, where *members* have them.

        None removes what a user need not have. Another address is also what he signs in with from then on.

        Raises:
            Refused: 400 if the address is None, none, or another user's.
        """
        email = members.get("email", user.email)
        if email is None:
            raise Refused('Validation error in "User" for "email": required')
        if email != user.email:
            check_email(email)
            if email.lower() != user.email.lower():
                self._check_free(email)
            if user.identity_id is not None:
                self._identities.rename(user.identity_id, email)
        preferences = members.get("preferences", user.preferences)
        self._db.execute(
            "UPDATE users SET email = ?, first = ?, last = ?, preferences = ? WHERE id = ?",
            (
                email,
                members.get("first", user.first),
                members.get("last", user.last),
                None if preferences is None else dumps(preferences),
                user.id,
            ),
        )

    def set_role(self, id: str, role: Role) -> None:
        """Give a user another role, from his next call on."""
        self._db.execute("UPDATE users SET role = ? WHERE id = ?", (role, id))

    def bind(self, id: str, identity_id: str) -> None:
        """Let *identity_id* sign in for a user."""
        self._db.execute("UPDATE users SET identity_id = ? WHERE id = ?", (identity_id, id))

    def touch(self, id: str) -> None:
        """Note that a user called."""
        self._db.execute("UPDATE users SET activity = ? WHERE id = ?", (self._now(), id))

    def invite(self, id: str) -> None:
        """Note an invitation; a second one repeats the first, with the same key."""
        self._db.execute("UPDATE users SET invite = coalesce(invite, ?) WHERE id = ?", (new_ulid(self._now()), id))

    def invitations(self) -> dict[str, str]:
        """Return the keys of the invitations by the address that each was sent to."""
        return dict(self._db.execute("SELECT email, invite FROM users WHERE invite IS NOT NULL ORDER BY invite"))

    def remove(self, user: User) -> None:
        """Remove a user, the logins and the identity; the address may sign up again."""
        self._db.execute("DELETE FROM users WHERE id = ?", (user.id,))
        if user.identity_id is not None:
            self._identities.remove(user.identity_id)
