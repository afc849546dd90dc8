"""A dataclass is a command line: nested fields, presets, and one line for a mistake."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bsp_hf.training.command_line import GOES_ON, exit_on_mistakes, parse_settings, settings_to_dict


@dataclass(frozen=True)
class Inner:
    """A part of the settings."""

    speeds: tuple[float, ...] = (2.0, 3.0)
    name: str = field(default="", metadata={"option": False})

    def __post_init__(self):
        if 1 in self.speeds:
            raise ValueError("speeds must differ from 1.")


@dataclass(kw_only=True)
class Outer:
    """Settings of a made-up job."""

    preset: str = field(default="paper", metadata={"help": "defaults", "choices": ("paper", "demo")})
    output_dir: Path
    inner: Inner = field(default_factory=Inner)
    max_steps: int | None = field(default=None, metadata={"help": "steps"})
    names: list[str] = field(default_factory=list)
    cpu: bool = field(default=False, metadata={"help": "no GPU"})


PRESETS = {"paper": {}, "demo": {"max_steps": 3, "speeds": [5.0]}}


def parse(*words):
    return parse_settings(Outer, words, presets=PRESETS, prog="job")


def test_options_fill_the_dataclass_and_the_one_inside():
    assert parse("--output_dir", "out") == Outer(output_dir=Path("out"))
    words = ("--output_dir", "out", "--speeds", "4", "0.5", "--names", "a", "b", "--cpu", "--max_steps", "0")
    assert parse(*words) == Outer(
        output_dir=Path("out"), inner=Inner((4.0, 0.5)), names=["a", "b"], cpu=True, max_steps=0
    )


def test_a_preset_sets_defaults_that_other_options_override():
    demo = parse("--output_dir", "out", "--preset", "demo")
    assert (demo.preset, demo.max_steps, demo.inner.speeds) == ("demo", 3, (5.0,))
    assert parse("--output_dir", "out", "--preset", "demo", "--max_steps", "7").max_steps == 7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "required: --output_dir"),
        (("--output_dir", "out", "--max_steps", "many"), "invalid int value: 'many'"),
        (("--output_dir", "out", "--preset", "fast"), "invalid choice: 'fast'"),
        (("--output_dir", "out", "--speeds", "1"), "speeds must differ from 1"),
        (("--output_dir", "out", "--name", "x"), "unrecognized arguments: --name x"),
        (("--output_dir", "out", "--max", "3"), "unrecognized arguments: --max 3"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(*words)
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("job: error: ") and said.count("\n") == 1
    assert message in said and "--help lists the options" in said


def test_help_shows_every_option_with_its_default(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    said = capsys.readouterr().out
    assert "steps (default: None)" in said and "(default: [2.0, 3.0])" in said


def test_settings_are_written_as_json_values():
    written = settings_to_dict(Outer(output_dir=Path("out")))
    assert written == {
        "preset": "paper",
        "output_dir": "out",
        "inner": {"speeds": [2.0, 3.0], "name": ""},
        "max_steps": None,
        "names": [],
        "cpu": False,
    }


def test_mistakes_found_later_are_one_line_too_and_bugs_are_not(capsys, tmp_path):
    missing = tmp_path / "nothing"
    with pytest.raises(SystemExit) as ended, exit_on_mistakes():
        missing.read_text()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {missing}: No such file or directory.\n"
    with pytest.raises(SystemExit), exit_on_mistakes():
        raise OSError("We couldn't connect.\nCheck your connection.")
    assert capsys.readouterr().err == "error: We couldn't connect. Check your connection.\n"
    with pytest.raises(RuntimeError, match="a bug"), exit_on_mistakes():
        raise RuntimeError("a bug")


def test_ctrl_c_is_one_line_that_says_how_to_go_on(capsys):
    with pytest.raises(SystemExit) as left, exit_on_mistakes(GOES_ON):
        raise KeyboardInterrupt
    assert left.value.code == 130 and capsys.readouterr().err == f"{GOES_ON}\n"
