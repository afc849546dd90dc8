"""Measure what every model of the encoder room survives, and print it as a table.

    python benchmarks/model_properties.py                 # slow: give --reports, and go on later
    python benchmarks/model_properties.py --columns ONNX checkpointing

A column is a test of every model, tiny and with random weights; the numbers are the largest differences that
the tests saw in this very run. With --reports a run that was cut short goes on with the columns it lacks.
"""

import argparse
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENCODER, EXAMPLES = "tests/encoder", "tests/examples"
COLUMNS = {
    "common suite": [f"{ENCODER}/test_common_suite.py::test_transformers_own_tests_pass"],
    "ONNX": [
        "tests/publishing/test_onnx.py::test_every_model_computes_the_same_in_onnxruntime_for_any_batch"
    ],
    "compiled graph": [
        f"{ENCODER}/test_compiled_models.py"
        "::test_compiled_model_trains_alike_with_one_graph_for_all_batches_but_the_first"
    ],
    "inductor": [f"{ENCODER}/test_compiled_models.py::test_inductor_makes_code_of_it_that_trains_alike"],
    "two processes": [f"{ENCODER}/test_every_model.py::test_two_processes_have_the_losses_of_one"],
    "checkpointing": [
        f"{ENCODER}/test_every_model.py"
        "::test_checkpointing_recomputes_and_changes_neither_gradients_nor_statistics"
    ],
    "examples": [
        f"{EXAMPLES}/test_pretrain.py::test_two_processes_train_like_two_accumulated_batches",
        f"{EXAMPLES}/test_pretrain.py::test_two_processes_regress_like_two_accumulated_batches",
        f"{EXAMPLES}/test_pretrain_fused.py::test_two_processes_train_like_two_accumulated_batches",
    ],
}


def run_tests(tests: list[str], report: Path) -> None:
    """Run them all, slow ones too; what they measured is in the report."""
    options = ["-q", "-m", "slow or not slow", "-o", "junit_family=xunit1", f"--junitxml={report}"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    subprocess.run(command, cwd=ROOT, check=False, stdout=sys.stderr)


def read_report(report: Path) -> dict[str, str]:
    """Return the cell of every model: the largest difference over its tests, or why there is none."""
    numbers: dict[str, dict[str, float]] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        found = {part.get("name"): part.get("value") for part in case.iter("property")}
        model = numbers.setdefault(found.pop("model", str(case.get("name"))), {})
        model.update({name: max(float(value), model.get(name, 0.0)) for name, value in found.items()})
        for kind in ("failure", "error", "skipped"):
            if case.find(kind) is not None:
                model[kind] = 1.0
    return {name: cell(values) for name, values in numbers.items()}


def cell(values: dict[str, float]) -> str:
    if "failure" in values or "error" in values:
        return "FAILED"
    if "difference" in values:
        return f"{values['difference']:.1e}"
    if "passed" in values:
        return f"{values['passed']:.0f} passed, {values['not_applicable']:.0f} not applicable"
    return "skipped"


def print_table(columns: dict[str, dict[str, str]], first: str) -> None:
    rows = dict.fromkeys(model for cells in columns.values() for model in cells)
    print(f"\n| {' | '.join([first, *columns])} |")
    print("| --- " * (1 + len(columns)) + "|")
    for model in rows:
        print(f"| {' | '.join([f'`{model}`', *(cells.get(model, '') for cells in columns.values())])} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--columns", nargs="+", choices=tuple(COLUMNS), default=list(COLUMNS))
    parser.add_argument("--reports", type=Path, help="folder that keeps what was measured")
    args = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.reports or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for column in args.columns:
            report = folder / f"{column.replace(' ', '_')}.xml"
            if not report.exists():
                run_tests(COLUMNS[column], report)
            found[column] = read_report(report)
    examples = {"largest difference of a loss": found.pop("examples")} if "examples" in found else {}
    if found:
        print_table(found, "model")
    if examples:
        print_table(examples, "command")
    failed = [cells for cells in (*found.values(), *examples.values()) if "FAILED" in cells.values()]
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
