"""The embedded cloud's metric engine: samples in, statistics out.

A metric has six spans, from five minutes in points of 30 s to a year in points of a month. A sample enters the
finest span; a point that leaves its span is folded, as its average, into the next one. The behaviour is that of
the reference, section Metrics, and of custom-metrics 1.1. Instants and lengths are seconds inside the engine.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, islice
from typing import NamedTuple, NotRequired, Protocol, TypedDict

__all__ = [
    "Buffer",
    "HeldSamples",
    "MemoryStorage",
    "MetricEngine",
    "MetricItem",
    "MetricList",
    "MetricPoint",
    "MetricResult",
    "MetricStorage",
]

SHAPES = ((300, 10), (3600, 12), (86_400, 12), (604_800, 14), (2_419_200, 14), (31_536_000, 12))
PERIODS = [period for period, _ in SHAPES]
LONGEST = len(SHAPES) - 1
LIFETIME = PERIODS[LONGEST]
LIST_LIMIT = 10_000
LARGEST = 2**53 - 1
_FINEST = SHAPES[0][0] // SHAPES[0][1]
_FEW = 1e15
STATISTIC = re.compile(r"avg|min|max|count|sum|current|p\d+")

Point = Sequence[float]  # count, sum, min, max; replaced, never changed, so that copies of a span may share it
EMPTY: Point = (0, 0, 0, 0)
FIELDS = {"count": 0, "sum": 1, "min": 2, "max": 3}


class Buffer(TypedDict, total=False):
    """When held samples are stored: at a sum, at a count, after ``elapsed`` seconds (30), or always."""

    sum: float
    count: float
    elapsed: float
    force: bool


class MetricItem(TypedDict):
    """A stored metric, JSON-serialisable: void from ``expires`` (epoch s) on.

    Each span, finest first, is the end of its newest interval (epoch s) and ``[count, sum, min, max]`` for each.
    """

    expires: float
    spans: list[tuple[float, list[Point]]]


class MetricPoint(TypedDict):
    """A point of a result, its timestamp in epoch milliseconds, or in epoch seconds if accumulated.

    ``value`` is None if it is not finite, and missing if the statistic is not stored.
    """

    value: NotRequired[float | None]
    count: float
    timestamp: float


class MetricResult(TypedDict):
    """The answer to a query: ``period`` (s) and ``samples`` are those of the span that served it."""

    namespace: str
    metric: str
    dimensions: dict[str, object]
    period: float
    points: list[MetricPoint]
    samples: int


class MetricList(TypedDict):
    """The names in use; ``metrics`` and ``dimensions`` only if what they belong to was named and exists."""

    namespaces: list[str]
    metrics: NotRequired[list[str]]
    dimensions: NotRequired[list[dict[str, object]]]


class HeldSamples(NamedTuple):
    """The samples of a metric held by a buffer: how long (s), until when (epoch s), how many, and what they add to."""

    elapsed: float
    due: float
    size: float
    total: float


class MetricStorage(Protocol):
    """Where metrics are kept, under ``owner#namespace#metric#dimensions``. Items are not changed once put."""

    def get(self, key: str) -> MetricItem | None:
        """Return the item of *key*, None if there is none."""

    def put(self, key: str, item: MetricItem) -> None:
        """Store *item*, in place of what *key* had."""

    def keys(self, prefix: str) -> Iterable[str]:
        """Return the keys that begin with *prefix*, in ascending order."""

    def hold(self, key: str, held: HeldSamples) -> None:
        """Store what is held for *key*, in place of what was."""

    def held(self, prefix: str) -> Iterable[tuple[str, HeldSamples]]:
        """Return the keys that begin with *prefix* and for which something was held, with what it is."""


class MemoryStorage:
    """A `MetricStorage` that lasts as long as the process."""

    def __init__(self) -> None:
        self._items: dict[str, MetricItem] = {}
        self._held: dict[str, HeldSamples] = {}
        self.get = self._items.get
        self.put = self._items.__setitem__
        self.hold = self._held.__setitem__

    def held(self, prefix: str) -> list[tuple[str, HeldSamples]]:
        """Return the keys that begin with *prefix* and for which something was held, with what it is."""
        return [(key, held) for key, held in self._held.items() if key.startswith(prefix)]

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with *prefix*, in ascending order."""
        return sorted(key for key in self._items if key.startswith(prefix))


class MetricEngine:
    """The metrics of one owner. Each call is given the present, in epoch milliseconds, as its ``timestamp``."""

    def __init__(self, storage: MetricStorage | None = None, *, owner: str = "default") -> None:
        self._storage: MetricStorage = MemoryStorage() if storage is None else storage
        self._owner = _name("owner", owner)
        # Each is stored as well, for a process that ends without a flush.
        self._held = dict(self._storage.held(f"{self._owner}#"))
        # What was stored at the time of the newest sample, by key: these items need no more than to have one added.
        self._present: dict[str, MetricItem] = {}
        self._presence: float = 0

    def emit(
        self,
        namespace: str,
        metric: str,
        value: float,
        dimensions: Sequence[Mapping[str, object]] = ({},),
        *,
        timestamp: float,
        buffer: Buffer | None = None,
    ) -> None:
        """Add the sample *value* to the metric of each map in *dimensions* (none counts as ``{}``).

        A sample some five minutes older than the newest is dropped. With *buffer*, samples are held apart, as one
        sum, until a limit is reached, the metric is queried, or `flush` is called.
        Source: reference, section Metrics; custom-metrics 1.1 behaviour.

        Raises:
            ValueError: for a value that is not a finite number below 2^53, or an unusable name, map or buffer.
        """
        if not _is_number(value) or not abs(value) <= LARGEST:
            raise ValueError(f"value {value!r} is not a finite number below 2^53")
        prefix = f"{self._owner}#{_name('namespace', namespace)}#{_name('metric', metric)}#"
        keys = [prefix + _dimension_key(each) for each in dimensions or ({},)]
        now = int(timestamp // 1000)
        if buffer and _limits(buffer):
            for key in keys:
                self._hold(key, value, now, buffer)
        else:
            for key in keys:
                self._add(key, value, now)

    def flush(self, *, timestamp: float) -> None:
        """Store all that is held by buffers, as before a shutdown."""
        for key in self._held:
            self._release(key, int(timestamp // 1000))

    def query(
        self,
        namespace: str,
        metric: str,
        dimensions: Mapping[str, object],
        period: float,
        statistic: str,
        *,
        accumulate: bool = False,
        start: float | None = None,
        timestamp: float,
    ) -> MetricResult:
        """Return *statistic* over *period* seconds until the present, or from *start* (epoch ms) on.

        The statistic is avg, min, max, count, sum, current (as avg; accumulated, the newest point) or pNN, for
        which nothing is stored. An unknown metric has no points and 0 samples; that is not an error.
        Source: reference, section Metrics; custom-metrics 1.1 behaviour.

        Raises:
            ValueError: for an unknown statistic, a period not above 0, or a series of pNN that has samples.
        """
        _check(period, statistic)
        period = min(period, LIFETIME)
        now = int(timestamp // 1000)
        key = f"{self._owner}#{namespace}#{metric}#{_dimension_key(dimensions)}"
        if key in self._held:
            self._release(key, now)
        item = self._live(key, now)
        if item:
            return _result(key, item, period, statistic, now, accumulate, start)
        return MetricResult(
            namespace=namespace, metric=metric, dimensions=dict(dimensions), period=period, points=[], samples=0
        )

    def query_all(
        self, namespace: str, metric: str, period: float, statistic: str, *, timestamp: float
    ) -> list[MetricResult]:
        """Return the accumulated *statistic* of every dimension map of *metric*, as `query` does.

        The name is a prefix, too: ``temp`` also finds ``temperature``. Samples held by buffers do not count.
        Source: custom-metrics 1.1 behaviour (queryMetrics).

        Raises:
            ValueError: for an unknown statistic or a period not above 0.
        """
        _check(period, statistic)
        now = int(timestamp // 1000)
        found = [(key, self._live(key, now)) for key in self._find(namespace, metric)]
        return [_result(key, item, period, statistic, now, True, None) for key, item in found if item]

    def series(self, keys: Iterable[str], period: float, statistic: str, *, timestamp: float) -> list[MetricResult]:
        """Return the *statistic* of the metrics with these *keys* of the storage, as `query` does.

        Samples held by buffers do not count, and stay there.

        Raises:
            ValueError: for an unknown statistic, a period not above 0, or a series of pNN that has samples.
        """
        _check(period, statistic)
        period, now = min(period, LIFETIME), int(timestamp // 1000)
        found = [(key, self._live(key, now)) for key in keys]
        return [_result(key, item, period, statistic, now, False, None) for key, item in found if item]

    def metric_list(self, namespace: str | None = None, metric: str | None = None) -> MetricList:
        """Return the namespaces that begin with *namespace*; its metrics; the dimension maps of *metric*.

        Source: reference, section Metrics (getMetricList).
        """
        namespaces: dict[str, dict[str, list[dict[str, object]]]] = {}
        for key in self._find(namespace, metric):
            _, space, name, dimensions = key.split("#", 3)
            namespaces.setdefault(space, {}).setdefault(name, []).append(_dimension_map(dimensions))
        result: MetricList = {"namespaces": list(namespaces)}
        if namespace in namespaces:
            metrics = namespaces[namespace]
            result["metrics"] = list(metrics)
            if metric in metrics:
                result["dimensions"] = metrics[metric]
        return result

    def _find(self, namespace: str | None, metric: str | None) -> Iterable[str]:
        prefix = f"{self._owner}#{namespace or ''}" + (f"#{metric}" if metric else "")
        return islice(self._storage.keys(prefix), LIST_LIMIT)

    def _live(self, key: str, now: float) -> MetricItem | None:
        item = self._storage.get(key)
        return item if item and now < item["expires"] else None

    def _add(self, key: str, value: float, now: float) -> None:
        """Store a sample of *now*: where the newest was of the same second, all but the finest point stays."""
        if now != self._presence:
            self._present.clear()
            self._presence = now
        item = self._live(key, now)
        if item is None or item is not self._present.get(key):
            self._present[key] = self._store(key, _Sample(now, 1, value), now)
            return
        end, points = item["spans"][0]
        place = int((now - end) // _FINEST)
        changed = [*points]
        changed[place] = _merged(changed[place], 1, value, value / 1, rounds=True)
        added: MetricItem = {"expires": item["expires"], "spans": [(end, changed), *item["spans"][1:]]}
        self._storage.put(key, added)
        self._present[key] = added

    def _store(self, key: str, sample: "_Sample", now: float) -> MetricItem:
        item = self._live(key, now)
        spans = _load(item, stores=True) if item else _new(now)
        _advance(spans, now, sample)
        # A late sample does not shorten the life of a metric that has newer ones.
        expires = max(now + LIFETIME, item["expires"] if item else 0)
        stored: MetricItem = {"expires": expires, "spans": [(span.end, span.points) for span in spans]}
        self._storage.put(key, stored)
        return stored

    def _hold(self, key: str, value: float, now: float, buffer: Buffer) -> None:
        elapsed = buffer.get("elapsed") or PERIODS[0] / SHAPES[0][1]
        held = self._held.get(key) or HeldSamples(elapsed, now + elapsed, 0, 0.0)
        full = held.total + value >= (buffer.get("sum") or math.inf)
        full = full or held.size + 1 >= (buffer.get("count") or math.inf)
        if full or buffer.get("force") or now >= held.due:
            # The sample that reaches the limit is not stored with the others: it begins the next round.
            self._store(key, _Sample(held.due, held.size, held.total), now)
            held = HeldSamples(held.elapsed, now + elapsed, 0, 0.0)
        self._keep(key, held._replace(size=held.size + 1, total=held.total + value))

    def _release(self, key: str, now: float) -> None:
        held = self._held[key]
        sample = _Sample(min(now, held.due), held.size, held.total)
        self._store(key, sample, math.floor(sample.when))
        self._keep(key, HeldSamples(held.elapsed, now + held.elapsed, 0, 0.0))

    def _keep(self, key: str, held: HeldSamples) -> None:
        self._storage.hold(key, held)
        self._held[key] = held


class _Sample(NamedTuple):
    """Values on their way into a span; a size of 0 only moves the span on."""

    when: float
    size: float
    total: float


class _Span:
    """A window of at most ``samples`` adjacent intervals that moves with time; ``end`` closes the newest."""

    __slots__ = ("end", "interval", "period", "points", "samples", "stores")

    def __init__(self, period: int, samples: int, end: float, points: list[Point], stores: bool) -> None:
        self.period = period
        self.samples = samples
        self.interval = period // samples
        self.end = end
        self.points = points
        self.stores = stores

    def align(self, instant: float) -> float:
        """Round *instant* up to an interval boundary."""
        return math.ceil(instant / self.interval) * self.interval

    def dated(self) -> Iterable[tuple[float, Point]]:
        """Each point with the begin of its interval, oldest first."""
        return zip(count(self.end - len(self.points) * self.interval, self.interval), self.points, strict=False)

    def remove_oldest(self, number: int) -> list[_Sample]:
        """Remove the *number* oldest points; those with samples go on as samples."""
        oldest = islice(self.dated(), number)
        leaving = [_Sample(when, point[0], point[1]) for when, point in oldest if point[0]]
        del self.points[:number]
        return leaving

    def trim(self, now: float, filling: bool) -> list[_Sample]:
        """Remove what is too old at *now*; when *filling*, leave space for the interval of *now*, too."""
        if now < self.end or not self.points:
            return []
        wanted = len(self.points) + int((now - self.end) // self.interval) + filling
        return self.remove_oldest(max(0, wanted - self.samples))

    def put(self, sample: _Sample) -> None:
        """Move the window as far as it goes towards *sample*, and add it if it is inside."""
        points = self.points
        if not points:
            self.end = self.align(sample.when + 1)
            self.points = [self._merged(EMPTY, sample)] if sample.size else []
            return
        place = int((sample.when - self.end) // self.interval)  # -1 is the newest interval
        if place < -self.samples:
            return
        if place >= 0:
            added = min(place + 1, self.samples - len(points))
            points += [EMPTY] * added
            self.end += added * self.interval
            place -= added
        elif place < -len(points):
            points[:0] = [EMPTY] * (-place - len(points))
        if sample.size and place < 0:
            points[place] = self._merged(points[place], sample)

    def _merged(self, point: Point, sample: _Sample) -> Point:
        return _merged(point, sample.size, sample.total, sample.total / sample.size, rounds=self.stores)


def _merged(point: Point, size: float, total: float, mean: float, *, rounds: bool) -> Point:
    """Add *size* samples of *mean* to a point."""
    samples, whole, low, high = point
    if not samples:
        low = high = mean
    merged = (whole + total, min(low, mean), max(high, mean))
    return (samples + size, *(map(_rounded, merged) if rounds else merged))


def _new(now: float) -> list[_Span]:
    spans = [_Span(*shape, 0, [], True) for shape in SHAPES]
    for span in spans:
        span.end = span.align(now + span.interval - 1)
    return spans


def _load(item: MetricItem, stores: bool) -> list[_Span]:
    return [
        _Span(period, samples, end, list(points), stores)
        for (period, samples), (end, points) in zip(SHAPES, item["spans"], strict=True)
    ]


def _advance(spans: list[_Span], now: float, sample: _Sample, lowest: int = 0) -> None:
    """Bring *spans* to the present and put *sample* where its age belongs, at level *lowest* or above.

    Spans below *lowest* are emptied into it, as a query of a long span is to see the newest samples, too.
    """
    still = _Sample(now, 0, 0)
    moving = [sample]
    for level, span in enumerate(spans):
        if level < lowest:
            moving[:0] = span.remove_oldest(len(span.points))
            continue
        leaving: list[_Sample] = []
        for each in moving:
            leaving += span.trim(now, each.size > 0)
            if span.period < now - each.when <= LIFETIME:
                leaving.append(each)
            else:
                span.put(each)
                # The longest span moves on with its samples only.
                if level + 1 < LONGEST and leaving[-1:] != [still]:
                    leaving.append(still)
        moving = leaving


def _result(
    key: str, item: MetricItem, period: float, statistic: str, now: float, accumulate: bool, start: float | None
) -> MetricResult:
    spans = _load(item, stores=False)
    newest = accumulate and statistic == "current"
    level, end = _range(spans, period, now, start)
    if newest:
        level = 0
    _advance(spans if newest else spans[: level + 1], now, _Sample(now, 0, 0), level)
    span = spans[level]
    begin = span.align(end - period)
    if newest:
        found = next((point for each in spans for point in reversed(each.points) if point[0]), EMPTY)
        points = [_point(found, statistic, begin + period)]
    elif accumulate:
        points = [_point(_total(span, begin, period), statistic, begin + period)]
    else:
        points = _series(span, begin, end, period, statistic)
    _, namespace, metric, dimensions = key.split("#", 3)
    return {
        "namespace": namespace,
        "metric": metric,
        "dimensions": _dimension_map(dimensions),
        "period": span.period,
        "points": points,
        "samples": span.samples,
    }


def _range(spans: list[_Span], period: float, now: float, start: float | None) -> tuple[int, float]:
    """Choose the span that serves a query, and the end of the queried range."""
    level = min(bisect_left(PERIODS, period), LONGEST)
    if start:
        begin = start / 1000
        while level < LONGEST and not spans[level].end - PERIODS[level] <= begin < spans[level].end:
            level += 1
        return level, begin + period
    finest = spans[0]
    return level, finest.end if finest.end - finest.interval <= now < finest.end else now


def _total(span: _Span, begin: float, period: float) -> Point:
    """Fold the points in the range into one. A stored interval without samples has a minimum of 0."""
    points = [point for when, point in span.dated() if begin <= when < begin + period]
    if not points:
        return (0, 0, math.inf, -math.inf)
    counts, sums, lows, highs = zip(*points, strict=True)
    return (sum(counts), sum(sums), min(lows), max(highs))


def _series(span: _Span, begin: float, end: float, period: float, statistic: str) -> list[MetricPoint]:
    """List the points in the range, with empty ones before and after what is stored."""
    interval = span.interval
    points: list[MetricPoint] = []
    lead = begin
    while lead < span.end - len(span.points) * interval and len(points) < span.samples:
        points.append(_point(EMPTY, "count", lead * 1000))
        lead += interval
    for when, point in span.dated():
        if begin <= when < end:
            if point[0] and statistic[0] == "p":
                raise ValueError(f"statistic {statistic!r} is not stored")
            points.append(_point(point, statistic if point[0] else "count", min(when + interval, end) * 1000))
    trail = span.end
    while len(points) < min(math.ceil(period / interval), span.samples):
        trail += interval
        points.append(_point(EMPTY, "count", min(trail, end) * 1000))
    return points


def _point(point: Point, statistic: str, timestamp: float) -> MetricPoint:
    """Make the point of a result; the statistics without a field of their own are averages."""
    result: MetricPoint = {"count": point[0], "timestamp": _plain(timestamp)}
    if statistic[0] != "p":
        value = point[FIELDS[statistic]] if statistic in FIELDS else point[1] / max(point[0], 1)
        result["value"] = _plain(value) if math.isfinite(value) else None
    return result


def _rounded(number: float) -> float:
    """Round to what the cloud stores: 16 digits, at most 15 of them decimals."""
    if -_FEW < number < _FEW and number == int(number):
        return number
    return round(number, 16 - len(f"{number:.0f}"))


def _plain(number: float) -> float:
    """An integral number as an int, so that its JSON has no fraction."""
    return int(number) if number == int(number) else number


def _dimension_key(dimensions: Mapping[str, object]) -> str:
    if not isinstance(dimensions, Mapping):
        raise ValueError(f"dimensions {dimensions!r} are not a map")
    names = dimensions if len(dimensions) < 2 else sorted(dimensions, key=_by_name)
    return ",".join([f"{name}={_text(dimensions[name])}" for name in names])


def _by_name(name: str) -> tuple[str, str]:
    return name.casefold(), name.swapcase()


def _dimension_map(key: str) -> dict[str, object]:
    """Read a dimension key as the cloud does: a value ends at a ``,`` or a second ``=``."""
    pairs = [pair.split("=") for pair in key.split(",")]
    return {pair[0]: pair[1] for pair in pairs if len(pair) > 1}


def _text(value: object) -> str:
    """Write *value* as JavaScript does."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    return str(_plain(value) if isinstance(value, float) and math.isfinite(value) else value)


def _name(what: str, name: str) -> str:
    if not name or "#" in name:
        raise ValueError(f"{what} {name!r} is empty or has a '#'")
    return name


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _limits(buffer: Buffer) -> bool:
    """Whether *buffer* has an effect."""
    limits = [buffer.get("sum", 0), buffer.get("count", 0), buffer.get("elapsed", 0)]
    if not all(map(_is_number, limits)):
        raise ValueError(f"buffer {buffer!r} has a limit that is not a number")
    return any(limits) or bool(buffer.get("force"))


def _check(period: float, statistic: str) -> None:
    if not _is_number(period) or not period > 0:
        raise ValueError(f"period {period!r} is not a number of seconds above 0")
    if not STATISTIC.fullmatch(statistic):
        raise ValueError(f"statistic {statistic!r} is unknown")
