"""Settings of a run: presets name fields that exist, values that make no sense are refused by name."""

import dataclasses
from importlib.util import find_spec
from pathlib import Path

import pytest

from bsp_hf.pretraining.run import settings as settings_module
from bsp_hf.pretraining.run.settings import PRESETS, FusedPretrainingSettings, PretrainingSettings
from bsp_hf.pretraining.synthesis_config import SynthesisConfig
from bsp_hf.training.command_line import parse_settings


def settings(**options) -> PretrainingSettings:
    return PretrainingSettings(output_dir=Path("out"), **options)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_set_options_that_exist_to_what_they_say(preset):
    names = {
        item.name for kind in (PretrainingSettings, SynthesisConfig) for item in dataclasses.fields(kind)
    }
    assert set(PRESETS[preset]) <= names
    parsed = parse_settings(PretrainingSettings, ["--output_dir", "out", "--preset", preset], presets=PRESETS)
    assert {name: getattr(parsed, name) for name in PRESETS[preset]} == PRESETS[preset]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "--epochs: 0 must be at least 1"),
        ({"eval_every": 0}, "--eval_every: 0 must be at least 1"),
        ({"max_steps": -1}, "--max_steps: -1 must be at least 0"),
        ({"learning_rate": 0.0}, "--learning_rate: 0.0 must be positive"),
        ({"max_grad_norm": float("nan")}, "--max_grad_norm: nan must be positive"),
        ({"weight_decay": -0.1}, "--weight_decay: -0.1 must not be negative"),
        ({"warmup_share": 1.5}, "--warmup_share: 1.5 must be between 0 and 1"),
        ({"case_repeats": [0, 0]}, "--case_repeats: .* must hold a positive number"),
        ({"task": "boundaries"}, "--task: task 'boundaries' is unknown"),
    ],
)
def test_senseless_values_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=f"argument {message}"):
        settings(**options)


def test_an_output_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match=r"argument --output_dir: .*file is a file; pass a folder"):
            PretrainingSettings(output_dir=place)


@pytest.mark.parametrize("reports", [["trackio"], ["tensorboard", "trackio"]])
def test_trackers_that_are_not_installed_are_refused(reports, monkeypatch):
    monkeypatch.setattr(
        settings_module, "find_spec", lambda name: None if name == "trackio" else find_spec(name)
    )
    with pytest.raises(
        ValueError, match="argument --report_to: trackio is not installed: pip install trackio"
    ):
        settings(report_to=reports)
    monkeypatch.setattr(settings_module, "find_spec", lambda name: object())
    assert settings(report_to=reports).report_to == reports


def test_a_fusion_needs_its_teachers_unless_their_features_are_kept(tmp_path):
    for options in (
        {"fusion": "two-stream"},
        {"fusion": "distillation", "teacher_features": tmp_path / "no"},
    ):
        with pytest.raises(ValueError, match="needs --action_teacher and --boundary_teacher"):
            FusedPretrainingSettings(output_dir=Path("out"), **options)
    FusedPretrainingSettings(output_dir=Path("out"), fusion="distillation", teacher_features=tmp_path)


def test_a_run_stays_the_same_run_where_paths_and_places_change(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "task.py").write_text(
        "from bsp_hf.pretraining.pretexts import BoundaryClassification\n"
        "class Mine(BoundaryClassification):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    relative = settings(init_from="model", task="task.py:Mine", num_workers=3, max_steps=5)
    absolute = settings(init_from=str(tmp_path / "model"), task=f"{tmp_path / 'task.py'}:Mine", cpu=True)
    assert relative.lasting() == absolute.lasting()
    assert relative.lasting() != settings(task="task.py:Mine").lasting()
    (tmp_path / "boundary").mkdir()
    assert settings(task="boundary").lasting()["task"] == "boundary"
    lasting = settings(init_from="microsoft/resnet-50", synthesis=SynthesisConfig(frame_stride=2)).lasting()
    assert lasting["init_from"] == "microsoft/resnet-50" and lasting["frame_stride"] == 2
