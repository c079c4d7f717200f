"""The public interface is what ``docs/public-api.txt`` says, so that no change of it goes unseen."""

import difflib

from tests.public_api import PAGE, public_api


def test_the_public_interface_is_the_one_that_is_listed() -> None:
    listed = PAGE.read_text(encoding="utf-8")
    changes = difflib.unified_diff(listed.splitlines(), public_api().splitlines(), "listed", "found", n=0, lineterm="")
    assert [*changes] == [], "if they are meant: python -m tests.public_api, and a line in CHANGELOG.md"
