"""The Action controller: automations (reference, section 11)."""

from collections.abc import Mapping
from typing import Unpack

from ..codec import decoding
from ..models import Action, ActionResult, Cursor
from ..operations import IOTO
from ..transport.options import CallOptions
from .base import Controller, need_one
from .paging import Paged

__all__ = ["ActionController"]

_ACTION = decoding.record(Action, must_exist=True)
_ACTIONS = decoding.paged(Action)
_RESULT = decoding.result(ActionResult, may_be_empty=True)


class ActionController(Controller):
    """Automations of the cloud. Source: the vendor's page ``ioto/ref/action``."""

    def find(
        self,
        cloud_id: str,
        *,
        type: str | None = None,
        index: str | None = None,
        limit: int | None = None,
        next: Cursor | None = None,
        prev: Cursor | None = None,
        **options: Unpack[CallOptions],
    ) -> Paged[Action]:
        """Find automations; await for one page, ``async for`` for all.

        Args:
            cloud_id: device cloud.
            type: only automations of this type.
            index: ``primary`` or ``gs1``; for owners.
            limit: automations in a page.
            next: cursor of a page to begin with.
            prev: cursor of a page to begin with; given alone, pages are read backward.
        """
        body = {"cloudId": cloud_id, "type": type}
        return self._find(IOTO["action/find"], _ACTIONS, body, options, index=index, limit=limit, next=next, prev=prev)

    async def get(self, cloud_id: str, type: str, *, id: str | None = None, **options: Unpack[CallOptions]) -> Action:
        """Get one automation.

        Args:
            cloud_id: device cloud.
            type: type of the automation.
            id: key of the automation.

        Raises:
            NotFoundError: there is none.
        """
        body = {"cloudId": cloud_id, "type": type, "id": id}
        return await self._transport.call(IOTO["action/get"], _ACTION, body, options)

    async def invoke(
        self,
        name: str | None = None,
        *,
        id: str | None = None,
        context: Mapping[str, object] | None = None,
        **options: Unpack[CallOptions],
    ) -> ActionResult:
        """Run an automation. It is never sent twice without you saying so.

        Args:
            name: name of the automation, if no *id*.
            id: its key.
            context: variables for it.

        Raises:
            InBandError: the automation failed.
            OutcomeUnknownError: it was sent, and whether it ran is not known.
        """
        operation = IOTO["action/invoke"]
        need_one(operation, name=name, id=id)
        body = {"name": name, "id": id, "context": context}
        return await self._transport.call(operation, _RESULT, body, options)
