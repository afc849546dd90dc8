"""transformers' own common tests of models and configs, run on ours; fetched from PyPI, never kept here."""

import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from importlib.metadata import version
from pathlib import Path

import pytest
from support.every_model import EVERY_MODEL

import bsp_hf

pytestmark = pytest.mark.slow

CASES = Path(__file__).resolve().parents[1] / "support" / "common_suite_cases.py"
# The names of the test classes, where they are not those of the models.
FAMILIES = {
    "regnet": "RegNet",
    "convnext": "ConvNext",
    "convnextv2": "ConvNextV2",
    "mobilenet_v2": "MobileNetV2",
    "efficientnet-lite": "EfficientNetLite",
    "videomae": "VideoMAE",
    "timesformer": "Timesformer",
    "vivit": "Vivit",
    "vjepa2": "VJEPA2",
}
MODELS = {name: FAMILIES.get(name.partition("-")[2], name) for name in EVERY_MODEL}

# A skip hides a failure as well as it hides what does not apply; these must have run.
MUST_RUN = {
    "test_all_tensors_are_parameter_or_buffer",
    "test_batching_equivalence",
    "test_can_be_initialized_on_meta",
    "test_can_use_safetensors",
    "test_correct_missing_keys",
    "test_determinism",
    "test_enable_input_require_grads_with_gradient_checkpointing",
    "test_from_pretrained_no_checkpoint",
    "test_gradient_checkpointing_enable_disable",
    "test_hidden_states_output",
    "test_init_weights_can_init_buffers",
    "test_keep_in_fp32_modules",
    "test_load_save_without_tied_weights",
    "test_model_main_input_name",
    "test_model_outputs_equivalence",
    "test_retain_grad_hidden_states_attentions",
    "test_save_load",
    "test_training",
    "test_training_gradient_checkpointing",
    "test_training_gradient_checkpointing_use_reentrant_false",
}
# Why is said where it is skipped.
MAY_SKIP = {"Timesformer": {"test_enable_input_require_grads_with_gradient_checkpointing"}}


@pytest.fixture(scope="module")
def transformers_tests(request) -> Path:
    """Folder with the package `transformers_tests`; skips where PyPI cannot be reached."""
    release = version("transformers")
    cache = Path(request.config.cache.mkdir("transformers_sdist"))
    package = cache / release / "transformers_tests"
    if not (package / "__init__.py").is_file():
        archive = cache / f"transformers-{release}.tar.gz"
        options = ["--no-deps", "--no-build-isolation", "--no-binary", "transformers", "--dest", str(cache)]
        command = [sys.executable, "-m", "pip", "download", *options, f"transformers=={release}"]
        try:
            subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"transformers {release} could not be fetched: {error.stderr or error}")
        package.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            for member in tar:
                path = Path(member.name)
                if member.isfile() and path.parts[1:-1] == ("tests",) and path.suffix == ".py":
                    (package / path.name).write_bytes(tar.extractfile(member).read())
        archive.unlink()
        (package / "__init__.py").touch()  # last: it says that the folder is whole
    return package.parent


@pytest.fixture(scope="module")
def outcomes(transformers_tests, tmp_path_factory) -> dict[str, dict[str, str]]:
    """`{model: {test: "passed" | "skipped: ..." | "failed: ..."}}`, run where nothing else is affected."""
    report = tmp_path_factory.mktemp("common_suite") / "report.xml"
    package = str(Path(bsp_hf.__file__).parents[1])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "BSP_HF_TRANSFORMERS_TESTS": str(transformers_tests), "PYTHONPATH": path}
    # Without our own options: transformers' files have markers that these do not know.
    command = [sys.executable, "-m", "pytest", CASES.name, "-q", "-o", "addopts=", "-p", "no:cacheprovider"]
    finished = subprocess.run(
        [*command, f"--junitxml={report}"],
        cwd=CASES.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    # 1 is a run with failures; anything else was no run.
    assert finished.returncode in (0, 1), finished.stdout[-3000:] + finished.stderr[-3000:]
    found: dict[str, dict[str, str]] = {model: {} for model in MODELS.values()}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        model = case.get("classname", "").rpartition(".")[2].removesuffix("Test")
        problems = [part for part in case if part.tag in ("failure", "error", "skipped")]
        outcome = "passed"
        for part in problems:
            kind = "skipped" if part.tag == "skipped" else "failed"
            outcome = f"{kind}: {part.get('message', '')}"
        found.setdefault(model, {})[case.get("name", "")] = outcome
    return found


@pytest.mark.parametrize("name", MODELS)
def test_transformers_own_tests_pass(name, outcomes, record_property):
    model = MODELS[name]
    failed = {test: outcome for test, outcome in outcomes[model].items() if outcome.startswith("failed")}
    assert not failed
    passed = {test for test, outcome in outcomes[model].items() if outcome == "passed"}
    assert passed >= MUST_RUN - MAY_SKIP.get(model, set())
    record_property("model", name)
    record_property("passed", len(passed))
    record_property("not_applicable", len(outcomes[model]) - len(passed))


def test_transformers_own_tests_pass_on_the_image_network_of_the_package(outcomes):
    found = outcomes["EfficientNetLiteModel"]
    assert not {test: outcome for test, outcome in found.items() if outcome.startswith("failed")}
    passed = {test for test, outcome in found.items() if outcome == "passed"}
    assert passed >= {test for test in MUST_RUN if "checkpointing" not in test} - {
        "test_keep_in_fp32_modules"
    }
    assert found["test_config"] == "passed"


@pytest.mark.parametrize(
    "model", ["BSPModel", "BSPTwoStreamModel", "BSPForTwoHeadClassification", "BSPForFeatureDistillation"]
)
def test_transformers_own_tests_of_the_configs_pass(model, outcomes):
    assert outcomes[model]["test_config"] == "passed"
