"""How many steps a run takes."""

from pathlib import Path

import pytest

from bsp_hf.pretraining.run.settings import PretrainingSettings
from bsp_hf.pretraining.run.setup import RunSteps, count_steps


@pytest.mark.parametrize(
    ("epochs", "max_steps", "warmup_share", "expected"),
    [
        (3, None, 0.0, RunSteps(total=18, per_epoch=6, warmup=0)),
        (3, 100, 0.1, RunSteps(total=18, per_epoch=6, warmup=2)),
        (3, 10, 0.5, RunSteps(total=10, per_epoch=6, warmup=5)),
        (3, 0, 0.0, RunSteps(total=0, per_epoch=6, warmup=0)),
    ],
)
def test_epochs_or_the_given_number_whichever_is_less(epochs, max_steps, warmup_share, expected):
    settings = PretrainingSettings(
        output_dir=Path("out"), epochs=epochs, max_steps=max_steps, warmup_share=warmup_share
    )
    assert count_steps(settings, num_clips=50, clips_per_step=8) == expected


def test_clips_that_fill_no_step_are_refused():
    with pytest.raises(ValueError, match=r"7 clips do not fill a step of 8; lower --batch_size"):
        count_steps(PretrainingSettings(output_dir=Path("out")), 7, 8)
