"""Which credentials go with a request, and whether their refusal is final: pure functions."""

import pytest
from yarl import URL

from ioto_async.transport.credentials import Credentials, Decision, Pinned

BASE = URL("https://cloud.example/base")
HEADERS = {"Authorization": "token-1"}
OTHERS = {"Authorization": "token-2"}


class Login:
    """Credentials that can be renewed, on a clock of their own."""

    def __init__(self, *granted: float | None) -> None:
        """Each of *granted* is the lifetime of a token that was asked for and given at once."""
        self.now = 1000.0
        self.credentials = Credentials({}, renewable=True, clock=lambda: self.now)
        self.pinned = Pinned(self.credentials, BASE)
        for lifetime in granted:
            self.credentials.answered()
            self.credentials.granted(HEADERS, lifetime, asked=self.now)

    def before(self, at: float) -> Decision:
        self.now = 1000.0 + at
        return self.pinned.before(BASE)

    def after(self, at: float, status: int = 403, *, is_replay: bool = False) -> Decision:
        self.now = 1000.0 + at
        return self.pinned.after(status, HEADERS, is_replay=is_replay)


def a_token() -> Pinned:
    """Credentials that cannot be renewed, whose clock is never looked at."""
    return Pinned(Credentials(HEADERS, renewable=False, clock=lambda: pytest.fail("the clock")), BASE)


# Where they go ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pinned", [a_token(), Login(None).pinned])
def test_credentials_go_to_their_origin_and_nowhere_else(pinned: Pinned) -> None:
    table = {
        "https://cloud.example/base": Decision.SEND,
        "https://cloud.example/": Decision.SEND,
        "https://cloud.example/tok/device/get?x=1": Decision.SEND,
        "https://CLOUD.example/": Decision.SEND,
        "http://cloud.example/base": Decision.SEND_BARE,
        "https://cloud.example:8443/base": Decision.SEND_BARE,
        "https://user@cloud.example/base": Decision.SEND_BARE,
        "https://cloud.example.evil/base": Decision.SEND_BARE,
        "https://evil.example/base": Decision.SEND_BARE,
    }
    seen = {url: pinned.before(URL(url)) for url in table}
    assert {url: decision for url, decision in seen.items() if decision is not table[url]} == {}


def test_nothing_is_asked_for_the_sake_of_another_origin() -> None:
    assert Login().pinned.before(URL("https://evil.example")) is Decision.SEND_BARE


# Before a request -------------------------------------------------------------------------------------------------


def test_a_token_is_asked_for_when_there_is_none() -> None:
    assert Login().before(0) is Decision.ASK


def test_a_token_of_unknown_lifetime_is_sent_for_ever() -> None:
    assert Login(None).before(1e9) is Decision.SEND


@pytest.mark.parametrize(("lifetime", "margin"), [(3600, 60), (601, 60), (600, 60), (100, 10), (1, 0.1)])
def test_the_next_token_is_asked_for_once_shortly_before_the_end_and_waited_for_then(
    lifetime: float, margin: float
) -> None:
    login = Login(lifetime)
    due = lifetime - margin
    seen = [login.before(at) for at in (0, due * 0.999, due, due, lifetime * 0.999, lifetime, lifetime + 1)]
    assert seen == [
        Decision.SEND,
        Decision.SEND,
        Decision.SEND_AND_RENEW,
        Decision.SEND,
        Decision.SEND,
        Decision.ASK,
        Decision.ASK,
    ]


def test_a_lifetime_counts_from_the_question() -> None:
    login = Login()
    login.now += 50
    login.credentials.granted(HEADERS, 100, asked=1000.0)
    assert [login.before(at) for at in (89, 91, 100)] == [Decision.SEND, Decision.SEND_AND_RENEW, Decision.ASK]


def test_a_token_without_a_lifetime_after_one_with_is_sent_for_ever() -> None:
    assert Login(100, None).before(1e9) is Decision.SEND


# After a reply ----------------------------------------------------------------------------------------------------


def test_a_refused_token_is_replaced_by_one_that_is_asked_for() -> None:
    assert [Login(None).after(60, status) for status in (401, 403)] == [Decision.ASK] * 2


@pytest.mark.parametrize("status", [200, 204, 302, 400, 402, 404, 407, 429, 500, 503])
def test_any_other_status_is_taken_as_it_is(status: int) -> None:
    assert Login(None).after(60, status) is Decision.DONE


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_what_cannot_be_renewed_is_final(status: int) -> None:
    assert a_token().after(status, HEADERS, is_replay=False) is Decision.DONE


@pytest.mark.parametrize("status", [401, 403])
def test_a_request_is_sent_again_once(status: int) -> None:
    login = Login(None)
    login.credentials.granted(OTHERS, None, asked=0.0)
    assert login.after(60, status) is Decision.SEND
    assert login.after(60, status, is_replay=True) is Decision.DONE


def test_a_token_that_another_call_was_given_meanwhile_is_tried_without_asking() -> None:
    login = Login(None)
    login.credentials.answered()
    login.credentials.granted(OTHERS, None, asked=login.now)
    assert (login.after(0), login.credentials.headers) == (Decision.SEND, OTHERS)


@pytest.mark.parametrize(("at", "decision"), [(0, Decision.DONE), (9.9, Decision.DONE), (10.0, Decision.ASK)])
def test_the_refusal_of_a_young_token_is_final(at: float, decision: Decision) -> None:
    assert Login(None).after(at) is decision


def test_a_young_token_that_has_expired_is_replaced() -> None:
    assert [Login(5).after(at) for at in (4.9, 5.0)] == [Decision.DONE, Decision.ASK]


def test_the_refusal_is_final_for_some_seconds_after_a_question_in_vain() -> None:
    login = Login(None)
    assert login.after(60) is Decision.ASK
    login.credentials.answered()
    assert [login.after(at) for at in (60, 69.9, 70)] == [Decision.DONE, Decision.DONE, Decision.ASK]
