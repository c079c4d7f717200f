"""One item of a bulk run: its calls, and what their ends mean."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from typing import Final, Generic, TypeVar

import attrs

from ..errors import ClientStateError, RateLimitedError
from ..operations import Kind
from ..transport.effects import Effects
from .outcome import Outcome

__all__ = ["KEYED", "NEW", "Caller", "Entry", "Standing"]

Item = TypeVar("Item")
Value = TypeVar("Value")


@attrs.define(eq=False)
class Standing:
    """What is known of an item before its call, and what it holds until it has left."""

    queues: tuple[Hashable, ...] = ()
    """Keys that only one item may hold at a time."""
    was_sent: bool = False
    """Whether it was sent before, and what became of that is not known."""
    error: Exception | None = None
    """What is known of that, where somebody is to be asked before it is sent again."""
    is_done: bool = False
    """Whether the journal knows it as done, which is to be verified."""
    done_at: datetime | None = None
    """When that was."""
    held: int = 0
    """How many of them it holds, from the left."""


NEW: Final = Standing()
"""That of all items that nothing is known of and that hold nothing; it is not changed."""
KEYED: Final = Standing()
"""That of all items that nothing is known of and that hold their own key alone; it is not changed."""

# A plain tuple: a class takes four times the time to make.
Entry = tuple[int, str, Item, Standing]
"""An item on its way: its position, its key, itself, and its standing."""


@attrs.define
class Caller(Generic[Item, Value]):
    """Brings items to their outcomes."""

    call: Callable[[Item], Awaitable[Value]]
    reconcile: Callable[[Item], Awaitable[bool | None]] | None
    verify: Callable[[Item], Awaitable[bool | None]] | None
    kind: Kind
    reports: bool
    """Whether all that *call* does is noted in its effects; what else it does nobody knows."""
    stop_on: type[Exception] | tuple[type[Exception], ...]
    abort: Callable[[Exception], None]
    """Told of an error that concerns all items."""
    note_sent: Callable[[Entry[Item]], None]
    """Called before an item is sent that was thought to be done."""
    is_stopping: bool = False
    """Whether cancellations come from the run, which ends and wants to know its outcomes."""
    is_ending: bool = False
    """Whether they come from the run, which has ended."""

    def did_nothing(self, effects: Effects) -> bool:
        """Whether every step of the call until now is known to have changed nothing."""
        return self.kind is Kind.READ or (self.reports and not effects.changed)

    async def outcome_of(self, entry: Entry[Item], effects: Effects) -> Outcome[Item, Value] | None:
        """Call for an item; None if nothing was done for it, and the next run is to take it up.

        Args:
            entry: the item.
            effects: where what is done for it is noted.
        """
        _, key, item, standing = entry
        outcome: Outcome[Item, Value] = Outcome(item, key, "unknown", None, standing.error)
        began = time.perf_counter()
        reconcile = self.reconcile
        is_to_call = standing.error is None
        is_done = True
        while True:
            if is_to_call:
                outcome.attempts += 1
                # Awaited here, as each coroutine in between would cost every step of the call.
                try:
                    outcome.value = await self.call(item)
                except Exception as error:  # noqa: BLE001  whatever it is, it is the outcome of this item
                    is_done = self._has_failed(outcome, effects, error)
                except asyncio.CancelledError:
                    if self.is_ending:
                        raise
                    is_done = self._is_excused(outcome, effects)
                else:
                    if effects.was_stopped:  # what returned is not all that was to be done
                        is_done = self._is_excused(outcome, effects)
                    else:
                        outcome.status, outcome.error = "ok", None
            if outcome.status != "unknown" or not is_done or reconcile is None or _is_to_end():
                break
            is_to_call = await self._is_undone(outcome, reconcile, effects)
            if not is_to_call:
                break
            reconcile = None
        outcome.attempts += effects.retries
        outcome.elapsed = time.perf_counter() - began
        return outcome if is_done else None

    async def verified_outcome_of(self, entry: Entry[Item], effects: Effects) -> Outcome[Item, Value] | None:
        """As `outcome_of`, for an item that the journal knows as done, if it turns out that it is not."""
        verified = await self._verified(entry)
        if entry[3].is_done:
            return verified
        self.note_sent(entry)
        if self.is_stopping:  # the journal cannot be written
            return None
        return await self.outcome_of(entry, effects)

    async def _verified(self, entry: Entry[Item]) -> Outcome[Item, Value] | None:
        """Ask whether an item is still done, and note it in *entry* if it is not; None as for `outcome_of`."""
        assert self.verify is not None
        _, key, item, standing = entry
        outcome: Outcome[Item, Value] = Outcome(item, key, "skipped", done_at=standing.done_at)
        began = time.perf_counter()
        try:
            standing.is_done = await self.verify(item) is not False
        except Exception as error:  # noqa: BLE001  as above
            if isinstance(error, self.stop_on) or _concerns_all(error):
                error.add_note(f"item {key}")
                self.abort(error)
                return None
            outcome.status, outcome.error = "failed", error
        except asyncio.CancelledError:
            if self.is_ending:
                raise
            return None
        outcome.elapsed = time.perf_counter() - began
        return outcome

    def _has_failed(self, outcome: Outcome[Item, Value], effects: Effects, error: Exception) -> bool:
        """Say in *outcome* how it went; false if nothing was done for the item, for no fault of it."""
        outcome.error = error
        if self._leaves_in_doubt(error, effects):
            effects.doubt()
        else:
            outcome.status = "failed"
        if isinstance(error, self.stop_on) or _concerns_all(error):
            error.add_note(f"item {outcome.key}")
            self.abort(error)
            # The error says that the item can be taken up again; but what must not be done twice may be half done.
            return outcome.status == "unknown" or (self.kind is Kind.ONCE and effects.changed)
        return True

    def _leaves_in_doubt(self, error: Exception, effects: Effects) -> bool:
        """Whether what a call was to do may have been done, though it raised *error*."""
        if self.kind is Kind.READ:
            return False
        if effects.in_doubt or getattr(error, "outcome_unknown", False):
            return True
        # It was given up; only what goes through a client is known not to have come to it.
        return isinstance(error, TimeoutError) and not self.reports

    def _is_excused(self, outcome: Outcome[Item, Value], effects: Effects) -> bool:
        """Make an outcome of a cancellation; false if nothing was done until then."""
        if self.is_stopping:
            outcome.error = ClientStateError("cancelled, as the run was stopped")
            return not self.did_nothing(effects)
        outcome.error = ClientStateError("the call was cancelled by itself")
        return not (_is_to_end() and self.did_nothing(effects))  # else the loop ends, and the run with it

    async def _is_undone(
        self, outcome: Outcome[Item, Value], reconcile: Callable[[Item], Awaitable[bool | None]], effects: Effects
    ) -> bool:
        """Ask what became of an item; true if it was not done, for sure, and is to be called for again."""
        try:
            done = await reconcile(outcome.item)
        except Exception as error:  # noqa: BLE001  as above
            error.__cause__ = error.__cause__ or outcome.error
            outcome.error = error
            if isinstance(error, self.stop_on) or _concerns_all(error):
                self.abort(error)
            return False
        except asyncio.CancelledError:
            if self.is_ending:
                raise
            self._is_excused(outcome, effects)
            return False
        if done:
            outcome.status, outcome.error = "ok", None
        if done or done is None:
            return False
        effects.changed = effects.in_doubt = False
        return True


def _concerns_all(error: Exception) -> bool:
    """Whether no other item would fare better: the client is closed, or the cloud keeps the device's link away."""
    return isinstance(error, ClientStateError) or (isinstance(error, RateLimitedError) and not error.sent)


def _is_to_end() -> bool:
    """Whether the present task was cancelled, whoever did it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
