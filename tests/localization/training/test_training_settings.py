"""The settings of a localizer's training: options, refusals, and what a resumed run must repeat."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from bsp_hf.localization.training.hyperparameters import Hyperparameters
from bsp_hf.localization.training.settings import LOCALIZERS, LocalizerTrainingSettings
from bsp_hf.localization.training_arguments import PRESETS, TASKS
from bsp_hf.training.command_line import parse_settings, settings_to_dict

NEEDED = {"annotations": Path("a.json"), "features": [Path("f")], "output_dir": Path("o"), "eval_subset": "t"}


def make(**options) -> LocalizerTrainingSettings:
    return LocalizerTrainingSettings(**{"localizer": "gtad", **NEEDED, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({name: 0}, f"--{name}: 0 must be at least 1") for name in ("epochs", "batch_size", "eval_every")),
        *(({name: -1}, f"--{name}: -1 must be at least 1") for name in ("save_every", "decay_epochs")),
        ({"gradient_accumulation_steps": 0}, "--gradient_accumulation_steps: 0"),
        ({"num_workers": -1}, "--num_workers: -1 must be at least 0"),
        ({"learning_rate": 0.0}, "--learning_rate: 0.0 must be positive"),
        ({"learning_rate": float("nan")}, "--learning_rate: nan must be positive"),
        ({"weight_decay": -0.1}, "--weight_decay: -0.1 must not be negative"),
        ({"eval_subset": None, "eval_fraction": 1.0}, "--eval_fraction: 1.0 must be between 0 and 1"),
        ({"features": []}, "--features: give at least one"),
        ({"encoder": ["nowhere"]}, "--encoder: nowhere is neither a folder here nor a Hub id"),
        ({"encoder": ["./runs/bsp"]}, r"--encoder: \./runs/bsp is neither"),
        ({"config": "{"}, "--config: { is no JSON"),
        ({"config": "[1]"}, r"--config: \[1\] is no JSON object"),
        ({"eval_durations": Path("d.csv")}, "--eval_durations: it goes with --eval_annotations"),
        ({"eval_fraction": 0.5}, "say what to evaluate on"),
        ({"eval_subset": None}, "say what to evaluate on"),
        ({"localizer": "bmn"}, "'bmn' is not one of gtad, tan, lgi, actionness"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_the_command_line_is_the_dataclass_and_mistakes_are_one_line(capsys):
    words = ["--localizer", "tan", "--annotations", "a.json", "--features", "f", "g", "--output_dir", "o"]
    settings = parse_settings(LocalizerTrainingSettings, [*words, "--eval_subset", "t", "--epochs", "3"])
    assert settings == make(localizer="tan", features=[Path("f"), Path("g")], epochs=3)
    with pytest.raises(SystemExit) as left:
        parse_settings(LocalizerTrainingSettings, [*words, "--eval_subset", "t", "--eval_every", "0"])
    said = capsys.readouterr().err
    assert left.value.code == 2 and said.count("\n") == 1 and "--eval_every: 0 must be at least 1" in said


def test_the_record_is_the_dataclass():
    settings = make(features=[Path("f"), Path("g")], config='{"num_steps": 8}')
    record = json.loads(json.dumps(settings_to_dict(settings)))
    assert record.keys() == {item.name for item in fields(settings)}
    back = {name: [Path(p) for p in value] if name == "features" else value for name, value in record.items()}
    assert replace(make(), **{**back, **NEEDED, "features": back["features"]}) == settings
    assert settings.config_fields == {"num_steps": 8}


def test_a_resumed_run_may_be_longer_and_its_files_elsewhere():
    first = make(epochs=2, features=[Path("f")], seed=3)
    same = make(
        epochs=3, features=[Path("/moved/f")], annotations=Path("/moved/a.json"), seed=3, num_workers=2
    )
    assert first.lasting() == same.lasting()
    for changed in ({"seed": 4}, {"learning_rate": 1.0}, {"config": '{"num_steps": 8}'}, {"prefix": "v_"}):
        assert make(epochs=2, **{"seed": 3, **changed}).lasting() != first.lasting()


def test_given_hyper_parameters_stand_in_place_of_the_published_ones():
    published = Hyperparameters(1e-3, 8, 30, decay_epochs=5)
    assert make().choose_hyperparameters(published) == published
    chosen = make(epochs=2, weight_decay=0.0, plateau_factor=1.0).choose_hyperparameters(published)
    assert chosen == replace(published, epochs=2, plateau_factor=1.0)


def test_every_localizer_has_a_task_and_presets():
    assert set(TASKS) == set(PRESETS) == set(LOCALIZERS)
    (preset,) = (item for item in fields(LocalizerTrainingSettings) if item.name == "preset")
    named = {name for presets in PRESETS.values() for name in presets}
    assert all(name in preset.metadata["help"] for name in named)
