"""The metric engine of the embedded cloud, against recorded replies of the service's library and by itself."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ioto_async.emulator.state.metrics import (
    Buffer,
    HeldSamples,
    MemoryStorage,
    MetricEngine,
    MetricItem,
    MetricResult,
    MetricStorage,
)
from tests.rows import each_row

DATA = Path(__file__).parent.parent / "data"
SPACE = "Embedthis/Device"
NOW = 1_700_000_000_000
MINUTE = 60_000
DAY = 86_400_000
SPANS = [(300, 10), (3600, 12), (86_400, 12), (604_800, 14), (2_419_200, 14), (31_536_000, 12)]

values = st.integers(-1000, 1000)
gaps = st.lists(st.tuples(st.integers(0, 20_000), values), min_size=1, max_size=30)


def recorded(name: str) -> list[Any]:
    cases = json.loads((DATA / name).read_text())
    return [(f"{Path(name).stem}-{index}", case) for index, case in enumerate(cases)]


def replay(engine: MetricEngine, events: list[dict[str, Any]]) -> None:
    for event in events:
        engine.emit(
            SPACE,
            "temp",
            event["value"],
            event["dimensions"],
            timestamp=event["t"],
            buffer=event.get("buffer"),
        )


def ask(engine: MetricEngine, query: dict[str, Any]) -> MetricResult:
    return engine.query(
        SPACE,
        "temp",
        query["dimensions"],
        query["period"],
        query["statistic"],
        accumulate=query["accumulate"],
        start=query.get("start"),
        timestamp=query["now"],
    )


def nearly(value: Any) -> Any:
    """Make *value* compare with its floats up to rounding."""
    if isinstance(value, dict):
        return {name: nearly(member) for name, member in value.items()}
    if isinstance(value, list):
        return [nearly(member) for member in value]
    return pytest.approx(value, rel=1e-12, abs=1e-12) if isinstance(value, float) else value


class JsonStorage:
    """Keeps items as JSON text, as a database does."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.holds: dict[str, str] = {}

    def get(self, key: str) -> MetricItem | None:
        text = self.texts.get(key)
        item: MetricItem | None = json.loads(text) if text else None
        return item

    def put(self, key: str, item: MetricItem) -> None:
        self.texts[key] = json.dumps(item, allow_nan=False)

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.texts if key.startswith(prefix))

    def hold(self, key: str, held: HeldSamples) -> None:
        self.holds[key] = json.dumps(held)

    def held(self, prefix: str) -> list[tuple[str, HeldSamples]]:
        return [(key, HeldSamples(*json.loads(text))) for key, text in self.holds.items() if key.startswith(prefix)]


@pytest.fixture
def engine() -> MetricEngine:
    return MetricEngine()


@each_row("name, case", recorded("metric-vectors.json") + recorded("metric-vectors-more.json"))
def test_every_recorded_reply_is_reproduced(name: str, case: dict[str, Any]) -> None:
    engine = MetricEngine()
    replay(engine, case["events"])
    for query in case["queries"]:
        assert ask(engine, query) == nearly(query["result"])


@each_row("name, case", recorded("metric-vectors.json")[::4])
def test_a_store_of_json_texts_gives_the_same_replies(name: str, case: dict[str, Any]) -> None:
    engine = MetricEngine(JsonStorage())
    replay(engine, case["events"])
    for query in case["queries"]:
        assert ask(engine, query) == nearly(query["result"])


def test_a_new_engine_goes_on_with_what_the_store_has() -> None:
    storage = JsonStorage()
    MetricEngine(storage).emit(SPACE, "temp", 1, timestamp=NOW)
    MetricEngine(storage).emit(SPACE, "temp", 2, timestamp=NOW)
    result = MetricEngine(storage).query(SPACE, "temp", {}, 300, "sum", accumulate=True, timestamp=NOW)
    assert result["points"][0]["value"] == 3


@each_row("kind", [MemoryStorage, JsonStorage])
def test_a_new_engine_goes_on_with_what_a_buffer_held(kind: Callable[[], MetricStorage]) -> None:
    storage = kind()
    for owner in ("a", "b"):
        MetricEngine(storage, owner=owner).emit(SPACE, "temp", 1, timestamp=NOW, buffer={"elapsed": 600})
    MetricEngine(storage, owner="a").emit(SPACE, "temp", 2, timestamp=NOW, buffer={"elapsed": 600})
    result = MetricEngine(storage, owner="a").query(SPACE, "temp", {}, 300, "sum", accumulate=True, timestamp=NOW)
    assert result["points"][0]["value"] == 3


def test_owners_do_not_see_each_other() -> None:
    storage = MemoryStorage()
    MetricEngine(storage, owner="a").emit(SPACE, "temp", 1, timestamp=NOW)
    other = MetricEngine(storage, owner="b")
    assert other.metric_list() == {"namespaces": []}
    assert other.query(SPACE, "temp", {}, 300, "avg", timestamp=NOW)["points"] == []


def test_a_query_changes_nothing(engine: MetricEngine) -> None:
    engine.emit(SPACE, "temp", 5, timestamp=NOW)
    before = engine.query(SPACE, "temp", {}, 300, "sum", timestamp=NOW)
    engine.query(SPACE, "temp", {}, 31_536_000, "sum", timestamp=NOW + 300 * DAY)
    assert engine.query(SPACE, "temp", {}, 300, "sum", timestamp=NOW) == before


def test_an_unknown_metric_has_no_points_and_echoes_the_request(engine: MetricEngine) -> None:
    result = engine.query(SPACE, "temp", {"Device": 1}, 7, "avg", timestamp=NOW)
    assert result == {
        "namespace": SPACE,
        "metric": "temp",
        "dimensions": {"Device": 1},
        "period": 7,
        "points": [],
        "samples": 0,
    }


def test_a_period_beyond_a_year_is_cut_to_a_year(engine: MetricEngine) -> None:
    assert engine.query(SPACE, "temp", {}, 1e9, "avg", timestamp=NOW)["period"] == 31_536_000


@each_row("statistic, value", [("min", None), ("max", None), ("sum", 0), ("avg", 0), ("count", 0)])
def test_accumulating_a_range_without_intervals(statistic: str, value: int | None) -> None:
    engine = MetricEngine()
    engine.emit(SPACE, "temp", 5, timestamp=NOW)
    result = engine.query(SPACE, "temp", {}, 1, statistic, accumulate=True, timestamp=NOW)
    assert (result["points"][0]["value"], result["points"][0]["count"]) == (value, 0)


def test_series_are_stamped_in_milliseconds_and_totals_in_seconds(engine: MetricEngine) -> None:
    engine.emit(SPACE, "temp", 5, timestamp=NOW)
    series = engine.query(SPACE, "temp", {}, 300, "avg", timestamp=NOW)
    total = engine.query(SPACE, "temp", {}, 300, "avg", accumulate=True, timestamp=NOW)
    assert series["points"][-1]["timestamp"] == total["points"][0]["timestamp"] * 1000 == 1_700_000_010_000


def test_a_point_that_left_its_span_is_a_single_average_to_min_and_max(engine: MetricEngine) -> None:
    for value in (0, 10):
        engine.emit(SPACE, "temp", value, timestamp=NOW)
    fine = engine.query(SPACE, "temp", {}, 300, "max", accumulate=True, timestamp=NOW)
    coarse = engine.query(SPACE, "temp", {}, 3600, "max", accumulate=True, timestamp=NOW)
    assert (fine["points"][0]["value"], coarse["points"][0]["value"]) == (10, 5)


def test_a_sample_older_than_five_minutes_is_dropped(engine: MetricEngine) -> None:
    engine.emit(SPACE, "temp", 1, timestamp=NOW)
    engine.emit(SPACE, "temp", 2, timestamp=NOW - 6 * MINUTE)
    result = engine.query(SPACE, "temp", {}, 3600, "count", accumulate=True, timestamp=NOW)
    assert result["points"][0]["value"] == 1


def test_a_late_sample_within_five_minutes_counts(engine: MetricEngine) -> None:
    engine.emit(SPACE, "temp", 1, timestamp=NOW)
    engine.emit(SPACE, "temp", 2, timestamp=NOW - 4 * MINUTE)
    result = engine.query(SPACE, "temp", {}, 300, "sum", timestamp=NOW)
    assert sorted(point["value"] or 0 for point in result["points"])[-2:] == [1, 2]


def test_the_newest_value_is_found_in_any_span(engine: MetricEngine) -> None:
    engine.emit(SPACE, "temp", 7, timestamp=NOW)
    result = engine.query(SPACE, "temp", {}, 300, "current", accumulate=True, timestamp=NOW + 40 * DAY)
    assert (result["points"][0]["value"], result["period"]) == (7, 300)


def test_a_metric_ends_a_year_after_its_last_sample(engine: MetricEngine) -> None:
    engine.emit(SPACE, "temp", 7, timestamp=NOW)
    samples = [engine.query(SPACE, "temp", {}, 300, "avg", timestamp=NOW + day * DAY)["samples"] for day in (364, 365)]
    assert samples == [10, 0]


def test_percentiles_of_a_total_have_no_value(engine: MetricEngine) -> None:
    engine.emit(SPACE, "temp", 7, timestamp=NOW)
    result = engine.query(SPACE, "temp", {}, 300, "p90", accumulate=True, timestamp=NOW)
    assert result["points"] == [{"count": 1, "timestamp": 1_700_000_010}]


def test_percentiles_of_a_series_are_refused(engine: MetricEngine) -> None:
    engine.emit(SPACE, "temp", 7, timestamp=NOW)
    with pytest.raises(ValueError, match="'p90' is not stored"):
        engine.query(SPACE, "temp", {}, 300, "p90", timestamp=NOW)


def test_numbers_without_a_fraction_are_integers(engine: MetricEngine) -> None:
    engine.emit(SPACE, "temp", 2.0, timestamp=NOW)
    result = engine.query(SPACE, "temp", {}, 300, "avg", accumulate=True, timestamp=NOW)
    assert json.dumps(result["points"][0]["value"]) == "2"


def test_sums_are_rounded_to_sixteen_digits(engine: MetricEngine) -> None:
    for _ in range(10):
        engine.emit(SPACE, "temp", 0.1, timestamp=NOW)
    result = engine.query(SPACE, "temp", {}, 300, "sum", accumulate=True, timestamp=NOW)
    assert result["points"][0]["value"] == 1


NO_NUMBERS: list[Any] = [None, "1", True, [], math.nan, math.inf, -math.inf, 10**400, 1e300]


@each_row(
    "arguments, why",
    [
        *(((SPACE, "temp", value), repr(value)) for value in NO_NUMBERS),
        ((SPACE, "temp", 1, [{}, "Device"]), "'Device' are not a map"),
        *(
            ((*names, 1), "empty or has a '#'")
            for names in (("", "temp"), (SPACE, ""), ("a#b", "temp"), (SPACE, "a#b"))
        ),
    ],
)
def test_a_sample_that_cannot_be_is_refused_by_name_and_not_stored(
    engine: MetricEngine, arguments: tuple[Any, ...], why: str
) -> None:
    with pytest.raises(ValueError) as caught:
        engine.emit(*arguments, timestamp=NOW)
    assert why in str(caught.value)
    assert engine.metric_list() == {"namespaces": []}


def test_a_buffer_limit_that_is_no_number_is_refused(engine: MetricEngine) -> None:
    buffer: Any = {"elapsed": "60"}
    with pytest.raises(ValueError, match="limit that is not a number"):
        engine.emit(SPACE, "temp", 1, timestamp=NOW, buffer=buffer)


@each_row(
    "period, statistic, why",
    [
        *((period, "avg", "period") for period in (0, -1, math.nan, "300", None, True)),
        *((300, statistic, "statistic") for statistic in ("", "mean", "AVG", "p", "p9x")),
    ],
)
def test_a_period_that_is_no_time_and_an_unknown_statistic_are_refused(
    engine: MetricEngine, period: Any, statistic: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        engine.query(SPACE, "temp", {}, period, statistic, timestamp=NOW)
    with pytest.raises(ValueError, match=why):
        engine.query_all(SPACE, "temp", period, statistic, timestamp=NOW)


def test_no_dimensions_is_the_empty_map(engine: MetricEngine) -> None:
    engine.emit(SPACE, "temp", 1, [], timestamp=NOW)
    assert engine.metric_list(SPACE, "temp")["dimensions"] == [{}]


def test_dimensions_are_read_back_as_texts_in_any_order(engine: MetricEngine) -> None:
    engine.emit(SPACE, "temp", 1, [{"b": 2.0, "A": True, "c": None}], timestamp=NOW)
    result = engine.query(SPACE, "temp", {"c": None, "b": 2, "A": True}, 300, "sum", timestamp=NOW)
    assert result["dimensions"] == {"A": "true", "b": "2", "c": "null"}


def test_all_dimension_maps_of_a_metric_are_totalled(engine: MetricEngine) -> None:
    engine.emit(SPACE, "temp", 1, [{}, {"Device": "A"}], timestamp=NOW)
    engine.emit(SPACE, "temp", 2, [{"Device": "A"}], timestamp=NOW)
    results = engine.query_all(SPACE, "temp", 300, "sum", timestamp=NOW)
    assert [(each["dimensions"], each["points"][0]["value"]) for each in results] == [({}, 1), ({"Device": "A"}, 3)]


def test_all_dimension_maps_are_found_by_a_prefix_of_the_metric(engine: MetricEngine) -> None:
    engine.emit(SPACE, "temperature", 1, timestamp=NOW)
    assert engine.query_all(SPACE, "temp", 300, "sum", timestamp=NOW)[0]["metric"] == "temperature"


def test_a_namespace_is_listed_by_prefix_and_its_metrics_by_name(engine: MetricEngine) -> None:
    for namespace in (SPACE, "Embedthis/App", "Other"):
        engine.emit(namespace, "temp", 1, timestamp=NOW)
    assert engine.metric_list() == {"namespaces": ["Embedthis/App", SPACE, "Other"]}
    assert engine.metric_list("Embedthis/") == {"namespaces": ["Embedthis/App", SPACE]}
    assert engine.metric_list(SPACE) == {"namespaces": [SPACE], "metrics": ["temp"]}


def test_buffered_samples_count_once_the_metric_is_queried(engine: MetricEngine) -> None:
    for value in (1, 2):
        engine.emit(SPACE, "temp", value, timestamp=NOW, buffer={"elapsed": 60})
    assert engine.metric_list() == {"namespaces": []}
    result = engine.query(SPACE, "temp", {}, 300, "sum", accumulate=True, timestamp=NOW)
    assert (result["points"][0]["value"], result["points"][0]["count"]) == (3, 2)


@each_row("buffer", [{"sum": 5}, {"count": 2}, {"elapsed": 1}, {"force": True}])
def test_each_limit_of_a_buffer_stores_what_came_before(buffer: Buffer) -> None:
    engine = MetricEngine()
    engine.emit(SPACE, "temp", 1, timestamp=NOW, buffer=buffer)
    engine.emit(SPACE, "temp", 4, timestamp=NOW + 2000, buffer=buffer)
    # What a limit stores is dated when the time limit would have stored it.
    stored = engine.query_all(SPACE, "temp", 300, "sum", timestamp=NOW + MINUTE)
    assert stored[0]["points"][0]["value"] == 1


def test_a_buffer_without_limits_has_no_effect(engine: MetricEngine) -> None:
    engine.emit(SPACE, "temp", 1, timestamp=NOW, buffer={"force": False})
    assert engine.metric_list(SPACE)["metrics"] == ["temp"]


def test_a_flush_stores_what_is_buffered(engine: MetricEngine) -> None:
    engine.emit(SPACE, "temp", 1, timestamp=NOW, buffer={"count": 100})
    engine.flush(timestamp=NOW)
    assert engine.query_all(SPACE, "temp", 300, "sum", timestamp=NOW)[0]["points"][0]["count"] == 1


@given(gaps, st.sampled_from(SPANS))
def test_a_total_is_the_sum_of_all_samples_in_the_range(samples: list[tuple[int, int]], shape: tuple[int, int]) -> None:
    engine, now, kept = MetricEngine(), NOW, []
    for gap, value in samples:
        now += gap
        kept.append((now, value))
        engine.emit(SPACE, "temp", value, timestamp=now)
    period, number = shape
    interval = period // number
    result = engine.query(SPACE, "temp", {}, period, "sum", accumulate=True, timestamp=now)
    end = int(result["points"][0]["timestamp"])
    oldest = min(when // 1000 for when, _ in kept)
    if oldest // interval * interval >= end - period:
        assert result["points"][0]["value"] == sum(value for _, value in kept)
        assert result["points"][0]["count"] == len(kept)


@given(gaps, st.integers(1, 40_000_000), st.integers(0, 10**9), st.sampled_from(["avg", "min", "sum", "current"]))
def test_a_series_has_a_point_for_each_interval_of_the_period(
    samples: list[tuple[int, int]], period: int, wait: int, statistic: str
) -> None:
    engine, now = MetricEngine(), NOW
    for gap, value in samples:
        now += gap
        engine.emit(SPACE, "temp", value, timestamp=now)
    result = engine.query(SPACE, "temp", {}, period, statistic, timestamp=now + wait)
    shape = next((each for each in SPANS if period <= each[0]), SPANS[-1])
    assert (result["period"], result["samples"]) == shape
    assert len(result["points"]) == min(math.ceil(period / (shape[0] // shape[1])), shape[1])


@given(
    st.dictionaries(
        st.tuples(st.sampled_from([SPACE, "Embedthis/App"]), st.sampled_from(["temp", "/city/X/temp", "tempo"])),
        st.lists(st.dictionaries(st.sampled_from(["Device", "Room"]), st.sampled_from(["A", "B"])), min_size=1),
    )
)
def test_everything_emitted_is_listed(emitted: dict[tuple[str, str], list[dict[str, str]]]) -> None:
    engine = MetricEngine()
    for (namespace, metric), dimensions in emitted.items():
        engine.emit(namespace, metric, 1, dimensions, timestamp=NOW)
    assert engine.metric_list()["namespaces"] == sorted({namespace for namespace, _ in emitted})
    for (namespace, metric), dimensions in emitted.items():
        assert metric in engine.metric_list(namespace)["metrics"]
        listed = engine.metric_list(namespace, metric)["dimensions"]
        assert all(each in listed for each in dimensions)
        assert len(listed) == len({tuple(sorted(each.items())) for each in dimensions})


@given(st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 400, 31_000, 4_000_000]), values | st.floats(-1e15, 1e15))))
def test_samples_of_one_second_add_up_as_those_of_many_reads_and_writes_do(events: list[tuple[int, float]]) -> None:
    kept, copied = MemoryStorage(), JsonStorage()
    for storage in (kept, copied):
        engine, now = MetricEngine(storage), NOW
        for seconds, value in events:
            now += seconds * 1000
            engine.emit(SPACE, "temp", value, ({}, {"Device": "A"}), timestamp=now)
    for key in kept.keys(""):
        assert json.dumps(kept.get(key)) == json.dumps(copied.get(key))


def test_what_was_stored_by_others_meanwhile_is_added_to() -> None:
    storage = MemoryStorage()
    first, second = MetricEngine(storage), MetricEngine(storage)
    for engine in (first, second, first, first, second):
        engine.emit(SPACE, "temp", 1, timestamp=NOW)
    assert (
        ask(first, {"dimensions": {}, "period": 300, "statistic": "count", "accumulate": True, "now": NOW})["points"][
            0
        ]["value"]
        == 5
    )
