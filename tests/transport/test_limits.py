"""How fast a client may call: the token bucket and the search for what a service can do, by simulated clocks."""

import heapq
import itertools
import math
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ioto_async import InvalidArgumentError, Limits
from ioto_async.transport.limits import Adaptive, TokenBucket, Verdict
from tests.rows import each_row

# Limits -----------------------------------------------------------------------------------------------------------


def test_without_numbers_there_are_no_limits() -> None:
    assert (Limits().rate, Limits().in_flight) == (None, None)


def test_one_request_at_a_time_is_a_limit() -> None:
    assert Limits(in_flight=1).in_flight == 1


@each_row(
    "name, value, text",
    [
        *(("rate", rate, r"rate: .*second.*got") for rate in (0, -1, math.inf, math.nan, "200/s", True)),
        *(("in_flight", number, r"in_flight: .*whole number.*got") for number in (0, -1, 2.5, "64", True, math.inf)),
    ],
)
def test_limits_that_are_no_numbers_above_0_are_refused_by_name_and_value(name: str, value: Any, text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text) as caught:
        Limits(**{name: value})
    assert repr(value) in str(caught.value)


# The token bucket -------------------------------------------------------------------------------------------------


def taken(bucket: TokenBucket, seconds: float, *, step: float, begin: float = 0.0) -> int:
    """How many tokens somebody gets who asks every *step* seconds and takes all there are."""
    count, now = 0, begin
    while now < begin + seconds:
        while not bucket.delay(now):
            bucket.take()
            count += 1
        now += step
    return count


@each_row("step", [0.0001, 0.003, 0.1])
def test_a_bucket_gives_its_rate_however_often_it_is_asked(step: float) -> None:
    bucket = TokenBucket(100, burst=20)
    assert taken(bucket, 10, step=step) == pytest.approx(1000 + 20, abs=15)


def test_a_bucket_gives_no_more_than_its_burst_at_once() -> None:
    bucket = TokenBucket(10, burst=3)
    assert taken(bucket, 0.001, step=0.01) == 3
    assert taken(bucket, 0.001, step=0.01, begin=1000.0) == 3, "a long quiet time saved up more than the burst"


def test_the_delay_of_a_bucket_is_the_time_until_its_next_token() -> None:
    bucket = TokenBucket(10)
    assert bucket.delay(5.0) == 0
    bucket.take()
    assert bucket.delay(5.0) == pytest.approx(0.1)
    assert bucket.delay(5.04) == pytest.approx(0.06)
    assert bucket.delay(5.1) == 0


def test_a_token_that_is_given_back_can_be_taken_again() -> None:
    bucket = TokenBucket(1)
    assert not bucket.delay(0.0)
    bucket.take()
    bucket.give_back()
    assert not bucket.delay(0.0)


def test_giving_back_never_fills_a_bucket_beyond_its_burst() -> None:
    bucket = TokenBucket(1, burst=2)
    for _ in range(5):
        bucket.give_back()
    assert taken(bucket, 0.001, step=0.01) == 2


def test_a_bucket_without_a_rate_always_has_a_token() -> None:
    bucket = TokenBucket(math.inf)
    for _ in range(1000):
        assert bucket.delay(1.0) == 0
        bucket.take()


def test_what_was_saved_up_before_a_change_of_the_rate_came_in_at_the_old_one() -> None:
    bucket = TokenBucket(10, burst=10)
    assert taken(bucket, 0.001, step=0.01) == 10
    bucket.change(0.5, 1000, burst=20)  # five have come in by then
    assert taken(bucket, 0.0001, step=0.01, begin=0.5) == 5


def test_a_bucket_that_gets_a_rate_begins_empty() -> None:
    bucket = TokenBucket(math.inf)
    bucket.change(3.0, 2, burst=5)
    assert bucket.delay(3.0) == pytest.approx(0.5)


def test_a_lower_burst_takes_away_what_is_above_it() -> None:
    bucket = TokenBucket(10, burst=10)
    bucket.change(0.0, 1, burst=2)
    assert taken(bucket, 0.001, step=0.01) == 2


@given(
    rate=st.floats(0.1, 5000),
    burst=st.floats(1, 50),
    asks=st.lists(st.floats(0, 0.5), min_size=1, max_size=60),
)
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate(rate: float, burst: float, asks: list[float]) -> None:
    bucket = TokenBucket(rate, burst=burst)
    now, count = 100.0, 0
    for wait in asks:
        now += wait
        while count < 5000 and not bucket.delay(now):
            bucket.take()
            count += 1
        assert count <= burst + (now - 100.0) * rate + 1e-3


@given(rate=st.floats(0.01, 1e5), now=st.floats(0, 1e6))
def test_who_waits_as_long_as_a_bucket_says_gets_a_token(rate: float, now: float) -> None:
    bucket = TokenBucket(rate)
    for _ in range(5):
        delay = bucket.delay(now)
        # A timer of a real loop does not fire early; what rounding of the sum does is less than a nanosecond.
        now += delay + 1e-9
        assert bucket.delay(now) == 0
        bucket.take()


# What a service can do, found out ---------------------------------------------------------------------------------


@attrs.define
class Server:
    """Serves *capacity* requests a second and *burst* at once, refuses the others; every reply takes *latency*.

    With *queue* it refuses none: they wait until it is their turn, so that the latency rises instead.
    """

    capacity: float
    latency: float
    burst: float = 10.0
    jitter: float = 0.2
    """Share of the latency by which replies differ."""
    queue: bool = False
    dead: bool = False
    """Whether all requests time out, after ten latencies."""
    tokens: float = 0.0
    now: float = 0.0
    free: float = 0.0
    dice: random.Random = attrs.field(factory=lambda: random.Random(7))
    vary: Callable[[random.Random], tuple[str, float]] | None = None
    """Draws what is asked for and its latency, where that is not always the same."""

    def ask(self, now: float) -> tuple[str, float, Verdict]:
        """What somebody asks for at *now*, when the reply to it comes, and what it is."""
        if self.vary is None:
            return "a", *self.answer(now, self.latency * (1 + self.jitter * self.dice.random()))
        operation, latency = self.vary(self.dice)
        return operation, *self.answer(now, latency)

    def answer(self, now: float, latency: float) -> tuple[float, Verdict]:
        """When the reply to a request of *now* comes, and what it is."""
        if self.dead:
            return now + 10 * latency, Verdict.OVERLOADED
        if self.queue:
            self.free = max(self.free, now) + 1 / self.capacity
            return self.free + latency, Verdict.SERVED
        self.tokens = min(self.burst, self.tokens + (now - self.now) * self.capacity)
        self.now = now
        if self.tokens < 1:
            return now + latency, Verdict.THROTTLED
        self.tokens -= 1
        return now + latency, Verdict.SERVED


@attrs.define
class Client:
    """Sends as many requests as `Adaptive` allows, as a limiter does, and never has nothing to send."""

    server: Server
    adaptive: Adaptive
    now: float = 0.0
    in_flight: int = 0
    demand: float = math.inf
    """Requests a second that there are to send."""
    replies: list[tuple[float, Verdict]] = attrs.field(factory=list)
    """When each reply came, and what it was."""
    due: list[tuple[float, int, float, str, Verdict]] = attrs.field(factory=list)
    sent: int = 0
    bucket: TokenBucket = attrs.field(init=False)
    source: TokenBucket = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.bucket = TokenBucket(self.adaptive.rate)
        self.source = TokenBucket(self.demand)

    def _follow(self) -> None:
        if self.bucket.rate != self.adaptive.rate:
            self.bucket.change(self.now, self.adaptive.rate, max(1.0, self.adaptive.rate * 0.02))

    def run(self, seconds: float) -> None:
        """Go on for so many seconds."""
        end = self.now + seconds
        while True:
            wait = math.inf
            while self.in_flight < int(self.adaptive.limit):
                wait = max(self.bucket.delay(self.now), self.source.delay(self.now))
                if wait:
                    break
                self.bucket.take()
                self.source.take()
                self.in_flight += 1
                self.sent += 1
                operation, when, verdict = self.server.ask(self.now)
                heapq.heappush(self.due, (when, self.sent, self.now, operation, verdict))
            # A timer fires up to a millisecond late.
            moment = min(self.due[0][0] if self.due else math.inf, self.now + wait + 0.001)
            if moment > end:
                self.now = end
                return
            self.now = moment
            while self.due and self.due[0][0] <= self.now:
                _, _, sent, operation, verdict = heapq.heappop(self.due)
                self.replies.append((self.now, verdict))
                self.adaptive.reply(verdict, of=operation, sent=sent, now=self.now, in_flight=self.in_flight)
                self.in_flight -= 1
                self._check()
            self._follow()

    def _check(self) -> None:
        assert 1 <= self.adaptive.limit <= self.adaptive.ceiling
        assert self.adaptive.rate > 0

    def served(self, begin: float, end: float) -> float:
        """Requests served a second between two times."""
        served = sum(1 for when, verdict in self.replies if begin <= when < end and verdict is Verdict.SERVED)
        return served / (end - begin)

    def refused(self, begin: float, end: float) -> float:
        """Share of the replies between two times that were refusals."""
        verdicts = [verdict for when, verdict in self.replies if begin <= when < end]
        return verdicts.count(Verdict.THROTTLED) / len(verdicts)


LATENCIES = [0.002, 0.02, 0.05]
BURSTS = [5, 10, 100, 500]


@pytest.mark.slow
@each_row("latency, burst, ceiling", itertools.product(LATENCIES, BURSTS, [64, 256]))
def test_it_settles_at_the_capacity_of_a_service_that_refuses_what_is_beyond(
    latency: float, burst: float, ceiling: int
) -> None:
    client = Client(Server(500, latency, burst), Adaptive(ceiling))
    client.run(20)
    assert client.served(10, 20) == pytest.approx(500, rel=0.1)
    assert client.refused(10, 20) < 0.05
    assert client.refused(0, 20) < 0.05, "too many were refused while it settled"


@pytest.mark.slow
@each_row("capacity, latency, burst", itertools.product([1000, 200], [0.002, 0.02], [10, 100]))
def test_it_follows_a_capacity_that_changes(capacity: int, latency: float, burst: float) -> None:
    client = Client(Server(500, latency, burst), Adaptive(256))
    client.run(10)
    assert client.served(5, 10) == pytest.approx(500, rel=0.1)
    client.server.capacity = capacity
    client.run(15)
    assert client.served(17, 25) == pytest.approx(capacity, rel=0.1)
    assert client.refused(17, 25) < 0.05
    client.server.capacity = 500
    client.run(15)
    assert client.served(32, 40) == pytest.approx(500, rel=0.1)
    assert client.refused(32, 40) < 0.05


def test_it_finds_a_small_capacity_as_well() -> None:
    client = Client(Server(5, 0.05, burst=1), Adaptive(100))
    client.run(120)
    assert client.served(60, 120) == pytest.approx(5, rel=0.3)
    assert client.refused(60, 120) < 0.2


def test_a_service_that_has_room_is_used_up_to_the_ceiling() -> None:
    client = Client(Server(math.inf, 0.01, jitter=0), Adaptive(64))
    client.run(5)
    assert (client.adaptive.limit, client.adaptive.rate) == (64, math.inf)
    assert client.served(4, 5) == pytest.approx(6400, rel=0.02)


def test_a_service_whose_latency_rises_is_given_fewer_requests_at_once() -> None:
    """It refuses none but lets them wait, so 100 at once would wait 200 ms each for nothing."""
    client = Client(Server(500, 0.02, queue=True), Adaptive(100))
    client.run(30)
    assert client.served(10, 30) == pytest.approx(500, rel=0.1)
    assert client.in_flight < 60
    assert client.adaptive.limit < 60


def test_latency_that_rises_lowers_the_limit() -> None:
    client = Client(Server(math.inf, 0.02), Adaptive(64))
    client.run(5)
    before = client.adaptive.limit
    client.server.latency = 0.2
    client.run(2)
    assert client.adaptive.limit < before / 1.5


def test_latency_that_differs_a_little_does_not_lower_the_limit() -> None:
    client = Client(Server(math.inf, 0.02, jitter=0.5), Adaptive(64))
    client.run(20)
    assert client.adaptive.limit == 64


Vary = Callable[[random.Random], tuple[str, float]]

VARIED: dict[str, Vary] = {
    "two operations": lambda dice: dice.choice([("device/get", 0.01), ("device/find", 0.19)]),
    "a long tail": lambda dice: ("device/get", 0.02 + dice.expovariate(1 / 0.08)),
    "a few quick ones": lambda dice: ("device/get", 0.002 if dice.random() < 0.01 else 0.05),
}


@pytest.mark.slow
@each_row("name, seed", itertools.product(VARIED, range(2)))
def test_latency_that_differs_by_nature_does_not_keep_the_limit_below_the_ceiling(name: str, seed: int) -> None:
    client = Client(Server(math.inf, 0, vary=VARIED[name], dice=random.Random(seed)), Adaptive(64))
    limits = list[float]()
    for _ in range(500):
        client.run(0.1)
        limits.append(client.adaptive.limit)
    assert limits.index(64) < 50
    # By chance all of some replies may be slow, which costs a few requests for a second or two.
    assert sum(limits[100:]) / 400 > 0.97 * 64
    assert min(limits[100:]) > 0.6 * 64


@pytest.mark.slow
def test_an_operation_that_takes_longer_than_the_one_before_does_not_lower_the_limit() -> None:
    """Such as a search for all devices after a call for each of them."""
    client = Client(Server(math.inf, 0, vary=lambda dice: ("device/get", 0.01)), Adaptive(64))
    client.run(10)
    client.server.vary = lambda dice: ("device/find", 0.19)
    for _ in range(10):
        client.run(1)
        assert client.adaptive.limit == 64


@each_row("vary", VARIED)
def test_latency_that_differs_by_nature_and_rises_lowers_the_limit(vary: Vary) -> None:
    def later(vary: Vary, dice: random.Random) -> tuple[str, float]:
        operation, latency = vary(dice)
        return operation, 10 * latency

    client = Client(Server(math.inf, 0, vary=vary), Adaptive(64))
    client.run(20)
    client.server.vary = partial(later, vary)
    client.run(10)
    assert client.adaptive.limit < 40


def test_a_service_that_lets_different_operations_wait_is_given_fewer_requests_at_once() -> None:
    client = Client(Server(500, 0, queue=True, vary=VARIED["two operations"]), Adaptive(256))
    client.run(60)
    assert client.served(30, 60) == pytest.approx(500, rel=0.1)
    assert client.adaptive.limit < 200


def test_a_latency_that_stays_high_is_the_normal_one_after_a_while() -> None:
    client = Client(Server(math.inf, 0.02), Adaptive(64))
    client.run(5)
    client.server.latency = 0.2
    client.run(120)
    assert client.adaptive.limit > 50


def test_time_outs_lower_the_limit_down_to_1() -> None:
    client = Client(Server(math.inf, 0.02), Adaptive(64))
    client.run(5)
    assert client.adaptive.limit == 64
    client.server.dead = True
    client.run(0.5)
    assert client.adaptive.limit <= 32
    client.run(20)
    assert client.adaptive.limit == 1


@pytest.mark.slow
def test_it_recovers_from_time_outs() -> None:
    client = Client(Server(math.inf, 0.02), Adaptive(64))
    client.server.dead = True
    client.run(10)
    client.server.dead = False
    client.run(30)
    assert client.adaptive.limit > 60


def test_a_limit_that_is_not_used_does_not_rise() -> None:
    client = Client(Server(math.inf, 0.01), Adaptive(256), demand=500)
    client.run(20)
    assert client.adaptive.limit < 20, "5 at once are enough for 500 a second at 10 ms"


@each_row("demand", [50, 300])
def test_the_rate_does_not_rise_beyond_twice_what_is_used(demand: int) -> None:
    client = Client(Server(500, 0.01), Adaptive(256))
    client.run(10)
    assert client.adaptive.rate < math.inf
    client.source.change(client.now, demand, 1.0)
    client.server.capacity = math.inf
    client.run(10)
    before = client.adaptive.rate
    client.run(60)
    assert client.adaptive.rate <= max(before, 2 * demand * 1.1)


def test_one_overload_is_one_decrease() -> None:
    adaptive = Adaptive(100, start=64)
    for _ in range(64):
        adaptive.reply(Verdict.OVERLOADED, of="a", sent=1.0, now=2.0, in_flight=64)
    assert adaptive.limit == 32
    adaptive.reply(Verdict.OVERLOADED, of="a", sent=2.5, now=3.0, in_flight=32)
    assert adaptive.limit == 16


def served(adaptive: Adaptive, rate: float, begin: float, end: float) -> None:
    """Let *rate* requests a second be served between two times."""
    for number in range(int((end - begin) * rate)):
        now = begin + number / rate
        adaptive.reply(Verdict.SERVED, of="a", sent=now - 0.001, now=now, in_flight=4)


def test_a_burst_of_refusals_is_one_decrease_of_the_rate() -> None:
    adaptive = Adaptive(100)
    served(adaptive, 500, 0, 5)
    adaptive.reply(Verdict.THROTTLED, of="a", sent=5.0, now=5.01, in_flight=50)
    rate = adaptive.rate
    assert 300 < rate < 500
    for _ in range(49):
        adaptive.reply(Verdict.THROTTLED, of="a", sent=5.0, now=5.02, in_flight=50)
    assert adaptive.rate == rate


def test_refusals_lower_the_rate_and_leave_the_requests_in_flight() -> None:
    adaptive = Adaptive(100, start=64)
    adaptive.reply(Verdict.THROTTLED, of="a", sent=1.0, now=1.5, in_flight=64)
    assert adaptive.limit == 64
    assert adaptive.rate < math.inf


def test_after_a_refusal_the_limit_still_doubles() -> None:
    adaptive = Adaptive(1000, start=8)
    adaptive.reply(Verdict.THROTTLED, of="a", sent=0.0, now=1.0, in_flight=8)
    for _ in range(8):
        adaptive.reply(Verdict.SERVED, of="a", sent=1.01, now=1.02, in_flight=int(adaptive.limit))
    assert adaptive.limit == 16


def test_what_says_nothing_about_the_load_changes_nothing() -> None:
    adaptive = Adaptive(100, start=64)
    adaptive.reply(Verdict.SILENT, of="a", sent=1.0, now=50.0, in_flight=64)
    assert (adaptive.limit, adaptive.rate) == (64, math.inf)


def test_the_limit_doubles_in_each_round_trip_at_first() -> None:
    adaptive = Adaptive(1000, start=4)
    now = 0.0
    for limit in (4, 8, 16, 32, 64):
        assert adaptive.limit == limit
        for _ in range(limit):
            adaptive.reply(Verdict.SERVED, of="a", sent=now, now=now + 0.01, in_flight=int(adaptive.limit))
        now += 0.01


def test_after_an_overload_the_limit_rises_by_one_in_each_round_trip() -> None:
    adaptive = Adaptive(1000, start=64)
    adaptive.reply(Verdict.OVERLOADED, of="a", sent=0.0, now=1.0, in_flight=64)
    now = 1.0
    for _ in range(4):
        before = adaptive.limit
        for _ in range(int(before)):
            adaptive.reply(Verdict.SERVED, of="a", sent=now + 0.001, now=now + 0.01, in_flight=int(adaptive.limit))
        assert adaptive.limit == pytest.approx(before + 1, abs=0.1)
        now += 0.01


def test_a_start_above_the_ceiling_is_the_ceiling() -> None:
    assert Adaptive(2, start=4).limit == 2


@given(
    ceiling=st.integers(1, 300),
    replies=st.lists(
        st.tuples(st.sampled_from(list(Verdict)), st.floats(0, 3), st.floats(0, 5), st.integers(1, 400)),
        max_size=200,
    ),
)
def test_whatever_comes_the_limit_is_between_1_and_the_ceiling_and_the_rate_above_0(
    ceiling: int, replies: list[tuple[Verdict, float, float, int]]
) -> None:
    adaptive = Adaptive(ceiling)
    now = 1000.0
    for verdict, wait, latency, in_flight in replies:
        now += wait
        adaptive.reply(verdict, of="a", sent=now - latency, now=now, in_flight=in_flight)
        assert 1 <= adaptive.limit <= ceiling
        assert adaptive.rate > 0
