"""Names of a package that are imported when they are first used."""

import ast
import pkgutil
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def read_stub(package: str) -> dict[str, str]:
    """Return the module in `bsp_hf` of each public name that `__init__.pyi` of a package imports."""
    stub = ast.parse(pkgutil.get_data(package, "__init__.pyi") or b"")
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    inside = f"{package}.".partition(".")[2]
    homes = {alias.name: f"{inside}{node.module}" for node in imports for alias in node.names}
    return {name: module for name, module in homes.items() if not name.startswith("_")}


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package; `homes` holds the module in `bsp_hf` of each name."""

    def get(name: str) -> Any:  # Any: whatever a package offers
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"bsp_hf.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def list_names() -> list[str]:
        return sorted(sys.modules[package].__all__)

    return get, list_names
