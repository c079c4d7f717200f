"""The Dashboard controller: pages of widgets (reference, section 11)."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from ..codec import decoding
from ..codec.encoding import OMIT, Omit, given
from ..errors import InvalidArgumentError
from ..models import Dashboard, Range, Widget
from ..operations import IOTO, Operation
from ..settings import Period, in_seconds
from ..transport.options import CallOptions
from .base import Controller, need_one
from .paging import Paged

__all__ = ["DashboardController", "DashboardMembers"]

_DASHBOARD = decoding.record(Dashboard)
_FOUND = decoding.record(Dashboard, must_exist=True)
_DASHBOARDS = decoding.paged(Dashboard, may_be_one=True)


class DashboardMembers(CallOptions, total=False):
    """The members of a dashboard that can be set, and the options of the call.

    ``css``: style rules. ``emulate``: type of device to pretend to be. ``fixed``: lock it at run time. ``framed``:
    frame its widgets. ``layout``: layout engine. ``live``: show data as they come. ``range``: span of time, a `Range`
    or a mapping with names as on the wire. ``refresh``: seconds between two updates, a `datetime.timedelta`, or text
    such as ``"1m"``. ``toolbar``: show a toolbar. ``type``: ``page`` or ``dashboard``. ``widgets``: each a `Widget`, or
    a mapping with names as on the wire. ``widget_css``: style rules that widgets begin with.
    """

    css: Sequence[object] | Omit | None
    emulate: str | Omit | None
    fixed: bool | Omit | None
    framed: bool | Omit | None
    layout: str | Omit | None
    live: bool | Omit | None
    range: Range | Mapping[str, object] | Omit | None
    refresh: Period | Omit | None
    toolbar: bool | Omit | None
    type: str | Omit | None
    widgets: Sequence[Widget | Mapping[str, object]] | Omit | None
    widget_css: Sequence[object] | Omit | None


class DashboardController(Controller):
    """Dashboards. Source: the vendor's bundle, page ``dashboard``."""

    async def create(
        self, name: str, *, account_id: str | None = None, **members: Unpack[DashboardMembers]
    ) -> Dashboard:
        """Make a dashboard. It is never sent twice without you saying so.

        Args:
            name: its name.
            account_id: account that will own it; the client's by default.
            members: see `DashboardMembers`.

        Raises:
            OutcomeUnknownError: it was sent, and whether the dashboard was made is not known.
        """
        operation = IOTO["dashboard/create"]
        look, options = _split(operation, members)
        body = given(look) | {"name": name, "accountId": self._account(account_id)}
        return await self._transport.call(operation, _DASHBOARD, body, options)

    def find(self, *, account_id: str | None = None, **options: Unpack[CallOptions]) -> Paged[Dashboard]:
        """Find dashboards; await for one page, ``async for`` for all.

        Args:
            account_id: account that owns them; the client's by default.
        """
        body = {"accountId": self._account(account_id)}
        return self._find(IOTO["dashboard/find"], _DASHBOARDS, body, options)

    async def get(
        self,
        id: str | None = None,
        *,
        name: str | None = None,
        account_id: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Dashboard:
        """Get one dashboard, by *id* or *name*.

        Args:
            id: key of the dashboard.
            name: its name.
            account_id: account that owns it; the client's by default.

        Raises:
            NotFoundError: there is none.
        """
        operation = IOTO["dashboard/get"]
        need_one(operation, id=id, name=name)
        body = {"id": id, "name": name, "accountId": self._account(account_id)}
        return await self._transport.call(operation, _FOUND, body, options)

    async def remove(self, id: str, *, account_id: str | None = None, **options: Unpack[CallOptions]) -> None:
        """Remove a dashboard.

        Args:
            id: key of the dashboard.
            account_id: account that owns it; the client's by default.
        """
        operation = IOTO["dashboard/remove"]
        need_one(operation, id=id)
        body = {"id": id, "accountId": self._account(account_id)}
        await self._transport.call(operation, decoding.nothing, body, options)

    async def update(
        self,
        id: str,
        *,
        name: str | Omit | None = OMIT,
        account_id: str | None = None,
        **members: Unpack[DashboardMembers],
    ) -> Dashboard:
        """Change a dashboard; what is left out stays as it is, and None clears it.

        Args:
            id: key of the dashboard.
            name: new name.
            account_id: account that owns it; the client's by default.
            members: see `DashboardMembers`.
        """
        operation = IOTO["dashboard/update"]
        changes, options = _split(operation, members)
        named = {"id": id, "accountId": self._account(account_id)}
        return await self._update(operation, _DASHBOARD, named, {"name": name, **changes}, options)


def _split(operation: Operation, members: DashboardMembers) -> tuple[dict[str, object], CallOptions]:
    """*members* by wire name, and the options among them.

    Raises:
        InvalidArgumentError: a name that is neither; widgets that are none.
    """
    rest: dict[str, Any] = dict(members)
    if unknown := rest.keys() - DashboardMembers.__annotations__.keys():
        raise InvalidArgumentError(f"{operation.name}: a dashboard has no member {min(unknown)!r} to set")
    options: Any = {name: rest.pop(name) for name in CallOptions.__annotations__ if name in rest}
    if rest.get("refresh") is not None:
        rest["refresh"] = in_seconds(rest["refresh"])
    widgets = rest.get("widgets")
    if isinstance(widgets, (list, tuple)):
        for position, widget in enumerate(widgets):
            if not isinstance(widget, (Widget, Mapping)):
                given = type(widget).__name__
                raise InvalidArgumentError(
                    f"{operation.name}: widgets[{position}]: expected a Widget or a mapping, got {given}"
                )
    if "widget_css" in rest:
        rest["widgetCss"] = rest.pop("widget_css")
    return rest, options
