"""Closes what a fixture has opened, in the event loop of the test, whichever plugin runs that."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Final, NoReturn

import pytest

__all__ = ["exit_stack"]

_NAME: Final = "_ioto_exit_stack_of"


def _fixture_function() -> Callable[[], AsyncIterator[AsyncExitStack]]:
    async def open_stack() -> AsyncIterator[AsyncExitStack]:
        async with AsyncExitStack() as stack:
            yield stack

    return open_stack


_of_anyio = pytest.fixture(_fixture_function(), name=f"{_NAME}_anyio")
try:
    import pytest_asyncio

    # None is for the loop that fixtures have by default.
    for _scope in (None, "function", "class", "module", "package", "session"):
        _name = f"{_NAME}_{_scope}"
        globals()[_name] = pytest_asyncio.fixture(_fixture_function(), name=_name, loop_scope=_scope)
except (ModuleNotFoundError, TypeError):  # it is not installed, or too old to know of scopes
    pytest_asyncio = None  # type: ignore[assignment]


def exit_stack(request: pytest.FixtureRequest) -> AsyncExitStack:
    """The stack that is closed after the test, in its event loop.

    Each plugin runs the async fixtures that are its own, pytest-asyncio each of them in the loop of one scope. So there
    are several, and a fixture that is not async asks for the one that fits the test.

    Args:
        request: that of the fixture.
    """
    name, is_for_anyio = request.fixturename, "anyio_backend" in request.fixturenames
    is_there = pytest_asyncio is not None and request.config.pluginmanager.is_registered(pytest_asyncio.plugin)
    if is_there and pytest_asyncio.is_async_test(request.node):
        if is_for_anyio:
            _fail(f"{name}: pytest-asyncio and anyio both run this test: mark it for one, with asyncio_mode = strict")
        marker = request.node.get_closest_marker("asyncio")
        scope = marker and marker.kwargs.get("loop_scope")
        kind = scope or request.config.getini("asyncio_default_test_loop_scope")
    elif is_for_anyio:
        kind = "anyio"
        backend = request.getfixturevalue("anyio_backend")
        if (backend if isinstance(backend, str) else backend[0]) != "asyncio":
            _fail(f"{name} needs asyncio, not {backend!r}: define a fixture anyio_backend that returns 'asyncio'")
    elif is_there:
        kind = None
    else:
        _fail(
            f"{name} needs a plugin that runs async tests: pip install 'pytest-asyncio>=1.1', or anyio and a test with "
            "@pytest.mark.anyio"
        )
    stack: AsyncExitStack = request.getfixturevalue(f"{_NAME}_{kind}")
    return stack


def _fail(reason: str) -> NoReturn:
    pytest.fail(reason, pytrace=False)
