"""What an installation brings: the wheel its examples, an editable one the way to the checkout."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[1]


def build(kind: str, folder: Path) -> set[str]:
    """Build a wheel as pip does, without isolation; return the names in it."""
    script = f"import sys; from hatchling.build import build_{kind}; build_{kind}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, folder], cwd=ROOT, env={**os.environ}, check=True)
    (wheel,) = folder.glob("*.whl")
    return {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_its_examples(tmp_path):
    pytest.importorskip("hatchling")
    names = build("wheel", tmp_path)
    tracked = subprocess.run(
        ["git", "ls-files", "bsp_hf", "bsp_hf_command.py", "bsp_hf_threads.py", "examples"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    if not tracked:
        pytest.skip("this is no git checkout")
    assert {name.removeprefix("bsp_hf/_examples/").removeprefix("bsp_hf/") for name in names} == {
        name.removeprefix("examples/").removeprefix("bsp_hf/") for name in tracked
    }
    needed = ("_examples/pretrain.py", "publishing/cards/card.md", "py.typed", "__init__.pyi")
    assert {f"bsp_hf/{name}" for name in needed} <= names


@pytest.mark.slow
def test_an_editable_installation_leaves_no_package_behind(tmp_path):
    pytest.importorskip("hatchling")
    (name,) = build("editable", tmp_path)
    assert name.endswith(".pth")
