"""The clips of a run, as its settings ask for them."""

import pytest
import torch
from accelerate import Accelerator
from support.clip_folder import render_classes

from bsp_hf.pretraining.choices import TASKS
from bsp_hf.pretraining.pretexts import find_pretext
from bsp_hf.pretraining.run.settings import PRESETS, PretrainingSettings
from bsp_hf.pretraining.run.setup import RunData, build_run_data
from bsp_hf.training.command_line import parse_settings

LENGTHS = {"bend": (30, 24, 30, 24), "run": (26, 22, 30, 24)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return render_classes(tmp_path_factory.mktemp("clips"), LENGTHS, size=(48, 36))


def run_data(folder, output_dir, *words) -> RunData:
    words = ("--video_dir", folder, "--output_dir", output_dir, "--eval_fraction", "0.5", "--cpu", *words)
    settings = parse_settings(PretrainingSettings, list(map(str, words)), presets=PRESETS)
    return build_run_data(settings, find_pretext(settings.task), Accelerator(cpu=True))


@pytest.mark.parametrize("preset", ["demo", "small"])
@pytest.mark.parametrize("task", TASKS)
def test_the_presets_fit_every_task(task, preset, folder, tmp_path):
    data = run_data(folder, tmp_path, "--preset", preset, "--task", task)
    cases = list(range(data.train_clips.pretext.num_cases))
    # The small preset shows hard boundaries more often where the task has all four.
    assert data.train_clips.cases == (
        [0, 1, 2, 2, 2, 3, 3, 3] if (preset, len(cases)) == ("small", 4) else cases
    )


def test_repeats_that_do_not_fit_the_task_are_refused_where_they_were_asked_for(folder, tmp_path):
    with pytest.raises(ValueError, match=r"case_repeats=\[1, 2\] must give 4 counts"):
        run_data(folder, tmp_path, "--case_repeats", "1", "2")


def test_videos_of_a_batch_are_named(folder, tmp_path):
    data = run_data(folder, tmp_path, "--task", "diff-speed")
    data.train_clips.set_epoch(3)
    paths = [str(source.path) for source in data.train_clips.catalog.sources]
    indices = torch.tensor([2, 0, 2 + len(paths)])
    assert data.name_videos({"index": indices}) == [paths[2], paths[0]]


def test_what_must_stay_is_the_number_of_clips_and_the_videos(folder, tmp_path):
    described = run_data(folder, tmp_path).describe()
    assert described["num_clips"] == 16
    assert described == run_data(folder, tmp_path).describe()
    assert described["videos"] != run_data(folder, tmp_path, "--seed", "1").describe()["videos"]
