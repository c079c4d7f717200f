"""What an import costs, and which module may import which (the floors of the architecture page)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from pathlib import Path

import pytest

import ioto_async

PACKAGE = Path(ioto_async.__file__).parent

FLOORS = {
    "models": 0,
    "errors": 0,
    "config": 0,
    "validation": 0,
    "_version": 0,
    "operations": 1,
    "retry": 1,
    "limits": 1,
    "converter": 1,
    "decoding": 1,
    "encoding": 1,
    "attempt": 2,
    "body": 2,
    "cognito": 2,
    "gate": 2,
    "joiner": 2,
    "locks": 2,
    "signed": 2,
    "streams": 2,
    "tally": 2,
    "transfer": 2,
    "pool": 2,
    "transport": 2,
    "auth": 2,
    "paging": 2,
    "controllers": 3,
    "bulk": 3,
    "mqtt": 3,
    "writing": 3,
    "client": 4,
    "emulator": 4,
    "cli": 5,
    "distributed": 5,
    "testing": 5,
    "__main__": 5,
    # The package itself, which shows what is below under short names.
    "": 6,
}
SHARED_WITH_THE_EMULATOR = {"operations"}


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
every_module = pytest.mark.parametrize("module", sorted(MODULES), ids=lambda name: name or "ioto_async")
every_pure_module = pytest.mark.parametrize(
    "module", [name for name in sorted(MODULES) if FLOORS.get(_room(name), 9) <= 1]
)


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


@pytest.mark.parametrize("name", sorted(ioto_async.__all__))
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(ioto_async, name) is not None


def test_no_public_name_is_listed_twice() -> None:
    assert len(ioto_async.__all__) == len(set(ioto_async.__all__))


def test_a_star_import_gives_every_public_name() -> None:
    names: dict[str, object] = {}
    exec("from ioto_async import *", names)
    assert set(ioto_async.__all__) - names.keys() == set()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = ioto_async.no_such_name


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files(ioto_async).joinpath("py.typed").is_file()


# Floors -----------------------------------------------------------------------------------------------------------


def test_the_modules_are_found() -> None:
    assert {"encoding", "client", "controllers.device", "emulator.app"} <= MODULES.keys()


def test_imports_are_seen() -> None:
    assert {"decoding", "models", "transport", "controllers.base"} <= _imported("controllers.device")


@every_module
def test_every_module_has_a_floor(module: str) -> None:
    assert _room(module) in FLOORS


@every_module
def test_nothing_imports_upward(module: str) -> None:
    floor = FLOORS[_room(module)]
    assert {name for name in _imported(module) if FLOORS[_room(name)] > floor} == set()


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


@every_module
def test_the_client_side_and_the_embedded_cloud_share_the_table_of_operations_alone(module: str) -> None:
    imported = {_room(name) for name in _imported(module)}
    if _room(module) == "emulator":
        assert imported <= {"emulator"} | SHARED_WITH_THE_EMULATOR
    elif FLOORS[_room(module)] < FLOORS["cli"]:
        assert "emulator" not in imported


@every_pure_module
def test_pure_floors_touch_no_socket_no_loop_and_no_clock(module: str) -> None:
    assert _external(module) & {"aiohttp", "asyncio", "socket", "ssl", "threading", "time"} == set()


@every_pure_module
def test_pure_floors_read_no_clock_of_the_datetime_module(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow")]
    assert [node.lineno for node in calls] == []


@every_module
def test_a_module_says_in_its_first_line_what_it_is_for(module: str) -> None:
    assert ast.get_docstring(ast.parse(MODULES[module].read_text("utf-8")))
