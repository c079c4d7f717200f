"""Which keys a journal has: the index against a dict."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ioto_async.bulk import index as index_module
from ioto_async.bulk.index import Index


class Lines:
    """The lines of a journal: their keys, each at an offset of its own."""

    def __init__(self) -> None:
        self.keys: dict[int, str] = {}
        self.read = 0

    def key_at(self, offset: int) -> str:
        self.read += 1
        return self.keys[offset]


HASHES = [
    pytest.param(hash, id="all differ"),
    pytest.param(lambda key: -1, id="all the same"),
    pytest.param(len, id="some the same"),
    pytest.param(lambda key: len(key) % 2 << 62, id="same bucket"),
    pytest.param(lambda key: -(2**63) + len(key) % 3, id="lowest"),
    pytest.param(lambda key: 0x0101010101010101 * (len(key) % 2), id="found across records"),
]

PUTS = st.lists(st.tuples(st.text(max_size=6), st.integers(0, 2**63 - 1)), max_size=60)


@pytest.mark.parametrize("hashed", HASHES)
@given(puts=PUTS, asked=st.text(max_size=6))
def test_an_index_answers_as_a_dict_does(hashed: Callable[[str], int], puts: list[tuple[str, int]], asked: str) -> None:
    lines, plain = Lines(), dict[str, int]()
    index = Index(lines.key_at)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "hash", hashed, raising=False)
        for key, offset in puts:
            if lines.keys.setdefault(offset, key) != key:
                continue  # two lines cannot begin at one place
            index.put(key, offset)
            plain[key] = offset
            assert index.get(key) == offset
        for key in [*plain, asked]:
            assert index.get(key) == plain.get(key)


def test_a_hash_is_not_found_across_the_border_of_two_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets are stored beside the hashes, so their bytes may look like one."""
    monkeypatch.setattr(index_module, "hash", lambda key: 0, raising=False)
    lines = Lines()
    index = Index(lines.key_at)
    for number in range(20):
        lines.keys[number] = f"key {number}"
        index.put(f"key {number}", number)
    assert [index.get(f"key {number}") for number in range(20)] == list(range(20))
    assert index.get("another") is None


def test_the_line_of_a_key_is_read_only_where_the_hashes_are_the_same() -> None:
    lines = Lines()
    index = Index(lines.key_at)
    for number in range(1000):
        lines.keys[number] = f"key {number}"
        index.put(f"key {number}", number)
    lines.read = 0
    for number in range(1000):
        assert index.get(f"other {number}") is None
    assert lines.read == 0
    assert index.get("key 17") == 17
    assert lines.read == 1
