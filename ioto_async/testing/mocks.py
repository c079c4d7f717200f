"""A mock of a client, for tests that need no cloud at all."""

import inspect
from collections.abc import Iterable
from functools import partial
from typing import Any, TypeVar, get_origin
from unittest.mock import MagicMock, create_autospec

import attrs

from ..bulk import Bulk
from ..client import BuilderClient, IotoClient
from ..controllers import MetricController
from ..controllers.base import Controller
from ..controllers.paging import Paged
from ..errors import InvalidArgumentError
from ..metrics.writer import Writer
from ..models import Cursor, Page
from ..transport.limiter import Limiter
from ..transport.limits import Limits

__all__ = ["canned_pages", "mock_client"]

T = TypeVar("T")


def canned_pages(*pages: Page[T] | Iterable[T] | Exception) -> Paged[T]:
    """The result of a find without a cloud: to be awaited, iterated, or made a task of, as often as you like.

    ::

        client.device.find.return_value = canned_pages([Device(id="A"), Device(id="B")], [Device(id="C")])

    Args:
        pages: each a `Page`, or its records; an exception is raised where its page is asked for. None for one page
            without records. The cursors are set here.
    """
    canned = [_page(page) for page in pages] or [Page[T](items=[])]

    async def fetch(cursor: dict[str, Cursor]) -> Page[T]:
        position = int(str(cursor.get("next", 0)))
        page = canned[position]
        if isinstance(page, Exception):
            raise page
        following = position + 1
        return attrs.evolve(page, items=[*page.items], next=str(following) if following < len(canned) else None)

    return Paged("canned", fetch, next=None, prev=None)


def _page(page: Page[T] | Iterable[T] | Exception) -> Page[T] | Exception:
    if isinstance(page, (Page, Exception)):
        return page
    if not isinstance(page, Iterable) or isinstance(page, (str, bytes)):
        raise InvalidArgumentError(f"pages: expected a Page, records or an exception, got {page!r}")
    return Page(items=[*page])


def mock_client(account_id: str | None = None) -> MagicMock:
    """A mock that has the methods of an `IotoClient` with their signatures, and nothing else.

    ::

        client = mock_client()
        client.device.claim.return_value = Device(id="M72DANY8BZ")
        await provision(client, "M72DANY8BZ")
        client.device.claim.assert_awaited_once_with("M72DANY8BZ")

    What is asynchronous is an `unittest.mock.AsyncMock`. Finds return one page without records; `canned_pages` makes
    others. ``async with`` and ``with_options`` give the mock itself, ``bulk`` makes a real run, whose calls are those
    of the mock, and ``metric.writer`` gives a mock of a `Writer`. To type checkers it is whatever it is used as.

    Args:
        account_id: the client's account.
    """
    client: MagicMock = create_autospec(IotoClient, instance=True, spec_set=True)
    client.account_id = account_id
    client.with_options.return_value = client
    _set_up_client(client, IotoClient)
    return client


def _set_up_client(client: MagicMock, kind: type[IotoClient | BuilderClient]) -> None:
    """Have a mock behave as a client; what it has as attributes follows when it is first used, as it takes long."""
    _enter(client)
    client.bulk.side_effect = partial(Bulk, limiter=Limiter(Limits(), 100))
    waiting = {
        name: value
        for name, value in inspect.getmembers(kind, inspect.isclass)
        if issubclass(value, (Controller, BuilderClient))
    }
    own: Any = type(client)  # each mock has a class of its own

    def get(mock: MagicMock, name: str) -> Any:
        value = super(own, mock).__getattr__(name)
        if (spec := waiting.pop(name, None)) is not None:
            if issubclass(spec, Controller):
                _set_up_controller(value, spec)
            else:
                _set_up_client(value, spec)
        return value

    own.__getattr__ = get


def _set_up_controller(controller: MagicMock, kind: type[Controller]) -> None:
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if get_origin(inspect.signature(method).return_annotation) is Paged:
            getattr(controller, name).return_value = canned_pages()
    if kind is MetricController:
        controller.writer.return_value = _enter(create_autospec(Writer, instance=True))


def _enter(mock: MagicMock) -> MagicMock:
    """Have ``async with`` give the *mock* itself, and raise what its block raises."""
    mock.__aenter__.return_value = mock
    mock.__aexit__.return_value = None
    return mock
