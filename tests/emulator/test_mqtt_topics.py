from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from ioto_async.emulator.mqtt.topics import MAX_TOPIC, is_filter, is_topic, matches
from tests.rows import each_row

levels = st.sampled_from(["", "a", "b", "$x", "ab"])
topics = st.lists(levels, min_size=1, max_size=5).map("/".join).filter(is_topic)
filters = st.lists(levels | st.sampled_from(["+", "#"]), min_size=1, max_size=5).map("/".join).filter(is_filter)


@each_row(
    "filter, topic, does",
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("+/b", "a/b", True),
        ("+/+", "/b", True),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("a/#", "a/", True),
        ("#", "a", True),
        ("#", "/", True),
        ("a/+/#", "a/b", True),
        ("$aws/#", "$aws/rules", True),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("a/#", "ab", False),
        ("A", "a", False),
        ("+", "/b", False),
        ("#", "$aws/rules", False),
        ("+/rules", "$aws/rules", False),
    ],
)
def test_a_filter_matches_what_the_standard_says(filter: str, topic: str, does: bool) -> None:
    assert matches(filter, topic) is does


@given(filters, topics)
def test_filters_match_as_paho_says(filter: str, topic: str) -> None:
    assert matches(filter, topic) == topic_matches_sub(filter, topic)


@each_row(
    "filter, is_one",
    [
        *((filter, True) for filter in ("#", "+", "a/#", "a/+/b", "+/+/#", "/", "a b", "x" * MAX_TOPIC)),
        *(
            (filter, False)
            for filter in ("", "a#", "#/a", "a/#/b", "a+", "+a/b", "a/b+", "a/b#", "##", "é" * 129, "+/" * 8)
        ),
    ],
)
def test_wildcards_of_a_filter_stand_for_whole_levels(filter: str, is_one: bool) -> None:
    assert is_filter(filter) is is_one


@each_row(
    "topic, is_one",
    [
        *(("a", True), ("/", True), ("", False), ("a/+", False), ("#", False)),
        *(("é" * 128, True), ("é" * 128 + "a", False)),
        *(("/" * 7, True), ("/" * 8, False)),
        *(("$aws/rules/R" + "/a" * 8, True), ("$aws/rules/R" + "/a" * 9, False), ("$aws/rules/", True)),
        *(("$aws/rules/R/" + "x" * 256, True), ("$aws/rules/R/" + "x" * 257, False)),
    ],
)
def test_a_topic_has_no_wildcards_and_at_most_256_bytes_and_7_slashes(topic: str, is_one: bool) -> None:
    assert is_topic(topic) is is_one
