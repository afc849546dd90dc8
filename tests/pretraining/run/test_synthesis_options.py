"""Options of the synthesis: `--synthesis NAME` and every field of its config."""

from dataclasses import fields, replace

import pytest

from bsp_hf import SynthesisConfig
from bsp_hf.pretraining.drawing.presets import SYNTHESIS_PRESETS
from bsp_hf.pretraining.run.settings import PRESETS, PretrainingSettings
from bsp_hf.pretraining.synthesis_config import PRESET_NAMES
from bsp_hf.training.command_line import parse_settings


def parsed(*words: str) -> PretrainingSettings:
    return parse_settings(PretrainingSettings, ["--output_dir", "x", *words], presets=PRESETS)


def test_without_options_clips_are_consecutive_and_actions_sampled_as_published():
    for settings in (parsed(), PretrainingSettings(output_dir="x")):
        assert settings.synthesis == SynthesisConfig(action_sampling="segments")
        assert (settings.augmentation, settings.eval_segment_place) == ("multi-scale", "center")


@pytest.mark.parametrize("name", PRESET_NAMES)
@pytest.mark.parametrize("words", [[], ["--preset", "demo"]])
def test_a_name_sets_the_defaults_of_every_field(name, words):
    expected = replace(SYNTHESIS_PRESETS[name], action_sampling="segments")
    settings = parsed("--synthesis", name, *words)
    assert settings.synthesis == expected
    assert settings.preset == (words[1] if words else "paper")


# For every field but the preset a value that no preset has, and how it is typed.
VALUES = {
    "half_length": (6, ["6"]),
    "blend_half_width": (2, ["2"]),
    "speeds": ((5.0, 0.25), ["5", "0.25"]),
    "min_side_frames": (3, ["3"]),
    "frame_stride": (2, ["2"]),
    "first_index": (0, ["0"]),
    "rounding": ("up", ["up"]),
    "class_sampling": ("segments", ["segments"]),
    "segment_place": ("center", ["center"]),
    "action_sampling": ("stride", ["stride"]),
    "max_spacing": (9, ["9"]),
    "draws_change_point": (True, []),
    "transitions": (("hard", "wipe"), ["hard", "wipe"]),
    "transition_half_widths": ((1,), ["1"]),
    "jump_counts": ((0, 1), ["0", "1"]),
    "partner_choice": ("alike", ["alike"]),
    "num_alike": (3, ["3"]),
    "num_changes": (2, ["2", "--max_spacing", "9"]),
    "ramp_epochs": (2.5, ["2.5"]),
}


def test_every_field_is_an_option_and_overrides_the_preset():
    assert list(VALUES) == [item.name for item in fields(SynthesisConfig) if item.name != "preset"]
    for name, (value, words) in VALUES.items():
        assert getattr(parsed(f"--{name}", *words).synthesis, name) == value, name


def test_a_closing_of_robust_is_switched_off_by_its_option():
    off = {
        "max_spacing": (0, ["0"]),
        "draws_change_point": (False, ["false"]),
        "transitions": ((), []),
        "jump_counts": ((), []),
        "partner_choice": ("random", ["random"]),
    }
    robust = parsed("--synthesis", "robust").synthesis
    for name, (value, words) in off.items():
        assert getattr(robust, name) != value
        settings = parsed("--synthesis", "robust", f"--{name}", *words)
        assert settings.synthesis == replace(robust, **{name: value}), name


def test_a_run_must_be_resumed_with_the_same_synthesis():
    names = {item.name for item in fields(SynthesisConfig)} - {"preset"}
    assert names <= set(parsed().lasting())
    assert parsed("--synthesis", "text").lasting() != parsed("--synthesis", "figure").lasting()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--synthesis", "robots"], "--synthesis"),
        (["--transitions", "iris"], "transitions=('iris',) may hold hard, fade, wipe, zoom, dissolve"),
        (["--num_changes", "2"], "num_changes=2 needs max_spacing"),
        (["--case_repeats"], "argument --case_repeats: [] must hold a positive number"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys):
    with pytest.raises(SystemExit):
        parsed(*words)
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
