"""The private names of aiomqtt and paho that a link uses are there, and a version without them is refused by name."""

import importlib
import sys

import aiomqtt
import pytest

from ioto_async.mqtt import aiomqtt_private


def test_the_installed_versions_have_all_names() -> None:
    assert aiomqtt_private.missing() == []


@pytest.mark.parametrize("name", ["_misc_loop", "_on_publish"])
def test_a_version_without_a_name_is_refused_at_import(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delattr(aiomqtt.Client, name)
    monkeypatch.delitem(sys.modules, "ioto_async.mqtt.aiomqtt_private")
    with pytest.raises(ImportError, match=rf"have no aiomqtt\.Client\.{name}, which a DeviceLink needs: pip install"):
        importlib.import_module("ioto_async.mqtt.aiomqtt_private")
