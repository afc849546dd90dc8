"""What accelerate, its launcher or its environment asks for holds, and fits the device."""

import logging
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState, GradientState, PartialState

from bsp_hf.pretraining.run.settings import PretrainingSettings
from bsp_hf.pretraining.run.setup import start_accelerator


@pytest.fixture(autouse=True)
def own_state():
    """Accelerate's process-wide state ends with the test, as do log levels."""
    states = (GradientState, AcceleratorState, PartialState)
    for state in states:
        state._reset_state()
    level = logging.getLogger("bsp_hf").level
    yield
    logging.getLogger("bsp_hf").setLevel(level)
    for state in states:
        state._reset_state()


def start(**options):
    return start_accelerator(PretrainingSettings(output_dir=Path("out"), cpu=True, **options), "test", "test")


@pytest.mark.parametrize(
    ("asked", "environment", "expected"),
    [(None, None, "no"), (None, "bf16", "bf16"), ("no", "bf16", "no"), ("bf16", None, "bf16")],
)
def test_precision_is_that_of_the_option_or_else_of_the_launcher(asked, environment, expected, monkeypatch):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    if environment is not None:
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", environment)
    assert start(mixed_precision=asked).mixed_precision == expected


@pytest.mark.parametrize("asks", ["option", "launcher"])
def test_fp16_on_a_processor_is_refused_whoever_asks_for_it(asks, monkeypatch):
    if asks == "launcher":
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ValueError, match=r"mixed_precision fp16 needs a GPU.*bf16 or no"):
        start(mixed_precision="fp16" if asks == "option" else None)


@pytest.mark.parametrize(("asked", "environment", "expected"), [(2, "1", 2), (2, "4", 2), (None, "4", 4)])
def test_accumulation_is_that_of_the_option_or_else_of_the_environment(
    asked, environment, expected, monkeypatch
):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", environment)
    assert start(gradient_accumulation_steps=asked).gradient_accumulation_steps == expected


def test_settings_say_what_is_in_effect(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    settings = PretrainingSettings(output_dir=Path("out"), cpu=True)
    start_accelerator(settings, "test", "test")
    assert settings.mixed_precision == "bf16"
