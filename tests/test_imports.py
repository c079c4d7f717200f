"""What an import costs, and which module may import which (the floors of the architecture page)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from pathlib import Path
from types import ModuleType

import pytest

import ioto_async
from ioto_async import controllers, models
from tests.rows import each_row

PACKAGE = Path(ioto_async.__file__).parent

FLOORS = {
    "errors": 0,
    "operations": 1,
    "settings": 1,
    "_install": 1,
    "_lazy": 1,
    "_version": 1,
    "models": 2,
    "codec": 3,
    "transport": 4,
    "bulk": 5,
    "mqtt": 5,
    "transfer": 5,
    "metrics": 6,
    "controllers": 7,
    "client": 8,
    "conformance": 9,
    "distributed": 9,
    "integrations": 9,
    "testing": 9,
    "cli": 10,
}
"""The rooms of the package; a room stands only on rooms below it."""
ANYWHERE = {"", "emulator"}
"""The package itself, which shows short names, and the embedded cloud, which stands beside the floors."""
SHARED_WITH_THE_EMULATOR = {"operations"}
MAY_USE_THE_EMULATOR = {"cli", "testing"}
PURE = {"_install", "_lazy", "_version", "codec", "errors", "models", "operations", "settings"} | {
    f"transport.{name}" for name in ("credentials", "limits", "masking", "playing", "refusals", "retry")
}


def _modules() -> dict[str, Path]:
    """Every module of the package: its name without the package's, and its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _room(module: str) -> str:
    return module.split(".")[0]


MODULES = _modules()


def _imported(module: str) -> set[str]:
    """The modules of the package that *module* imports, wherever in its text."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    package = [part for part in package if part]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            found.update(name.partition(".")[2] for name in names if name.split(".")[0] == "ioto_async")
        elif isinstance(node, ast.ImportFrom):
            found.update(_from(node, package))
    return found - {module}


def _from(node: ast.ImportFrom, package: list[str]) -> Iterator[str]:
    origin = (node.module or "").split(".") if node.module else []
    if node.level:
        base = package[: len(package) - (node.level - 1)] + origin
    elif origin and origin[0] == "ioto_async":
        base = origin[1:]
    else:
        return
    for alias in node.names:
        name = ".".join([*base, alias.name])
        yield name if name in MODULES else ".".join(base)


def _external(module: str) -> set[str]:
    """The top-level names of what *module* imports from elsewhere."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
    return found


def _loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after *code*."""
    code += "\nimport sys; print(*sys.modules)"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    return _loaded_by("import ioto_async")


@pytest.fixture(scope="module")
def loaded_by_the_client() -> set[str]:
    return _loaded_by("from ioto_async import IotoClient")


@pytest.mark.parametrize(
    "name", ["aiohttp", "cryptography", "rich", "cyclopts", "sqlite3", "aiomqtt", "pandas", "polars"]
)
def test_importing_the_package_does_not_import_what_is_slow(loaded: set[str], name: str) -> None:
    assert name not in loaded


def test_the_client_does_not_import_the_embedded_cloud(loaded_by_the_client: set[str]) -> None:
    assert {name for name in loaded_by_the_client if name.startswith("ioto_async.emulator")} == set()


@pytest.mark.parametrize("name", ["cryptography", "rich", "cyclopts", "sqlite3", "aiomqtt", "pandas", "polars"])
def test_the_client_needs_none_of_the_extras(loaded_by_the_client: set[str], name: str) -> None:
    assert name not in loaded_by_the_client


@pytest.mark.parametrize("room", ["bulk", "controllers.device", "models.device", "mqtt", "transfer"])
def test_the_client_loads_what_it_needs_alone(loaded_by_the_client: set[str], room: str) -> None:
    assert f"ioto_async.{room}" not in loaded_by_the_client


@each_row("name", sorted(ioto_async.__all__))
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(ioto_async, name) is not None


@each_row("package", [controllers, models])
def test_the_packages_whose_modules_are_loaded_late_have_every_name_of_theirs(package: ModuleType) -> None:
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


def test_no_public_name_is_listed_twice() -> None:
    assert len(ioto_async.__all__) == len(set(ioto_async.__all__))


def test_a_star_import_gives_every_public_name() -> None:
    names: dict[str, object] = {}
    exec("from ioto_async import *", names)
    assert set(ioto_async.__all__) - names.keys() == set()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(ioto_async, "no_such_name")  # noqa: B009  type checkers refuse the attribute itself


def test_dir_shows_what_there_is_and_nothing_else() -> None:
    code = "import ioto_async; print(*dir(ioto_async))"
    shown = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == sorted(ioto_async.__all__) == dir(ioto_async)


def test_every_record_and_the_options_of_public_methods_are_public_names() -> None:
    options = {"BulkOptions", "CallOptions", "CallerOptions", "ClientOptions", "LinkOptions", "RunOptions"}
    assert {*models.__all__, *options, "WriterOptions"} - {"DEVICE_NAMESPACE"} - {*ioto_async.__all__} == set()


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files(ioto_async).joinpath("py.typed").is_file()


# Floors -----------------------------------------------------------------------------------------------------------


def test_the_modules_and_their_imports_are_found() -> None:
    assert {"codec.encoding", "client", "controllers.device", "emulator.rest.app"} <= MODULES.keys()
    assert {"codec.decoding", "models", "transport.options", "controllers.base"} <= _imported("controllers.device")


def test_every_room_has_a_floor() -> None:
    assert {_room(module) for module in MODULES} == FLOORS.keys() | ANYWHERE


def test_a_room_stands_only_on_rooms_below_it() -> None:
    upward = {
        module: sorted(wrong)
        for module in MODULES
        if (room := _room(module)) in FLOORS
        and (
            wrong := {
                name
                for name in _imported(module)
                if (other := _room(name)) in FLOORS and other != room and FLOORS[other] >= FLOORS[room]
            }
        )
    }
    assert upward == {}


def test_no_imports_form_a_circle() -> None:
    # A package shows what its own modules hold, so that an edge from one of those to the package is an edge to itself.
    graph = {
        module: {name for name in _imported(module) if not module.startswith(f"{name}.")}
        for module in MODULES
        if module
    }
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"circle: {error.args[1]}")


def test_the_client_side_and_the_embedded_cloud_share_the_table_of_operations_alone() -> None:
    rooms = {module: {_room(name) for name in _imported(module)} for module in MODULES}
    assert {
        module: shared
        for module, imported in rooms.items()
        if _room(module) == "emulator" and (shared := imported - {"emulator"} - SHARED_WITH_THE_EMULATOR)
    } == {}
    assert [
        module
        for module, imported in rooms.items()
        if "emulator" in imported and _room(module) not in {"emulator"} | MAY_USE_THE_EMULATOR
    ] == []


def test_the_sides_of_the_embedded_cloud_do_not_import_each_other_nor_does_its_state_import_them() -> None:
    forbidden = {"state": {"rest", "mqtt"}, "rest": {"mqtt"}, "mqtt": {"rest"}}
    assert {
        module: wrong
        for module in MODULES
        if (parts := module.split("."))[0] == "emulator"
        and (
            wrong := sorted(
                name
                for name in _imported(module)
                if name.startswith("emulator.") and name.split(".")[1] in forbidden.get("".join(parts[1:2]), ())
            )
        )
    } == {}


def _pure_modules() -> list[str]:
    return [module for module in MODULES if module in PURE or _room(module) in PURE]


def test_pure_modules_touch_no_socket_no_loop_and_no_clock() -> None:
    impure = {"aiohttp", "asyncio", "socket", "ssl", "threading", "time"}
    assert {module: wrong for module in _pure_modules() if (wrong := _external(module) & impure)} == {}


def test_pure_modules_read_no_clock_of_the_datetime_module() -> None:
    assert {
        module: lines
        for module in _pure_modules()
        if (
            lines := [
                node.lineno
                for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8")))
                if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow")
            ]
        )
    } == {}


def test_every_module_says_in_its_first_line_what_it_is_for() -> None:
    assert [
        module for module, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ] == []
