"""`bsp-hf pretrain`, `pretrain-fused` and `train-localizer`: the commands that they launch."""

import shlex
import sys
from pathlib import Path

import pytest
from support.commands import bsp

from bsp_hf.cli import loops
from bsp_hf.encoder.configuration_bsp import BACKBONE_VARIANTS
from bsp_hf.pretraining.choices import BACKBONES, TASKS
from bsp_hf.pretraining.pretexts import PRETEXTS

ROOT = Path(__file__).resolve().parents[2]
GTAD = ("train-localizer", "--localizer", "gtad", "--eval-fraction", "0.2")


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
    monkeypatch.setattr(loops, "_PACKAGE", package)
    with pytest.raises(FileNotFoundError, match="install bsp_hf again"):
        loops.find_example("pretrain.py")
    (package / "_examples" / "pretrain.py").touch()
    (package.parent / "examples").mkdir()
    (package.parent / "examples" / "pretrain.py").touch()  # of somebody else
    assert loops.find_example("pretrain.py") == package / "_examples" / "pretrain.py"


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


def test_the_names_that_are_listed_without_torch_are_those_that_exist():
    assert tuple(PRETEXTS) == TASKS and tuple(BACKBONE_VARIANTS) == BACKBONES


def test_fusions_and_localizers_are_launched_alike(tmp_path):
    said = bsp("pretrain-fused", "--fusion", "two-head", "-o", "out", "--mixed-precision", "no", "--dry-run")
    script = str(ROOT / "examples" / "pretrain_fused.py")
    words = ["--fusion", "two-head", "--output_dir", "out", "--mixed_precision", "no"]
    assert shlex.split(said)[3:] == [script, *words]
    words = ["--localizer", "gtad", "--annotations", "a.json", "--output_dir", "out"]
    rest = ["--features", "f", "g", "--eval-fraction", "0.2"]
    said = bsp("train-localizer", *(word.replace("_", "-") for word in words), *rest, "--dry-run")
    script = str(ROOT / "examples" / "train_localizer.py")
    assert shlex.split(said)[3:] == [script, *words, "--features", "f", "g", "--eval_fraction", "0.2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrain-fused", "--fusion", "both"], "invalid choice: 'both'"),
        (["pretrain-fused", "--fusion", "two-stream"], "needs --action_teacher and --boundary_teacher"),
        (
            [
                *("pretrain-fused", "--fusion", "two-stream"),
                "--action-teacher",
                "a",
                "--boundary-teacher",
                "b",
            ],
            "a is neither a checkpoint folder here nor an id OWNER/NAME on the Hub",
        ),
        (["train-localizer", "--localizer", "bmn"], "invalid choice: 'bmn'"),
        (
            [*GTAD, "--annotations", "none.json", "--features", "f"],
            "--annotations: none.json does not exist",
        ),
        (
            [*GTAD, "--annotations", __file__, "--features", "f,g"],
            "--features: f does not exist",
        ),
    ],
)
def test_mistakes_in_other_loops_are_one_line_before_anything_is_launched(words, message, tmp_path):
    said = bsp(*words, "--output-dir", tmp_path / "out", code=2)
    assert message in said and said.count("\n") == 1 and not (tmp_path / "out").exists()
