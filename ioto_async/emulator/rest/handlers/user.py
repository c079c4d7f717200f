"""The ``user`` controller of a device cloud (reference, section 11).

A login sees the users of its own account alone; others are not found. An admin cannot change a user of a higher role,
and no caller can assign a role above its own.
"""

from typing import Any, Final

from ...request import AUTHENTICATION_FAILED, CANNOT_FIND_USER, Call, Refused
from ...state.cloud import Cloud
from ...state.users import User, check_role
from ..scope import named_account

# What only the account that has the app may know of it; `manager/get` needs an admin of that account, too.
_NOT_FOR_ALL: Final = ("accountId", "owner", "users", "certArn", "cloudFront", "distributionId", "error")


def _named(cloud: Cloud, call: Call, *members: str) -> User:
    """Return the user that all of *members* in the body name, in an account that the caller may see.

    Raises:
        Refused: none of them is in the body, or there is no such user.
    """
    account_id = named_account(cloud, call)
    wanted = {name: call.body[name] for name in members if call.body.get(name)}
    if not wanted:
        raise Refused(f"Missing {' or '.join(members)}")
    found = cloud.users.find({}, account_id=account_id, id=wanted.get("id"), email=wanted.get("email"))["data"]
    if not found:
        raise Refused(CANNOT_FIND_USER)
    return cloud.users.load(found[0]["id"])


def _check_rank(call: Call, role: str) -> None:
    """Refuse a caller who has not all that *role* has; a CloudAPI token has."""
    if role not in call.caller.roles:
        raise Refused(f"role {role} is above the caller's own", 403)


def create(cloud: Cloud, call: Call) -> object:
    """Add a user; the first sign-in with this address binds an identity to it."""
    account_id = named_account(cloud, call) or cloud.account_id
    _check_rank(call, check_role(call.body["role"]))
    user_id = cloud.add_user(call.body["email"], role=check_role(call.body["role"]), account_id=account_id)
    return _invited(cloud, call, user_id)


def _invited(cloud: Cloud, call: Call, user_id: str) -> dict[str, Any]:
    if call.body.get("sendInvite"):
        cloud.users.invite(user_id)
    return cloud.users.load(user_id).record(cloud.id)


def find(cloud: Cloud, call: Call) -> object:
    """List users in the order of their keys, 100 a page unless ``limit`` says otherwise."""
    return cloud.users.find(
        call.query, account_id=named_account(cloud, call), id=call.body.get("id"), email=call.body.get("email")
    )


def get(cloud: Cloud, call: Call) -> object:
    """Return the user with this ``id`` and ``email``, with neither the caller himself."""
    id_, email = call.body.get("id"), call.body.get("email")
    if not id_ and not email:
        id_ = call.caller.user_id
    if not id_ and not email:
        raise Refused("Missing id or email")
    page = cloud.users.find({}, account_id=named_account(cloud, call), id=id_, email=email)
    return page["data"][0] if page["data"] else {}


def get_roles(cloud: Cloud, call: Call) -> object:
    """Return the capabilities of each role of a user and of the tokens."""
    return list(cloud.roles) if cloud.otherwise("A39") else cloud.roles


def login(cloud: Cloud, call: Call) -> object:
    """Answer what a device app needs after the sign-in.

    An identity that is no user yet becomes the one that was made for its address; else it gets an account of its own,
    as its owner, unless ``register`` is false.
    """
    caller = call.caller
    if caller.identity_id is None:
        # A token that is not of a login may be good elsewhere, so that asking for another is of no use.
        failed = AUTHENTICATION_FAILED if caller.kind == "public" else "user/login needs a login access token"
        raise Refused(failed, 403)
    register = call.body.get("register") is not False
    user = cloud.users.sign_in(caller.identity_id, invite=call.body.get("invite") or None, register=register)
    return {
        "account": cloud.accounts.load(user.account_id).record(cloud.id),
        "manager": _manager(cloud, user),
        "roles": cloud.roles,
        "schema": cloud.models.schema,
        "user": user.record(cloud.id),
    }


def _manager(cloud: Cloud, user: User) -> dict[str, Any]:
    manager = cloud.managers.get() or {}
    own = manager.get("accountId") == user.account_id
    return {name: value for name, value in manager.items() if own or name not in _NOT_FOR_ALL}


def remove(cloud: Cloud, call: Call) -> object:
    """Remove a user; his logins end."""
    user = _named(cloud, call, "id", "email")
    _check_rank(call, user.role)
    cloud.users.remove(user)
    return None


def update(cloud: Cloud, call: Call) -> object:
    """Change a user's own data, without ``id`` the caller's."""
    body, caller = call.body, call.caller
    own = caller.user_id if not body.get("id") else None
    user = cloud.users.load(own) if own else _named(cloud, call, "id")
    if user.id != caller.user_id:
        if "admin" not in caller.roles:
            raise Refused("Access denied", 403)
        _check_rank(call, user.role)
    cloud.users.update(user, body)
    return cloud.users.load(user.id).record(cloud.id)


def update_role(cloud: Cloud, call: Call) -> object:
    """Give a user another ``role``, and send the invitation once more if told to."""
    user = _named(cloud, call, "id")
    _check_rank(call, user.role)
    if "role" in call.body:
        role = check_role(call.body["role"])
        _check_rank(call, role)
        cloud.users.set_role(user.id, role)
    return _invited(cloud, call, user.id)
