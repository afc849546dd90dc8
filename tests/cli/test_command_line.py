"""The command line as a whole: help, order, completion, and what it does not import."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.commands import bsp, plain

from bsp_hf import FeatureTrack
from bsp_hf.cli import COMMANDS
from bsp_hf.cli.application import app
from bsp_hf.features import write_track
from bsp_hf.pretraining.rendering.files import write_h264_video

ROOT = Path(__file__).resolve().parents[2]


def installed_command(*words: str, **environment: str) -> subprocess.CompletedProcess:
    """Run what the console script runs, then print which slow packages were imported."""
    script = (
        "import sys, atexit; sys.argv = ['bsp-hf', *sys.argv[1:]]\n"
        "slow = {'torch', 'transformers', 'numpy', 'datasets', 'matplotlib'}\n"
        "atexit.register(lambda: print('imported:', *sorted(slow & {*sys.modules}), file=sys.stderr))\n"
        "from bsp_hf_command import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **environment},
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help"], "synth"),
        (["--version"], "bsp_hf 0."),
        (["picture", "--help"], "timeline"),
        (["info", "-h"], "bsp-hf info recording.mp4"),
    ],
)
def test_help_and_version_import_nothing_slow(words, said):
    finished = installed_command(*words)
    assert finished.returncode == 0 and said in finished.stdout
    assert finished.stderr.strip() == "imported:"


def test_completion_knows_commands_and_options_and_imports_nothing_slow():
    finished = installed_command(_BSP_HF_COMPLETE="complete_bash", COMP_WORDS="bsp-hf inf", COMP_CWORD="1")
    assert finished.stdout.split() == ["info"] and finished.stderr.strip() == "imported:"
    finished = installed_command(
        _BSP_HF_COMPLETE="complete_bash", COMP_WORDS="bsp-hf synth --clips", COMP_CWORD="2"
    )
    assert finished.stdout.split() == ["--clips-per-kind"]


@pytest.mark.slow
def test_a_program_of_the_same_name_that_imports_the_package_has_it_registered(tmp_path):
    program = tmp_path / "bsp-hf"
    program.write_text(
        "import bsp_hf\n"
        "from transformers.pipelines import PIPELINE_REGISTRY\n"
        "print('step-localization' in PIPELINE_REGISTRY.supported_tasks)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    printed = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=True, env=environment
    ).stdout
    assert printed == "True\n"


@pytest.mark.slow
def test_commands_of_the_installed_script_register_with_transformers():
    finished = installed_command("info", "nowhere.mp4")
    assert finished.returncode == 2 and "there is nothing at nowhere.mp4" in finished.stderr
    script = "import sys, bsp_hf_command\n"
    script += "import bsp_hf; print('bsp_hf.registration' in sys.modules)\n"
    script += "from bsp_hf.cli.application import report_errors\n"
    script += "with report_errors(): pass\n"
    script += "from transformers.pipelines import PIPELINE_REGISTRY as r\n"
    script += "print('video-feature-extraction' in r.supported_tasks)"
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert printed.split() == ["False", "True"]


def test_every_command_has_a_panel_a_file_and_help_with_examples():
    overview = bsp("--help")
    for name, panel in COMMANDS.items():
        assert overview.index(panel) < overview.rindex(f" {name} ")
        said = bsp(name, "--help")
        assert "\\b" not in said
        names = [
            f"{name} {part.name}"
            for group in app.registered_groups
            if group.name == name
            for part in group.typer_instance.registered_commands
        ] or [name]
        for command in names:
            said = plain(bsp(*command.split(), "--help"))
            assert "Examples:" in said and f"bsp-hf {command}" in said, command


def test_a_file_that_is_not_there_is_named_first(capsys):
    import typer

    from bsp_hf.cli.application import report_errors

    with pytest.raises(typer.Exit), report_errors(registers=False):
        open("nowhere.json", encoding="utf-8")  # noqa: SIM115  # it does not open
    assert capsys.readouterr().err.strip() == "Error: nowhere.json: No such file or directory."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["extract", "vides", "--model", "org/x", "--output", "out"], "vides does not exist"),
        (
            ["extract", ".", "--model", "bsp", "--output", "out"],
            "bsp is neither a checkpoint folder",
        ),
        (["localize", ".", "--model", "."], ". is not a checkpoint folder: config.json is missing"),
        (["onnx", "org/x", "x.onnx"], "offline mode is enabled: unset HF_HUB_OFFLINE"),
        (["publish", "nowhere", "org/x"], "nowhere is not a folder"),
        (["convert", "nowhere.pth", "x"], "nowhere.pth does not exist"),
        (["synth", "nowhere", "--picture", "x.png"], "nowhere is not a folder"),
        (["info", "nowhere.mp4"], "there is nothing at nowhere.mp4"),
    ],
)
def test_mistakes_are_told_before_anything_slow_is_imported(words, said, tmp_path, monkeypatch):
    """In this process, where all is imported: what registers with transformers comes after."""

    def fail():
        raise AssertionError("this takes seconds")

    monkeypatch.setattr("bsp_hf.registration.register", fail)
    monkeypatch.chdir(tmp_path)
    assert said in bsp(*words, code=2)


def test_videos_and_features_are_described_without_torch(tmp_path):
    rows = np.zeros((3, 4), np.float32)
    track = FeatureTrack.from_rows(
        rows, video_id="v1", encoder="i3d", fps=25.0, snippet_frames=8, stride_frames=4
    )
    write_track(track, tmp_path / "v1.npz")
    write_h264_video(tmp_path / "v1.mp4", [np.zeros((48, 64, 3), np.uint8)] * 3)
    finished = installed_command("info", str(tmp_path / "v1.npz"), str(tmp_path / "v1.mp4"))
    assert finished.returncode == 0 and "3 snippets x 4 features" in finished.stdout
    assert finished.stderr.strip() == "imported: numpy"


def test_examples_fit_a_terminal_of_80_columns_and_read_as_they_were():
    from bsp_hf.cli import _break_example

    line = (
        '  bsp-hf publish runs/gtad org/gtad --license mit --training-data "ActivityNet v1.3, training" --x y'
    )
    broken = _break_example(line)
    assert broken.count(" \\\n") == 1 and all(len(part) <= 78 for part in broken.splitlines())
    assert shlex.split(broken.replace("\\\n", "")) == shlex.split(line)
    assert _break_example("  bsp-hf extract clips/") == "  bsp-hf extract clips/"
    said = bsp("localize", "--help")
    assert '--query "a person opens the fridge"' in plain(said).replace("\\ ", "")


@pytest.mark.parametrize(
    "words",
    [
        ["pretrain", "-o", "out", "--task", "boundaries"],
        ["pretrain-fused", "-o", "out", "--fusion", "distillation"],
        ["train-localizer", "-o", "out", "--localizer", "gtad", "--annotations", "a", "--features", "f"],
    ],
)
def test_mistakes_in_the_options_of_a_training_do_not_wait_for_torch(words):
    finished = installed_command(*words)
    assert finished.returncode == 2 and f"bsp-hf {words[0]}: error: " in finished.stderr
    assert "torch" not in finished.stderr.splitlines()[-1].split()


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("bsp-hf extract clips --file-format sa", "safetensors"),
        ("bsp-hf localize v.mp4 --format act", "activitynet"),
        ("bsp-hf localize v.mp4 --kinds gra", "gradual"),
        ("bsp-hf segment v.mp4 --kinds ac", "action"),
        ("bsp-hf pretrain --task arr", "arrow-of-time"),
        ("bsp-hf pretrain-fused --optimizer ad", "adamw"),
        ("bsp-hf train-localizer --localizer act", "actionness"),
    ],
)
def test_completion_knows_the_values_of_options(words, value):
    count = str(len(words.split()) - 1)
    finished = installed_command(_BSP_HF_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count)
    assert value in finished.stdout.split()


def test_the_command_runs_as_a_module():
    finished = subprocess.run([sys.executable, "-m", "bsp_hf", "--version"], capture_output=True, text=True)
    assert finished.returncode == 0 and finished.stdout.startswith("bsp_hf ")
