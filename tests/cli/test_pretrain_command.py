"""`bsp-hf pretrain`: the command that it launches."""

import shlex
import sys
from pathlib import Path

import pytest
from support.commands import bsp

from bsp_hf.cli.pretraining import pretrain as pretrain_command

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
    video_dir = tmp_path / "empty"
    video_dir.mkdir()
    bsp("pretrain", "--output-dir", tmp_path / "out", "--video-dir", video_dir, "--cpu", code=2)
    said = capfd.readouterr().err
    assert f"error: {video_dir}" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch-size", "many"], "argument --batch_size/--batch-size: invalid int value: 'many'"),
        (["--eval-every", "0"], "argument --eval_every: 0 must be at least 1"),
        (["--task", "boundaries"], "argument --task: task 'boundaries' is unknown; choose one of boundary"),
        (["--speeds", "1"], "speeds=(1.0,) must be positive, different from 1"),
        (["--batchsize", "8"], "unrecognized arguments: --batchsize 8"),
    ],
)
def test_a_wrong_option_is_one_line_before_anything_is_launched(words, message, tmp_path):
    said = bsp("pretrain", "--output-dir", tmp_path / "out", *words, code=2)
    assert said.startswith("bsp-hf pretrain: error: ") and said.count("\n") == 1
    assert message in said and not (tmp_path / "out").exists()
