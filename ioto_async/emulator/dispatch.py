"""Finds the handlers of operations by name."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType, ModuleType
from typing import Any

__all__ = ["find_handlers"]

_UPPER = re.compile("[A-Z]")


def find_handlers(package: ModuleType, operations: Iterable[str]) -> Mapping[str, Callable[..., Any]]:
    """Return the handler of each operation, by the name of the operation.

    The handler of ``controller/someAction`` is the function ``some_action`` of the module ``controller`` in *package*.
    Every public function that such a module defines is a handler.

    Args:
        package: a package of modules, one for each controller; packages in it are not searched.
        operations: the names, ``controller/action``.

    Raises:
        LookupError: an operation has no handler, or a handler has no operation.
    """
    names = {operation: _UPPER.sub(lambda match: f"_{match[0].lower()}", operation) for operation in operations}
    found = dict(_defined(package))
    missing = sorted(operation for operation, name in names.items() if name not in found)
    unknown = sorted(found.keys() - names.values())
    if missing or unknown:
        raise LookupError(f"{package.__name__}: operations without a handler {missing}, without an operation {unknown}")
    return MappingProxyType({operation: found[name] for operation, name in names.items()})


def _defined(package: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield ``controller/some_action`` and the function, for each public function of each module."""
    for info in iter_modules(package.__path__):
        if info.ispkg:
            continue
        module = import_module(f"{package.__name__}.{info.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                yield f"{info.name}/{name}", function
