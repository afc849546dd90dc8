"""What the package exports, and that it stays light."""

import ast
import doctest
import importlib
import pkgutil
import sys
from pathlib import Path

import pytest

import bsp_hf.metrics
from bsp_hf.metrics.hub import SCRIPT_PATH

FOLDER = Path(bsp_hf.metrics.__file__).parent
MODULES = [module.name for module in pkgutil.iter_modules([str(FOLDER)]) if module.name != "hub"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_the_functions_import_nothing_but_numpy_and_the_standard_library(path):
    allowed = {"numpy", *sys.stdlib_module_names}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module.split(".")[0] in allowed


def test_every_exported_name_exists_and_is_documented():
    assert sorted(bsp_hf.metrics.__all__) == sorted(set(bsp_hf.metrics.__all__))
    for name in bsp_hf.metrics.__all__:
        value = getattr(bsp_hf.metrics, name)
        assert not callable(value) or value.__doc__


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_hold(name):
    assert doctest.testmod(importlib.import_module(f"bsp_hf.metrics.{name}")).failed == 0


def test_the_script_imports_in_the_form_that_evaluate_scans():
    for node in ast.walk(ast.parse(Path(SCRIPT_PATH).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert len(node.names) == 1  # "import a, b" reads as a package called "a,"
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0  # the script is copied away from its package
