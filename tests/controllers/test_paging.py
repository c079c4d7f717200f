"""Walking through pages: every record once and in order, one page ahead, nothing left behind."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ioto_async import BadRequestError, DecodeError, IotoError, PagingError, ServiceError
from ioto_async.controllers.paging import Paged
from ioto_async.models import Cursor, Device, Page
from tests.rawserver import GUARD, RawServer, Request, Step, client_of, in_thread, leftover_tasks, reply, served, silent
from tests.rows import each_row


def pages(*sizes: int, cursor: Callable[[int], Any] = lambda number: f"c{number}") -> list[dict[str, Any]]:
    """Replies with so many devices each, numbered on; all but the last with the cursor of the next."""
    numbers = itertools.count()
    replies = []
    for position, size in enumerate(sizes):
        body: dict[str, Any] = {"data": [{"id": str(next(numbers))} for _ in range(size)]}
        if position < len(sizes) - 1:
            body["next"] = cursor(position + 1)
        replies.append(body)
    return replies


def steps(*bodies: dict[str, Any]) -> Iterator[Step]:
    return (reply(200, body) for body in bodies)


def ids(devices: list[Device]) -> list[str | None]:
    return [device.id for device in devices]


async def walk(found: Paged[Device], seen: list[str | None]) -> None:
    """Note every device; give what is under way time to come in before that."""
    async for device in found:
        await leftover_tasks()
        seen.append(device.id)


# One page ---------------------------------------------------------------------------------------------------------


async def test_awaiting_a_find_gives_its_first_page() -> None:
    async with served(*steps(*pages(2, 2))) as (server, client):
        page = await client.device.find()
    assert (ids(page.items), page.next, page.prev) == (["0", "1"], "c1", None)
    assert len(server.requests) == 1


@each_row(
    "use",
    {
        "create_task": asyncio.create_task,
        "ensure_future": asyncio.ensure_future,
        "gather": lambda found: asyncio.gather(found, return_exceptions=True),
        "wait_for": lambda found: asyncio.wait_for(found, GUARD),
        "shield": asyncio.shield,
        "as_completed": lambda found: next(iter(asyncio.as_completed([found]))),
        "another thread": lambda found: asyncio.to_thread(
            lambda loop: asyncio.run_coroutine_threadsafe(found, loop).result(), asyncio.get_running_loop()
        ),
    },
)
async def test_a_find_is_taken_for_a_coroutine(use: Callable[[Paged[Device]], Awaitable[Any]]) -> None:
    async with served(*steps(*pages(2, 2))) as (server, client):
        found = await use(client.device.find())
    (page,) = found if isinstance(found, list) else [found]
    assert (ids(page.items), page.next) == (["0", "1"], "c1")
    assert len(server.requests) == 1


async def test_tasks_of_one_find_have_a_request_each() -> None:
    async with served(handler=lambda request: reply(200, pages(2)[0])) as (server, client):
        find = client.device.find()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(find) for _ in range(3)]
        assert [ids(task.result().items) for task in tasks] == [["0", "1"]] * 3
        assert ids((await asyncio.create_task(find)).items) == ["0", "1"]
    assert len(server.requests) == 4


async def test_a_task_of_a_find_that_fails_or_is_cancelled_is_no_other_s() -> None:
    async with served(reply(400, "bad"), silent(), *steps(*pages(1))) as (server, client):
        find = client.device.find()
        with pytest.raises(BadRequestError):
            await asyncio.create_task(find)
        waiting = asyncio.create_task(find)
        await server.received(2)
        begun = asyncio.create_task(find)
        begun.cancel()
        waiting.cancel()
        assert [type(end) for end in await asyncio.gather(waiting, begun, return_exceptions=True)] == [
            asyncio.CancelledError,
            asyncio.CancelledError,
        ]
        assert ids((await find).items) == ["0"]


async def test_a_task_of_a_find_shows_its_operation() -> None:
    async with served(*steps(*pages(1))) as (_, client):
        task = asyncio.create_task(client.device.find())
        assert "coro=<device/find()>" in repr(task)
        await task


def test_a_find_is_all_that_a_program_runs() -> None:
    with in_thread(*steps(*pages(1))) as server:
        client = client_of(server)
        with asyncio.Runner() as runner:
            assert ids(runner.run(client.device.find()).items) == ["0"]
            runner.run(client.aclose())


async def test_a_find_asks_for_nothing_before_it_is_used() -> None:
    async with served() as (server, client):
        client.device.find().close()
        client.device.find().pages()
        await leftover_tasks()
    assert server.connections == 0


async def test_a_find_may_be_used_twice() -> None:
    async with served(*steps(*pages(1, 1), *pages(1, 1))) as (_, client):
        found = client.device.find()
        walks = [[device.id async for device in found] for _ in range(2)]
    assert walks == [["0", "1"], ["0", "1"]]


async def test_the_next_page_can_be_asked_for_by_hand() -> None:
    async with served(*steps(*pages(1, 1))) as (server, client):
        first = await client.device.find(limit=1)
        second = await client.device.find(limit=1, next=first.next)
    assert (ids(first.items), ids(second.items)) == (["0"], ["1"])
    assert [request.query for request in server.requests] == [{"limit": "1"}, {"limit": "1", "next": "c1"}]


@each_row("none", [{}, {"next": None}, {"next": ""}, {"next": {}}])
async def test_a_page_without_a_cursor_is_the_last(none: dict[str, Any]) -> None:
    async with served(reply(200, {"data": [{"id": "0"}], **none})) as (server, client):
        assert [device.id async for device in client.device.find()] == ["0"]
    assert len(server.requests) == 1


async def test_a_bare_array_is_a_single_page() -> None:
    async with served(reply(200, [{"id": "0"}, {"id": "1"}])) as (_, client):
        assert [device.id async for device in client.device.find()] == ["0", "1"]


@each_row("cursor", [17, True, ["c1"], 1.5])
async def test_a_cursor_that_is_neither_text_nor_object_is_a_decode_error(cursor: Any) -> None:
    async with served(reply(200, {"data": [], "next": cursor})) as (_, client):
        with pytest.raises(DecodeError) as caught:
            await client.device.find()
    assert caught.value.path == "$.next"


# All pages --------------------------------------------------------------------------------------------------------


async def test_a_walk_gives_every_record_of_every_page() -> None:
    async with served(*steps(*pages(3, 1, 2))) as (server, client):
        assert [device.id async for device in client.device.find()] == list("012345")
    assert [request.query for request in server.requests] == [{}, {"next": "c1"}, {"next": "c2"}]


async def test_an_empty_page_does_not_end_a_walk() -> None:
    async with served(*steps(*pages(1, 0, 0, 1))) as (_, client):
        assert [device.id async for device in client.device.find()] == ["0", "1"]


async def test_pages_gives_the_pages() -> None:
    async with served(*steps(*pages(2, 0, 1))) as (_, client):
        assert [ids(page.items) async for page in client.device.find().pages()] == [["0", "1"], [], ["2"]]


async def test_limit_and_index_and_body_go_with_every_page() -> None:
    async with served(*steps(*pages(1, 1, 1))) as (server, client):
        found = client.device.find(product_id="P", account_id="A", limit=1, index="gs1")
        assert len([device async for device in found]) == 3
    assert [request.query for request in server.requests] == [
        {"limit": "1", "index": "gs1"},
        {"limit": "1", "index": "gs1", "next": "c1"},
        {"limit": "1", "index": "gs1", "next": "c2"},
    ]
    assert [request.json for request in server.requests] == [{"productId": "P", "accountId": "A"}] * 3


async def test_options_go_with_every_page() -> None:
    async with served(*steps(*pages(1, 1))) as (server, client):
        assert len([device async for device in client.device.find(headers={"X-Job": "7"})]) == 2
    assert [request.header("X-Job") for request in server.requests] == ["7", "7"]


@each_row("cursor", ["a+b/c=&d?#%20 e\u00e4", '{"looks": "like JSON"}', "17"])
async def test_a_cursor_of_text_is_sent_back_as_received(cursor: str) -> None:
    async with served(*steps(*pages(1, 1, cursor=lambda _: cursor))) as (server, client):
        assert len([device async for device in client.device.find()]) == 2
    assert server.requests[1].query == {"next": cursor}


async def test_a_cursor_that_is_an_object_is_sent_back_as_its_json() -> None:
    cursor = {"pk": "device#A+B&C", "sk": "#\u00e4", "gs1": {"n": [1, 2.5, None, True]}}
    async with served(*steps(*pages(1, 1, cursor=lambda _: cursor))) as (server, client):
        assert len([device async for device in client.device.find()]) == 2
    (text,) = server.requests[1].query.values()
    assert (list(server.requests[1].query), json.loads(text)) == (["next"], cursor)


async def test_a_walk_starts_at_a_given_cursor() -> None:
    async with served(*steps(*pages(1, 1))) as (server, client):
        assert len([device async for device in client.device.find(next="c0")]) == 2
    assert [request.query for request in server.requests] == [{"next": "c0"}, {"next": "c1"}]


async def test_a_find_with_prev_alone_walks_backward() -> None:
    answers: list[dict[str, Any]] = [
        {"data": [{"id": "4"}, {"id": "5"}], "prev": "p1", "next": "n1"},
        {"data": [{"id": "2"}, {"id": "3"}], "prev": {"p": 2}, "next": "n2"},
        {"data": [{"id": "0"}, {"id": "1"}], "next": "n3"},
    ]
    async with served(*steps(*answers)) as (server, client):
        found = client.device.find(prev="p0", limit=2)
        assert [ids(page.items) async for page in found.pages()] == [["4", "5"], ["2", "3"], ["0", "1"]]
    assert [request.query for request in server.requests] == [
        {"limit": "2", "prev": "p0"},
        {"limit": "2", "prev": "p1"},
        {"limit": "2", "prev": '{"p":2}'},
    ]


# A cursor that repeats --------------------------------------------------------------------------------------------


@each_row(
    "cursors",
    [["a", "a"], ["a", "b", "a"], [{"k": 1, "l": 2}, {"l": 2, "k": 1}], ["a", "b", "c", "b"]],
)
async def test_a_cursor_that_repeats_is_an_error_and_no_endless_loop(cursors: list[Any]) -> None:
    answers: list[dict[str, Any]] = [
        {"data": [{"id": str(number)}], "next": cursor} for number, cursor in enumerate(cursors)
    ]
    async with served(*steps(*answers)) as (server, client):
        with pytest.raises(PagingError) as caught:
            async for _ in client.device.find():
                pass
    assert caught.value.operation == "device/find"
    assert len(server.requests) == len(cursors)


async def test_the_cursor_that_a_walk_started_with_counts_as_seen() -> None:
    async with served(reply(200, {"data": [], "next": "c0"})) as (_, client):
        with pytest.raises(PagingError):
            async for _ in client.device.find(next="c0"):
                pass


async def test_a_cursor_that_repeats_backward_is_an_error() -> None:
    answers: list[dict[str, Any]] = [{"data": [], "prev": "p1"}, {"data": [], "prev": "p0"}]
    async with served(*steps(*answers)) as (_, client):
        with pytest.raises(PagingError, match="prev"):
            async for _ in client.device.find(prev="p0"):
                pass


async def test_the_records_that_came_with_a_repeated_cursor_are_not_lost() -> None:
    answers: list[dict[str, Any]] = [{"data": [{"id": "0"}], "next": "a"}, {"data": [{"id": "1"}], "next": "a"}]
    seen: list[str | None] = []
    async with served(*steps(*answers)) as (_, client):
        with pytest.raises(PagingError):
            await walk(client.device.find(), seen)
    assert seen == ["0", "1"]


async def test_equal_text_and_object_are_different_cursors() -> None:
    answers: list[dict[str, Any]] = [
        {"data": [], "next": '{"a":1}'},
        {"data": [], "next": {"a": 1}},
        {"data": [{"id": "0"}]},
    ]
    async with served(*steps(*answers)) as (_, client):
        assert [device.id async for device in client.device.find()] == ["0"]


# One page ahead ---------------------------------------------------------------------------------------------------


async def test_the_next_page_is_asked_for_while_the_present_one_is_used() -> None:
    async with served(*steps(*pages(2, 1))) as (server, client):
        async for device in client.device.find():
            if device.id == "0":
                await server.received(2)


async def test_no_more_than_one_page_is_asked_for_ahead() -> None:
    async with served(*steps(*pages(1, 1, 1, 1))) as (server, client):
        counts: list[int] = []
        async for _ in client.device.find():
            await leftover_tasks()
            await server.received(min(len(counts) + 2, 4))
            await leftover_tasks()
            counts.append(len(server.requests))
    assert counts == [2, 3, 4, 4]


async def test_awaiting_the_first_page_does_not_ask_ahead() -> None:
    async with served(*steps(*pages(1, 1))) as (server, client):
        await client.device.find()
        await leftover_tasks()
        assert len(server.requests) == 1


@each_row("walk", ["records", "pages"])
async def test_a_break_gives_up_the_page_under_way(walk: str) -> None:
    async with RawServer.of(*steps(pages(2, 1)[0]), silent()) as server, client_of(server) as client:
        found = client.device.find()
        if walk == "records":
            async for _ in found:
                await server.received(2)
                break
        else:
            async for _ in found.pages():
                await server.received(2)
                break
        await server.until(lambda: server.open <= 1)
        assert not [task for task in await leftover_tasks() if "fetch" in repr(task)]


async def test_a_walk_that_is_cancelled_gives_up_the_page_under_way() -> None:
    async with RawServer.of(*steps(pages(1, 1)[0]), silent()) as server, client_of(server) as client:

        async def walk() -> None:
            async for _ in client.device.find():
                pass

        task = asyncio.create_task(walk())
        await server.received(2)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not [left for left in await leftover_tasks() if "fetch" in repr(left)]


async def test_a_break_hides_no_failure_of_the_page_under_way(caplog: pytest.LogCaptureFixture) -> None:
    async with served(*steps(pages(2, 1)[0]), reply(400, "No")) as (server, client):
        async for _ in client.device.find():
            await server.received(2)
            await leftover_tasks()
            break
        await leftover_tasks()
    assert "never retrieved" not in caplog.text


async def test_the_pool_is_usable_after_a_break() -> None:
    async with served(*steps(pages(2, 1)[0]), silent(), *steps(*pages(1)), limit=1) as (server, client):
        async for _ in client.device.find():
            await server.received(2)
            break
        assert len((await client.device.find()).items) == 1


# Failures ---------------------------------------------------------------------------------------------------------


@each_row("answer, cls", [(reply(400, "No"), BadRequestError), (reply(500), ServiceError)])
async def test_an_error_on_page_3_comes_after_pages_1_and_2(answer: Step, cls: type[IotoError]) -> None:
    seen: list[str | None] = []
    async with served(*steps(*pages(2, 2, 1)[:2]), answer) as (_, client):
        with pytest.raises(cls):
            await walk(client.device.find(retries=0), seen)
    assert seen == ["0", "1", "2", "3"]


async def test_a_page_that_fails_is_asked_for_again() -> None:
    first, second = pages(1, 1)
    async with served(reply(200, first), reply(500), reply(200, second)) as (server, client):
        assert [device.id async for device in client.device.find()] == ["0", "1"]
    assert server.requests[1].query == server.requests[2].query == {"next": "c1"}


async def test_an_error_of_the_consumer_leaves_no_page_under_way() -> None:
    async with RawServer.of(*steps(pages(2, 1)[0]), silent()) as server, client_of(server) as client:

        async def use() -> None:
            async for _ in client.device.find():
                await server.received(2)
                raise KeyError("the consumer's own")

        with pytest.raises(KeyError):
            await use()
        assert not [task for task in await leftover_tasks() if "fetch" in repr(task)]


# Any split --------------------------------------------------------------------------------------------------------

cursors = st.text(min_size=1) | st.dictionaries(
    st.text(), st.none() | st.booleans() | st.text() | st.integers(-(2**63), 2**63), min_size=1
)


def key(cursor: Cursor) -> str:
    return json.dumps(cursor, sort_keys=True)


@given(st.lists(st.lists(st.integers()), min_size=1), st.data(), st.booleans())
def test_any_split_of_items_into_pages_is_walked_once_and_in_order(
    split: list[list[int]], data: st.DataObject, backward: bool
) -> None:
    places = data.draw(st.lists(cursors, min_size=len(split), max_size=len(split), unique_by=key))
    positions = {key(place): position for position, place in enumerate(places)}
    direction = "prev" if backward else "next"
    asked: list[dict[str, Cursor]] = []

    async def fetch(cursor: dict[str, Cursor]) -> Page[int]:
        asked.append(cursor)
        position = positions[key(cursor[direction])] if cursor else 0
        more = places[position + 1] if position + 1 < len(split) else None
        if data.draw(st.booleans()):
            await asyncio.sleep(0)
        return Page(items=split[position], next=None if backward else more, prev=more if backward else None)

    async def walk_all() -> list[int]:
        start = places[0] if backward else None
        return [item async for item in Paged("device/find", fetch, next=None, prev=start)]

    assert asyncio.run(walk_all()) == [item for part in split for item in part]
    assert asked == [{direction: places[0]} if backward else {}, *({direction: place} for place in places[1:])]


def test_any_cursor_comes_back_to_the_service_as_it_was() -> None:
    replies: list[dict[str, Any]] = []

    def answer(_: Request) -> Step:
        return reply(200, replies.pop(0))

    with asyncio.Runner() as runner:
        context = served(handler=answer)
        server, client = runner.run(context.__aenter__())

        async def ask() -> Request:
            server.requests.clear()
            async for _ in client.device.find():
                pass
            return server.requests[1]

        @given(cursors)
        def comes_back(cursor: Cursor) -> None:
            replies[:] = [{"data": [], "next": cursor}, {"data": []}]
            sent = runner.run(ask()).query["next"]
            assert (sent if isinstance(cursor, str) else json.loads(sent)) == cursor

        try:
            comes_back()
        finally:
            runner.run(context.__aexit__(None, None, None))
