"""Which credentials go with a request, and whether a refusal of them is final: pure decisions, no clock and no socket.

Whoever sends a request asks `Pinned.before` what to do, and `Pinned.after` when the reply is there.
"""

import math
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from yarl import URL

__all__ = ["Credentials", "Decision", "Pinned"]

_REFUSED: Final = (401, 403)
_MARGIN: Final = 60.0
"""Seconds before its end at which a token is renewed, or a tenth of its lifetime if that is less."""
_YOUNG: Final = 10.0
"""Seconds after a reply of the provider in which a refusal is final: it concerns the caller's role, not the token."""


class Decision(Enum):
    """What to do next with a request."""

    SEND_BARE = "send it without credentials"
    """It goes to another origin."""
    SEND = "send it with the headers of the credentials"
    SEND_AND_RENEW = "send it with the headers, and ask the provider for the next ones meanwhile"
    ASK = "ask the provider for other headers, and send it with these"
    """Where the provider gives none, the request fails; after a refusal, the refusal is final."""
    DONE = "take the reply as it is"


class Credentials:
    """The headers that authenticate requests, and until when they are valid.

    Args:
        headers: those to send; empty as long as none were asked for.
        renewable: whether others can be asked for.
        clock: gives seconds.

    Attributes:
        headers: see above.
        renewable: see above.
        clock: see above.
    """

    __slots__ = ("_answered", "_due", "_expires", "clock", "headers", "renewable")

    def __init__(self, headers: Mapping[str, str], *, renewable: bool, clock: Callable[[], float]) -> None:
        self.headers = headers
        self.renewable = renewable
        self.clock = clock
        self._due = self._expires = math.inf
        self._answered = -math.inf

    def before(self) -> Decision:
        """What to do with a request that is to be sent, of renewable ones: ``SEND``, ``SEND_AND_RENEW`` or ``ASK``."""
        now = self.clock()
        if not self.headers or now >= self._expires:
            return Decision.ASK
        if now >= self._due:
            self._due = self._expires  # once: the present ones are valid until then
            return Decision.SEND_AND_RENEW
        return Decision.SEND

    def refused(self, sent: Mapping[str, str]) -> Decision:
        """What to do where the headers that were *sent* are refused: ``SEND``, ``ASK`` or ``DONE``."""
        if not self.renewable:
            return Decision.DONE
        if self.headers is not sent:  # another call was quicker, and its token is the one to try
            return Decision.SEND
        now = self.clock()
        is_young = now < self._expires and now - self._answered < _YOUNG
        return Decision.DONE if is_young else Decision.ASK

    def answered(self) -> None:
        """Note that the provider has returned or raised."""
        self._answered = self.clock()

    def granted(self, headers: Mapping[str, str], lifetime: float | None, *, asked: float) -> None:
        """Use other *headers* from now on.

        Args:
            headers: those.
            lifetime: seconds for which they are valid; None if that is not known.
            asked: when they were asked for.
        """
        self.headers = headers
        if lifetime is None:
            self._due = self._expires = math.inf
        else:
            self._expires = asked + lifetime
            self._due = self._expires - min(_MARGIN, lifetime / 10)


class Pinned:
    """Credentials that go to one origin and to no other.

    Args:
        credentials: what goes there; others may share it.
        base: a URL of the origin.

    Attributes:
        credentials: see above.
    """

    __slots__ = ("_authority", "_scheme", "credentials")

    def __init__(self, credentials: Credentials, base: URL) -> None:
        self.credentials = credentials
        self._scheme = base.scheme
        self._authority = base.authority

    def before(self, url: URL) -> Decision:
        """What to do with a request to *url*: anything but ``DONE``."""
        # Whatever led the request elsewhere, the credentials do not follow.
        if url.authority != self._authority or url.scheme != self._scheme:
            return Decision.SEND_BARE
        return self.credentials.before() if self.credentials.renewable else Decision.SEND

    def after(self, status: int, sent: Mapping[str, str], *, is_replay: bool) -> Decision:
        """What to do when the reply is there: ``DONE``, or once ``SEND`` or ``ASK``.

        Args:
            status: that of the reply.
            sent: the headers that the request went with.
            is_replay: whether it had been sent before, with others.
        """
        if status not in _REFUSED or is_replay:
            return Decision.DONE
        return self.credentials.refused(sent)
