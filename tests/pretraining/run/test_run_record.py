"""What a run leaves beside the weights: pictures of the training, where they can be drawn."""

import json
import subprocess
import sys

import pytest

from bsp_hf.pretraining.run.record import save_training_pictures
from bsp_hf.version import install_command

HISTORY = [
    {"step": 1, "loss": 1.5, "learning_rate": 0.1},
    {"step": 2, "eval_accuracy": 0.5, "eval_confusion": [[1, 0], [1, 0]]},
]


@pytest.mark.parametrize(
    ("history", "label_names", "files"),
    [
        (HISTORY, ("a", "b"), ["confusion_matrix.png", "training_curves.png"]),
        (HISTORY[:1], (), ["training_curves.png"]),
        ([], ("a", "b"), []),
    ],
)
def test_pictures_are_those_of_what_was_logged(history, label_names, files, tmp_path):
    save_training_pictures(tmp_path, history, label_names)
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_without_matplotlib_a_training_ends_well_and_says_what_is_missing(tmp_path):
    code = (
        "import logging, sys; sys.modules['matplotlib'] = None; logging.basicConfig()\n"
        "from bsp_hf.pretraining.run.record import save_training_pictures\n"
        f"save_training_pictures({str(tmp_path)!r}, {json.dumps(HISTORY)}, ('a', 'b'))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert f"Pictures need matplotlib: {install_command('plot')}" in finished.stderr
    assert not list(tmp_path.iterdir())
