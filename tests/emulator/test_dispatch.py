from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from sys import modules
from types import ModuleType

import pytest

from ioto_async.emulator.dispatch import find_handlers
from ioto_async.emulator.mqtt import handlers as messages
from ioto_async.emulator.rest import handlers
from ioto_async.emulator.rest.handlers import builder
from ioto_async.operations import BUILDER, IOTO, MQTT


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package with handlers of ``thing/get`` and ``thing/getOther``, and with what is no handler."""
    root = tmp_path / "some_handlers"
    (root / "inner").mkdir(parents=True)
    (root / "__init__.py").touch()
    (root / "inner" / "__init__.py").write_text("def found(): ...\n")
    (root / "thing.py").write_text(
        "from textwrap import dedent\n\nLIMIT = 5\n\nclass Helper: ...\n\ndef _helper(): ...\n\n"
        "def get(): return 'get'\n\ndef get_other(): return 'other'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module("some_handlers")
    for name in [name for name in modules if name.partition(".")[0] == "some_handlers"]:
        del modules[name]


def test_a_handler_is_the_function_with_the_name_of_the_action(package: ModuleType) -> None:
    found = find_handlers(package, ["thing/get", "thing/getOther"])
    assert {name: handler() for name, handler in found.items()} == {"thing/get": "get", "thing/getOther": "other"}


def test_an_operation_without_a_handler_and_a_handler_without_an_operation_are_errors(package: ModuleType) -> None:
    for operations, why in (
        (["thing/get", "thing/getOther", "thing/find"], "without a handler ['thing/find'], without an operation []"),
        (["thing/get", "thing/getOther", "other/get"], "without a handler ['other/get'], without an operation []"),
        (["thing/get"], "without a handler [], without an operation ['thing/get_other']"),
    ):
        with pytest.raises(LookupError) as caught:
            find_handlers(package, operations)
        assert str(caught.value) == f"some_handlers: operations {why}"


def test_every_operation_of_the_table_has_a_handler_and_every_handler_an_operation() -> None:
    of_the_agent = {"test/ping", "db/syncDown", "db/syncToDynamo"}
    assert find_handlers(handlers, IOTO).keys() == IOTO.keys()
    assert find_handlers(builder, BUILDER).keys() == BUILDER.keys()
    assert find_handlers(messages, MQTT.keys() | of_the_agent).keys() == MQTT.keys() | of_the_agent
