"""Every example of the README and of the pages under ``docs/`` runs, and their links lead somewhere."""

import importlib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from ioto_async.emulator import EmulatorThread
from tests.asgi import request
from tests.pages import OPERATIONS, PAGES, ROOT, Block, Page, World, blocks, commands
from tests.rows import each_row

EXTRAS = {"to_pandas": "pandas", "to_polars": "polars", "--graph": "plotext"}
"""Packages that an example needs and the extra `dev` does not bring, by a word of the example, which is left out."""


@pytest.mark.parametrize("name", [name for name in PAGES if name != OPERATIONS and Page(name).blocks])
def test_the_examples_of_a_page_run(
    name: str,
    ioto_emulator: EmulatorThread,
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
    tmp_path: Path,
) -> None:
    if name.endswith("/dask.md") and pytestconfig.getoption("--eager"):
        pytest.skip("a cluster of Dask does not close in a loop with eager tasks")
    page = Page(name)
    with World(page, ioto_emulator, tmp_path, monkeypatch) as world:
        for block in page.blocks:
            if all(word not in block.source or find_spec(package) for word, package in EXTRAS.items()):
                world.run(block)


def test_the_test_examples_pass(
    pytester: pytest.Pytester, ioto_emulator: EmulatorThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in ioto_emulator.env.items():
        monkeypatch.setenv(variable, value)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    tests = [block for name in PAGES for block in blocks(name, "python test")]
    for block in tests:
        name = re.sub(r"\W", "_", f"test_{block.page}_{block.line}")
        pytester.makepyfile(**{name: block.padded})
    number = sum(len(re.findall(r"^(?:async )?def test_", block.source, re.MULTILINE)) for block in tests)
    # Tests with a cassette record it here; those of the embedded cloud have one of their own.
    pytester.runpytest_subprocess("-p", "no:randomly", "--ioto-record=once").assert_outcomes(passed=number)


def test_the_readme_has_recipes_and_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 200
    assert len(blocks("README.md", "python")) >= 4
    assert blocks("README.md", "python test")


@pytest.mark.parametrize("name", ["README.md", "docs/guides/web-backends.md"])
async def test_the_fastapi_backend_of_a_page_answers(
    name: str, ioto_emulator: EmulatorThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (block,) = (block for block in blocks(name, "python") if "FastAPI(" in block.source)
    for variable, value in ioto_emulator.env.items():
        monkeypatch.setenv(variable, value)
    ioto_emulator.cloud.register_device("M72DANY8BZ")
    ioto_emulator.cloud.claim_device("M72DANY8BZ")
    names: dict[str, Any] = {"__name__": "backend"}
    exec(compile(block.padded, block.page, "exec", dont_inherit=True), names)
    app = names["app"]
    async with app.router.lifespan_context(app):
        status, device = await request(app, "/devices/M72DANY8BZ")
        assert (status, device["id"]) == (200, "M72DANY8BZ")
        status, refused = await request(app, "/devices/NOSUCHDEV1")
        assert (status, refused) == (404, {"title": "Not Found", "status": 404, "detail": "Cannot find device"})


# Links --------------------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors of the headings in *text*, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_row("name", list(PAGES))
def test_a_link_of_a_page_leads_somewhere(name: str) -> None:
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", PAGES[name], flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"", text)
    for target in (unquote(markdown or html) for markdown, html in targets):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / name).parent / path if path else ROOT / name
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.read_text("utf-8")), target


# The reference ------------------------------------------------------------------------------------------------------


@each_row("module", ["ioto_async", "ioto_async.distributed", "ioto_async.emulator", "ioto_async.mqtt"])
def test_the_reference_has_every_public_name(module: str) -> None:
    text = "".join(text for name, text in PAGES.items() if name.startswith("docs/reference/"))
    described = set(re.findall(r"^\.\. (?:auto\w+|py:type):: (\w+)$", text, re.MULTILINE))
    assert set(importlib.import_module(module).__all__) - described - {"__version__"} == set()


@each_row("name", list(PAGES))
def test_every_page_is_in_the_table_of_contents(name: str) -> None:
    listed = re.findall(r"^(?:start|guides|reference)/.*$", PAGES["docs/index.md"], re.MULTILINE)
    page = name.removeprefix("docs/").removesuffix(".md")
    assert "/" not in page or page in listed  # the others are listed by a pattern


# The mechanism ------------------------------------------------------------------------------------------------------


def test_a_command_has_its_lines_and_its_output() -> None:
    block = Block("page", 1, "console", "$ one \\\n    --more\n$ two\nprinted …\nand done\n")
    one, two = commands(block)
    assert (one.text, one.output) == ("one \\\n    --more", "")
    assert (two.text, two.output) == ("two", "printed …\nand done\n")
    assert one.shows("anything")
    assert two.shows("printed 1 2 3 \nand done\n\n")
    assert not two.shows("printed 1 2 3\nand not done")


def test_an_example_that_fails_is_named_by_page_and_line(
    ioto_emulator: EmulatorThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with World(Page("README.md"), ioto_emulator, tmp_path, monkeypatch) as world:
        with pytest.raises(ZeroDivisionError) as caught:
            world.run(Block("README.md", 7, "python", "1 / 0\n"))
        last = caught.traceback[-1]
        assert (Path(str(last.path)).name, last.lineno + 1) == ("README.md", 7)
        with pytest.raises(AssertionError, match=r"README\.md:9: echo no; \(exit 3\)\nhas ended with 3:\nno"):
            world.run(Block("README.md", 9, "console", "$ echo no; (exit 3)\n"))
        with pytest.raises(AssertionError, match="has printed:\nno"):
            world.run(Block("README.md", 9, "console", "$ echo no\nyes\n"))


def test_a_variable_stays_set_for_the_commands_and_programs_of_a_page(
    ioto_emulator: EmulatorThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with World(Page("README.md"), ioto_emulator, tmp_path, monkeypatch) as world:
        world.run(Block("README.md", 1, "console", "$ export CUPS='2 of tea'\n$ echo $CUPS\n2 of tea\n"))
        world.run(Block("README.md", 9, "python", "import os\n\ncups = os.environ['CUPS']\n"))
        assert world.names["cups"] == "2 of tea"
