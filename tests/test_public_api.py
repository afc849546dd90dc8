"""The names that the package offers: complete, lazy, and documented as their signatures are."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import FunctionType

import pytest
from support.docstrings import contradictions, docstring_of, exported_objects, methods_of, omissions
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForVideoClassification,
    pipeline,
)
from transformers.pipelines import PIPELINE_REGISTRY

import bsp_hf
import bsp_hf.features
import bsp_hf.metrics
from bsp_hf.registration import register

NAMES = sorted(set(bsp_hf.__all__) - {"__version__"})


def imports_for_type_checkers(package):
    """`{name: module}` of what a type checker finds: in the package's stub, or behind `TYPE_CHECKING`."""
    path = Path(package.__file__)
    if path.with_suffix(".pyi").is_file():
        body = ast.parse(path.with_suffix(".pyi").read_text(encoding="utf-8")).body
    else:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        (checked,) = (
            node
            for node in tree.body
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        )
        body = checked.body
    inside = f"{package.__name__}.".partition(".")[2]
    modules = [(inside if node.level else "") + node.module.removeprefix("bsp_hf.") for node in body]
    return {alias.name: module for node, module in zip(body, modules, strict=True) for alias in node.names}


@pytest.mark.parametrize("package", [bsp_hf, bsp_hf.features, bsp_hf.metrics])
def test_names_homes_and_what_type_checkers_see_are_the_same(package):
    imported = imports_for_type_checkers(package)
    assert len(imported) > 20
    imported.pop("__version__", None)
    assert imported == package._HOMES
    assert sorted(package._HOMES) == sorted(set(package.__all__) - {"__version__"})
    assert sorted(package.__all__) == dir(package)
    assert sorted(bsp_hf.__all__) == bsp_hf.__all__


def test_type_checkers_know_the_names_of_the_stub(tmp_path):
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text("import bsp_hf\nreveal_type(bsp_hf.BSPConfig)\nbsp_hf.BSPTransformer\n")
    printed = subprocess.run(
        [sys.executable, "-m", "mypy", "--ignore-missing-imports", "--follow-imports=silent", str(program)],
        cwd=Path(bsp_hf.__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert "bsp_hf.encoder.configuration_bsp.BSPConfig" in printed
    assert 'Module has no attribute "BSPTransformer"' in printed


@pytest.mark.parametrize("name", NAMES)
def test_every_name_comes_from_a_module_that_exports_it(name):
    value = getattr(bsp_hf, name)
    assert value.__name__ == name
    assert hasattr(import_module(f"bsp_hf.{bsp_hf._HOMES[name]}"), name)


@pytest.mark.parametrize("name", bsp_hf.features.__all__)
def test_every_name_of_features_is_the_one_of_its_module(name):
    home = import_module(f"bsp_hf.{bsp_hf.features._HOMES[name]}")
    assert getattr(bsp_hf.features, name) is getattr(home, name)


def test_unknown_names_raise_attribute_error():
    with pytest.raises(AttributeError, match="'bsp_hf' has no attribute 'BSPTransformer'"):
        bsp_hf.BSPTransformer  # noqa: B018
    assert not hasattr(bsp_hf, "BSPTransformer")


def test_importing_the_package_leaves_out_what_only_a_part_needs():
    script = "import sys, bsp_hf; print(*sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    loaded = set(printed.split())
    layers = {name.split(".")[1] for name in loaded if name.startswith("bsp_hf.")}
    # The localizers are registered with transformers, and read feature tracks.
    names = (
        *("encoder", "features", "files", "lazy", "localization", "metrics", "pretrained", "registration"),
        "version",
    )
    assert layers == set(names)
    # accelerate and scipy are not among them, because transformers loads these by itself.
    assert not loaded & {"datasets", "evaluate", "h5py", "matplotlib", "onnx", "tensorboard", "typer"}


def test_registering_again_changes_nothing():
    before = dict(PIPELINE_REGISTRY.supported_tasks)
    register()
    assert before == PIPELINE_REGISTRY.supported_tasks
    config = bsp_hf.BSPConfig.from_backbone_name("resnet18")
    assert type(AutoConfig.for_model("bsp")) is bsp_hf.BSPConfig
    assert AutoModel._model_mapping[type(config)] is bsp_hf.BSPModel
    mapping = AutoModelForVideoClassification._model_mapping
    assert mapping[type(config)] is bsp_hf.BSPForBoundaryClassification
    assert AutoFeatureExtractor  # imported above without an optional dependency
    task = PIPELINE_REGISTRY.supported_tasks["video-feature-extraction"]
    assert task["impl"] is bsp_hf.VideoFeatureExtractionPipeline


@pytest.mark.parametrize("task", ["temporal-action-localization", "video-grounding", "step-localization"])
def test_pipelines_of_localizers_without_a_model_ask_for_one(task):
    with pytest.raises(ValueError, match="this task has no default model: pass model="):
        pipeline(task)


def documented_parts(value):
    """The function or class, and the public methods of the class."""
    yield value.__name__, value
    if inspect.isclass(value):
        for name, method in methods_of(value):
            yield f"{value.__name__}.{name}", method


@pytest.mark.parametrize("name", NAMES)
def test_public_docstrings_leave_nothing_out(name):
    value = getattr(bsp_hf, name)
    assert omissions(name, value) == []
    silent = [part for part, target in documented_parts(value) if not docstring_of(target).strip()]
    assert silent == []


def test_no_docstring_of_the_package_states_what_its_signature_denies():
    """All modules, so that a default is changed in both places or in none."""
    faults, num_checked = [], 0
    for name, value in exported_objects(bsp_hf):
        if inspect.isclass(value) or isinstance(value, FunctionType):
            for part, target in documented_parts(value):
                faults += contradictions(f"{name.rpartition('.')[0]}.{part}", target)
                num_checked += 1
    assert faults == []
    assert num_checked > 100


class Misdocumented:
    """Show what the check finds.

    Args:
        rate (`float`, *optional*, defaults to 1 / 4): Right.
        place (`str`, *optional*, defaults to `"here"`): Wrong.
        size (`int`, *optional*, defaults to 3): Wrong, there is none.
        step (`int`): Left out, not wrong.
    """

    def __init__(self, size: int, rate: float = 0.25, place: str = "there", step: int = 2, more: int = 0):
        pass


Misdocumented.__init__.__module__ = "bsp_hf.nowhere"


def test_the_check_finds_wrong_and_missing_statements():
    assert contradictions("It", Misdocumented) == [
        "It states `\"here\"` as the default of place, which is 'there'",
        "It states a default of size, which has none",
    ]
    assert omissions("It", Misdocumented) == [
        "It does not state that step defaults to 2",
        "It does not document more",
    ]
    assert omissions("f", documented_parts) == [
        "f does not document value",
    ]
