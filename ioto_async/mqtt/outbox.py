"""What waits to be sent or acknowledged: the window, sending again, giving up.

Waiting is in the order of the calls. A message that was sent when the connection broke is sent again before all others,
as nobody knows whether it arrived: so a message arrives at least once, or its caller is told that it may not have.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ..errors import CallError, ClientStateError, ConnectionFailedError, ConnectionLostError, OutcomeUnknownError
from ..operations import Kind
from ..transport.effects import EFFECTS, Effects, waiting

__all__ = ["Message", "Outbox", "Pacer", "Sender"]


_FIRST: Final = 0.5
"""Seconds between two messages after a first throttle."""
_LONGEST: Final = 60.0
_HALF_LIFE: Final = 60.0
"""Seconds after which the interval is half of what it was."""
_SHORTEST: Final = 0.005
"""An interval below is none."""


class Pacer:
    """Spaces messages: the interval doubles with each throttle, and halves with each minute without one.

    The vendor's agent does the like; the cloud documents no figures.
    """

    __slots__ = ("_interval", "_last", "_since")

    def __init__(self) -> None:
        self._interval = 0.0
        self._since = 0.0
        self._last = 0.0

    def _current(self, now: float) -> float:
        if self._interval:
            interval: float = self._interval * 0.5 ** ((now - self._since) / _HALF_LIFE)
            if interval >= _SHORTEST:
                return interval
            self._interval = 0.0
        return 0.0

    def throttle(self, now: float) -> None:
        """Take note that the cloud asks for less."""
        self._interval = min(max(self._current(now) * 2, _FIRST), _LONGEST)
        self._since = self._last = now

    def delay(self, now: float) -> float:
        """Seconds until the next message may go, 0 if it may at *now*."""
        if not self._interval:
            return 0.0
        return max(self._last + self._current(now) - now, 0.0)

    def sent(self, now: float) -> None:
        """Take note that a message went."""
        self._last = now


Sender = Callable[[str, bytes], int | None]
"""Sends a payload to a topic and gives the number that it will be acknowledged by; None where that did not work."""


class Message:
    """One message on its way.

    Args:
        operation: what to call it in errors.
        kind: whether it may arrive twice.
        topic: where to.
        payload: what.

    Attributes:
        since: when it was made; seconds of the loop's clock.
        sent: whether it has been on a connection, and
        flown: when it was last.
        done: what its caller waits for.
        effects: where it is noted.
    """

    __slots__ = ("_is_flying", "done", "effects", "flown", "kind", "operation", "payload", "sent", "since", "topic")

    def __init__(self, operation: str, kind: Kind, topic: str, payload: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.operation = operation
        self.kind = kind
        self.topic = topic
        self.payload = payload
        self.since = loop.time()
        self.sent = False
        self.flown = 0.0
        self.done: asyncio.Future[None] = loop.create_future()
        self.effects = EFFECTS.get()
        self._is_flying = False

    def take_off(self, now: float) -> None:
        """It is on a connection."""
        self.sent, self.flown = True, now
        self._is_flying = True
        if self.effects is not None:
            self.effects.waiting -= 1
            self.effects.in_flight += 1
            self.effects.changed = self.effects.changed or self.kind is not Kind.READ

    def fall_back(self) -> None:
        """It is not on a connection any more, and waits for the next."""
        if self._is_flying and self.effects is not None:
            self.effects.waiting += 1
            self.effects.landed()
        self._is_flying = False

    def leave(self, effects: Effects) -> None:
        """Its caller waits no more; it is noted in *effects*, its own."""
        # Whatever becomes of the caller's error on its way up, what is known of the message is known here.
        is_known = self.done.done() and not self.done.cancelled() and self.done.exception() is None
        in_doubt = self.sent and not is_known and self.kind is not Kind.READ
        if in_doubt:
            effects.doubt()
        if self._is_flying:
            self._is_flying = False
            effects.landed()  # before it counts among those that wait, which a run that ends cancels
            effects.waiting += 1  # `waiting` takes it away

    def error(self, cause: CallError | ClientStateError) -> CallError | ClientStateError:
        """What its caller gets to see when *cause* ends the wait."""
        if isinstance(cause, ClientStateError):
            return ClientStateError(str(cause), outcome_unknown=self.sent and self.kind is not Kind.READ)
        if not self.sent:
            return type(cause)(cause.message, operation=self.operation, sent=False, retry_after=cause.retry_after)
        once = self.kind is Kind.ONCE
        text = f"sent, but whether it worked is not known: {cause.message}" if once else cause.message
        error = (OutcomeUnknownError if once else ConnectionLostError)(
            text, operation=self.operation, outcome_unknown=self.kind is not Kind.READ, retry_after=cause.retry_after
        )
        error.__cause__ = cause
        return error


class Outbox:
    """Sends messages through the connection that there is, at most *window* at once.

    Args:
        window: messages that are sent and not acknowledged.
        patience: seconds without an acknowledgement after which the messages that have waited so long fail.
        timeout: the same, after which a connection is given up. Acknowledgements come in the order of the messages, so
            that for either those of later messages count for nothing.
        give_up: what to raise for messages whose patience is at its end.
        stalled: called when the connection acknowledges nothing.
    """

    def __init__(
        self,
        *,
        window: int,
        patience: float,
        timeout: float,
        give_up: Callable[[], CallError],
        stalled: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._window = window
        self._patience = patience
        self._timeout = timeout
        self._give_up = give_up
        self._stalled = stalled
        self._sender: Sender | None = None
        self._waiting: OrderedDict[Message, None] = OrderedDict()
        self._flying: dict[int, Message] = {}
        self._pacer = Pacer()
        self._progress = self._loop.time()
        self._overtaken = -math.inf
        """When the latest of the messages that are acknowledged was sent."""
        self._watch: asyncio.TimerHandle | None = None
        self._pumping: asyncio.Handle | None = None
        self._ended: CallError | ClientStateError | None = None
        self.acknowledged = 0
        """How many messages have been."""

    async def send(self, message: Message) -> None:
        """Send a *message*, and return when it is acknowledged.

        Raises:
            CallError: it was not; ``outcome_unknown`` tells whether it may have arrived.
            ClientStateError: the link was closed.
        """
        if self._ended is not None:
            raise message.error(self._ended)
        if message.effects is None:
            self._put(message)
            try:
                await message.done
            finally:
                self._waiting.pop(message, None)  # the caller was cancelled
            return
        with waiting(message.effects):
            self._put(message)
            try:
                await message.done
            finally:
                self._waiting.pop(message, None)
                message.leave(message.effects)

    def _put(self, message: Message) -> None:
        self._waiting[message] = None
        self._pump()
        if self._watch is None:
            self._look()

    def attach(self, sender: Sender) -> None:
        """Send through *sender* from now on."""
        self._sender = sender
        self._pump()
        if self._watch is not None:
            self._watch.cancel()
        self._look()

    def detach(self) -> None:
        """The connection is gone: what was not acknowledged waits again, before the rest."""
        self._sender = None
        for message in reversed(self._flying.values()):
            if not message.done.done():
                message.fall_back()
                self._waiting[message] = None
                self._waiting.move_to_end(message, last=False)
        self._flying.clear()

    def acknowledge(self, number: int) -> None:
        """The broker has the message of that *number*."""
        message = self._flying.pop(number, None)
        if message is None:
            return
        self.acknowledged += 1
        self._progress = self._loop.time()
        self._overtaken = max(self._overtaken, message.flown)
        _settle(message, None)
        if self._waiting and self._pumping is None:
            self._pumping = self._loop.call_soon(self._resume)  # once for all that are acknowledged in one turn

    def throttle(self) -> None:
        """Leave more time between messages."""
        self._pacer.throttle(self._loop.time())

    def fail(self, cause: CallError | ClientStateError) -> None:
        """Tell all who wait that *cause* has ended it."""
        messages = [*self._flying.values(), *self._waiting]
        self._flying.clear()
        self._waiting.clear()
        for message in messages:
            _settle(message, message.error(cause))

    def end(self, cause: CallError | ClientStateError) -> None:
        """Fail those who wait with *cause*, and all who come, and leave no timer."""
        self.fail(cause)
        # A connection that failed may be another the next time, but there is no next time.
        is_over = isinstance(cause, ConnectionFailedError)
        self._ended = ClientStateError(f"the link has ended: {cause}") if is_over else cause
        for handle in (self._watch, self._pumping):
            if handle is not None:
                handle.cancel()

    def _pump(self) -> None:
        while self._sender is not None and self._waiting and len(self._flying) < self._window:
            message = next(iter(self._waiting))
            if message.done.done():  # its caller was cancelled in this turn
                del self._waiting[message]
                continue
            now = self._loop.time()
            if delay := self._pacer.delay(now):
                if self._pumping is None:
                    self._pumping = self._loop.call_later(delay, self._resume)
                self._progress = now + delay  # nobody is late until then
                return
            number = self._sender(message.topic, message.payload)
            if number is None:
                return  # the connection is about to be gone
            self._pacer.sent(now)
            del self._waiting[message]
            message.take_off(now)
            self._flying[number] = message

    def _resume(self) -> None:
        self._pumping = None
        self._pump()

    def _look(self) -> None:
        """Give up what has waited too long, the connection too, and look again when the next may have."""
        self._watch = None
        now = self._loop.time()
        while self._flying or self._waiting:
            number, oldest = next(iter(self._flying.items()), (0, None))
            oldest = oldest or next(iter(self._waiting))
            is_overtaken = bool(self._flying) and oldest.flown < self._overtaken
            if is_overtaken:
                due = max(oldest.since + self._patience, oldest.flown + self._timeout)
            else:
                due = max(oldest.since, self._progress) + self._patience
            if now < due:
                break
            self._flying.pop(number, None)  # number 0 is no message's
            self._waiting.pop(oldest, None)
            _settle(oldest, oldest.error(self._give_up()))
        else:
            return
        if self._sender is not None:
            sign_of_life = oldest.flown if is_overtaken else max(oldest.flown, self._progress)
            if self._flying and now >= sign_of_life + self._timeout:
                self._stalled()
            due = min(due, now + self._timeout)
        self._watch = self._loop.call_at(due, self._look)


def _settle(message: Message, error: Exception | None) -> None:
    if message.done.done():
        return
    if error is None:
        message.done.set_result(None)
    else:
        message.done.set_exception(error)
