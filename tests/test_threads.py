"""Threads that wait sleep, in every program that trains or extracts, unless the user has chosen otherwise."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
PROGRAMS = ("pretrain", "pretrain_fused", "train_localizer", "extract_features", "find_boundaries")


def run(*words: str, **environment: str) -> str:
    """Run Python as a user does who has set nothing but `environment`; return all it said."""
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run(
        [sys.executable, *words],
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "['passive', '0', None]"),
        ({"OMP_WAIT_POLICY": "active"}, "['active', None, None]"),
        ({"GOMP_SPINCOUNT": "1000"}, "[None, '1000', None]"),
        ({"KMP_BLOCKTIME": "200"}, "[None, None, '200']"),
    ],
)
def test_what_the_user_has_set_is_left_alone(environment, expected):
    script = f"import bsp_hf_threads, os; print([os.environ.get(name) for name in {NAMES}])"
    assert run("-c", script, **environment).strip() == expected


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_set_it_before_any_other_import(name):
    body = ast.parse((ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")).body
    first = next(node for node in body if isinstance(node, ast.Import | ast.ImportFrom))
    assert first.names[0].name == "bsp_hf_threads"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other libraries for threads")
@pytest.mark.parametrize(
    "words",
    [
        ("-c", "import bsp_hf_command, torch"),
        *((str(ROOT / "examples" / f"{name}.py"), "--help") for name in PROGRAMS),
    ],
)
def test_the_library_of_threads_has_read_it(words):
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in run(*words, OMP_DISPLAY_ENV="TRUE")
