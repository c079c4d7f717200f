from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from ioto_async.emulator.mqtt.topics import MAX_TOPIC, is_filter, is_topic, matches

from .tables import table

levels = st.sampled_from(["", "a", "b", "$x", "ab"])
topics = st.lists(levels, min_size=1, max_size=5).map("/".join).filter(is_topic)
filters = st.lists(levels | st.sampled_from(["+", "#"]), min_size=1, max_size=5).map("/".join).filter(is_filter)


@table(
    ("filter", "topic"),
    [
        ("a/b", "a/b"),
        ("a/+", "a/b"),
        ("+/b", "a/b"),
        ("+/+", "/b"),
        ("a/#", "a/b/c"),
        ("a/#", "a"),
        ("a/#", "a/"),
        ("#", "a"),
        ("#", "/"),
        ("a/+/#", "a/b"),
        ("$aws/#", "$aws/rules"),
    ],
)
def test_a_filter_matches(filter: str, topic: str) -> None:
    assert matches(filter, topic)


@table(
    ("filter", "topic"),
    [
        ("a/b", "a/b/c"),
        ("a/b/c", "a/b"),
        ("a/+", "a"),
        ("a/+", "a/b/c"),
        ("a/#", "ab"),
        ("A", "a"),
        ("+", "/b"),
        ("#", "$aws/rules"),
        ("+/rules", "$aws/rules"),
    ],
)
def test_a_filter_does_not_match(filter: str, topic: str) -> None:
    assert not matches(filter, topic)


@given(filters, topics)
def test_filters_match_as_paho_says(filter: str, topic: str) -> None:
    assert matches(filter, topic) == topic_matches_sub(filter, topic)


@table("filter", ["#", "+", "a/#", "a/+/b", "+/+/#", "/", "a b", "x" * MAX_TOPIC])
def test_a_filter_is_one(filter: str) -> None:
    assert is_filter(filter)


@table("filter", ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "a/b+", "a/b#", "##", "é" * 129])
def test_a_filter_is_none(filter: str) -> None:
    assert not is_filter(filter)


@table(("topic", "is_one"), [("a", True), ("/", True), ("", False), ("a/+", False), ("#", False)])
def test_a_topic_has_no_wildcards(topic: str, is_one: bool) -> None:
    assert is_topic(topic) == is_one


def test_a_topic_has_at_most_256_bytes() -> None:
    assert is_topic("é" * 128)
    assert not is_topic("é" * 128 + "a")
