"""`bsp-hf pretrain`: the command that it launches."""

import shlex
import sys
from pathlib import Path

import pytest
from support.commands import bsp

from bsp_hf.cli import pretrain as pretrain_command

ROOT = Path(__file__).resolve().parents[2]


def test_options_go_to_the_loop_in_its_spelling_and_launch_options_before_it():
    said = bsp(
        *("pretrain", "--video-dir", "clips", "--output-dir", "out", "--dry-run"),
        *("--batch-size", "8", "--case_repeats", "1", "3"),
        "--launch",
        "--multi_gpu --mixed_precision bf16",
    )
    script = str(ROOT / "examples" / "pretrain.py")
    assert shlex.split(said) == [
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--mixed_precision", "bf16"),
        *(script, "--video_dir", "clips", "--output_dir", "out"),
        *("--batch_size", "8", "--case_repeats", "1", "3"),
    ]


def test_without_a_folder_nothing_is_done():
    assert "--output-dir is missing" in bsp("pretrain", "--preset", "demo", code=2)
    said = bsp("pretrain", "--video-dir", "nowhere", "--output-dir", "out", code=2)
    assert "nowhere is not a folder" in said


def test_an_installed_package_carries_the_loop(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "bsp_hf"
    (package / "_examples").mkdir(parents=True)
    monkeypatch.setattr(pretrain_command, "_PACKAGE", package)
    with pytest.raises(FileNotFoundError, match="install bsp_hf again"):
        pretrain_command.find_example("pretrain.py")
    (package / "_examples" / "pretrain.py").touch()
    (package.parent / "examples").mkdir()
    (package.parent / "examples" / "pretrain.py").touch()  # of somebody else
    assert pretrain_command.find_example("pretrain.py") == package / "_examples" / "pretrain.py"


@pytest.mark.slow
def test_the_loop_runs_and_its_status_is_passed_on(tmp_path, capfd):
    bsp("pretrain", "--loop-options")
    assert "--half_length" in capfd.readouterr().out
    bsp("pretrain", "--output-dir", tmp_path / "out", "--batch-size", "many", code=1)
    assert "invalid int value: 'many'" in capfd.readouterr().err
