"""The lists of operations in the README and under ``docs/`` are those of the table, and their examples run."""

import ast
import importlib.util
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ioto_async import IotoClient, MetricQuery, ServiceError
from ioto_async.emulator import EmulatorThread
from ioto_async.models import Range, Widget
from ioto_async.operations import BUILDER, IOTO

_SPEC = importlib.util.spec_from_file_location("generate", Path(__file__).parent.parent / "docs" / "generate.py")
assert _SPEC is not None
assert _SPEC.loader is not None
generate: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(generate)

OPERATIONS = [*IOTO, *(f"builder {name}" for name in BUILDER)]


def test_the_page_is_up_to_date() -> None:
    assert generate.PAGE.read_text("utf-8") == generate.page()


def test_the_readme_is_up_to_date() -> None:
    text = generate.README.read_text("utf-8")
    assert generate.summary() in text
    assert text == generate.readme(text)


def test_every_operation_has_an_example_and_no_other_has() -> None:
    assert sorted(generate.EXAMPLES) == sorted(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_example_shows_the_method_of_the_operation(name: str) -> None:
    prefix, _, operation = name.rpartition(" ")
    row = (BUILDER if prefix else IOTO)[operation]
    method = generate.method(row, prefix)
    assert f"{method.partition('.')[2]}(" in generate.EXAMPLES[name]


async def _world(emulator: EmulatorThread, client: IotoClient) -> dict[str, Any]:
    """What the examples take as given."""
    cloud = emulator.cloud
    device_id, new_device_id = cloud.register_device("M72DANY8BZ"), cloud.register_device("M72DANY8BY")
    await client.device.claim(device_id)
    await client.store.set(device_id, "speed", 1)
    await client.file.put("notes.txt", b"notes", mime_type="text/plain")
    await client.action.invoke("Alert", context={"message": "too hot"})
    cloud.add_update("2.0.0", b"image")
    offer = await client.provision.update(device_id, emulator.product_token, "1.0.0")
    return {
        "account_id": emulator.account_id,
        "cloud_id": emulator.cloud_id,
        "cloud_token": emulator.token,
        "device_id": device_id,
        "new_device_id": new_device_id,
        "product": emulator.product_token,
        "alert_id": (await client.alert.find()).items[0].id,
        "dashboard_id": (await client.dashboard.create("First")).id,
        "manager_id": (await client.manager.get()).id,
        "update": offer.update,
        "user_id": cloud.add_user("ann@example.com"),
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", OPERATIONS)
async def test_the_example_runs(name: str, ioto_emulator: EmulatorThread) -> None:
    environ = ioto_emulator.env | {"BUILDER_TOKEN": ioto_emulator.cloud.builder.create_token("owner")}
    async with (
        IotoClient.from_env(environ) as client,
        IotoClient(ioto_emulator.api, login=ioto_emulator.login_token, origin=ioto_emulator.origin) as signed_in,
    ):
        names = {"client": client, "signed_in": signed_in, "MetricQuery": MetricQuery, "Range": Range, "Widget": Widget}
        names |= await _world(ioto_emulator, client)
        code = compile(generate.EXAMPLES[name], name, "eval", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with pytest.raises(ServiceError) if name.endswith("test/exception") else nullcontext():
            await eval(code, names)
    last = ioto_emulator.requests[-1]
    path = ("/api" if name.startswith("builder") else "") + "/{}" + f"/{name.rpartition(' ')[2]}"
    assert last.path in {path.format("tok"), path.format("").replace("//", "/")}
