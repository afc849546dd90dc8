"""`examples/train_localizer.py`: every localizer trains, resumes to the bit, and writes what others read."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from support.made_videos import ENCODER, make_videos
from support.tiny_localizers import tiny_encoder, tiny_extractor

from bsp_hf import save_checkpoint_folder
from bsp_hf.localization.evaluation import evaluate_files
from bsp_hf.localization.evaluation_options import EvaluationOptions
from bsp_hf.publishing.cards.files import find_card_gaps
from bsp_hf.publishing.folder_check import check_folder

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "train_localizer.py"
TINY = {
    "gtad": {"num_steps": 32, "max_duration": 16, "hidden_dim": 32, "aligned_dim": 16, "map_dim": 16,
             "num_groups": 4},
    "tan": {"num_rows": 32, "num_clips": 8, "scale_layers": [8], "hidden_dim": 16, "text_hidden_dim": 16,
            "map_kernel_sizes": [3, 3], "map_paddings": [2, 0]},
    "lgi": {"num_rows": 32, "hidden_dim": 16, "word_dim": 8, "attention_dim": 8, "num_heads": 2},
    "actionness": {},
}  # fmt: skip
RESULTS = {
    "gtad": ("results.json", "detection", "average_map", {}),
    "tan": ("predictions.jsonl", "grounding", "recall@1,0.5", {"rule": "2d-tan"}),
    "lgi": ("predictions.jsonl", "grounding", "recall@1,0.5", {"rule": "lgi"}),
    "actionness": ("actionness.csv", "actionness", "pooled_ap", {}),
}
# Runs the script and dies by SIGKILL as soon as so many steps are done.
DIE_AT_STEP = """
import os, runpy, signal, sys
from bsp_hf.training.checkpoints import TrainingProgress

def set_or_die(progress, name, value):
    object.__setattr__(progress, name, value)
    if name == "steps_done" and value == 6:
        os.kill(os.getpid(), signal.SIGKILL)

TrainingProgress.__setattr__ = set_or_die
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_videos(tmp_path_factory.mktemp("made"))


def launcher(num_processes: int) -> list[str]:
    """What starts several processes on this machine's CPU."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [
        *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(num_processes)),
        *("--num_machines", "1", "--main_process_port", str(port)),
        *("--mixed_precision", "no", "--dynamo_backend", "no"),
    ]


def train(
    folder,
    localizer,
    output,
    *more,
    dies=False,
    code=0,
    num_processes=1,
    config=None,
    launch=(),
    **environment,
):
    extra = {
        "gtad": ["--class_scores", folder / "class_scores.json"],
        # A plateau as soon as there can be one, so that it acts in the few epochs of a test.
        "tan": ["--word_vectors", folder / "words.npz", "--plateau_factor", "0.5", "--plateau_patience", "0"],
        "actionness": ["--learning_rate", "0.05"],
    }
    words = [
        *([sys.executable, "-c", DIE_AT_STEP] if dies else [sys.executable]),
        *(launcher(num_processes) if num_processes > 1 else launch),
        *(EXAMPLE, "--localizer", localizer, "--output_dir", folder / output, "--cpu", "--epochs", "4"),
        *("--annotations", folder / "annotations.json", "--train_subset", "train", "--eval_subset", "test"),
        *("--features", folder / "features", "--batch_size", "4", "--save_every", "1"),
        *("--config", json.dumps(TINY[localizer] | (config or {})), *extra.get(localizer, []), *more),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment}
    finished = subprocess.run(
        [str(word) for word in words],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    said = finished.stdout + finished.stderr
    assert finished.returncode == (-signal.SIGKILL if dies else code), said[-3000:]
    return said


@pytest.mark.slow
@pytest.mark.parametrize("localizer", TINY)
def test_a_killed_run_goes_on_as_if_it_had_not_been(folder, localizer):
    said = train(folder, localizer, f"{localizer}-whole")
    assert "evaluated on 4 of 4 videos, 8 " in said
    train(folder, localizer, f"{localizer}-killed", dies=True)
    train(folder, localizer, f"{localizer}-killed")
    whole, killed = (folder / f"{localizer}-{name}" for name in ("whole", "killed"))
    assert json.loads((whole / "history.json").read_text()) == json.loads(
        (killed / "history.json").read_text()
    )
    weights = load_file(whole / "model.safetensors")
    again = load_file(killed / "model.safetensors")
    assert weights.keys() == again.keys()
    assert all((weights[name] == again[name]).all() for name in weights)
    name, task, metric, options = RESULTS[localizer]
    assert (whole / name).read_bytes() == (killed / name).read_bytes()
    # What was written gives, read back by the official protocol, what was reported.
    report = evaluate_files(
        whole / name, folder / "annotations.json", task, EvaluationOptions(subset="test", **options)
    )
    record = json.loads((whole / "training_record.json").read_text())
    assert report.metrics[metric] == pytest.approx(record["results"][metric])
    history = json.loads((whole / "history.json").read_text())
    if localizer == "tan":
        assert len({entry["learning_rate"] for entry in history if "loss" in entry}) > 1
        assert all(entry["eval_loss"] > 0 for entry in history if metric in entry)
    assert record["results"][metric] == max(entry[metric] for entry in history if metric in entry)
    assert json.loads((whole / "config.json").read_text())["encoder"] == ENCODER.to_dict()
    # The folder can be published as it is, but for what only its owner knows.
    found = check_folder(whole)
    assert not found.problems and {"history.json", name} <= set(found.left_out)
    card = (whole / "README.md").read_text()
    over = "8 of 8 queries" if localizer in ("tan", "lgi") else "8 segments"
    assert f"| annotations.json, test, 4 of 4 videos, {over} | {metric} |" in card
    assert {gap.partition("`")[2].partition("`")[0] for gap in find_card_gaps(card)} == {
        "license:", "## Training data", "## Licence",
    }  # fmt: skip


# What draws is left out, for it draws other numbers in another process.
DRAWS_NOTHING = {
    "gtad": {"regression_loss_weight": 0},
    "lgi": {"dropout": 0.0, "span_activation": "sigmoid"},
}


@pytest.mark.slow
@pytest.mark.parametrize("localizer", TINY)
def test_two_processes_train_and_evaluate_as_one(localizer, tmp_path):
    folder = make_videos(tmp_path, num_test=5)  # so that a batch of evaluation is filled up with repeats
    config = DRAWS_NOTHING.get(localizer)
    rate = ["--learning_rate", "0.01"]
    train(folder, localizer, "one", "--gradient_accumulation_steps", "2", *rate, config=config)
    train(folder, localizer, "two", *rate, num_processes=2, config=config)
    one, two = (json.loads((folder / name / "history.json").read_text()) for name in ("one", "two"))
    assert [entry.keys() for entry in one] == [entry.keys() for entry in two]
    worst = {"loss": 0.0, "metric": 0.0}
    for mine, other in zip(one, two, strict=True):
        for name in mine.keys() - {"step"}:
            kind = "loss" if name in ("loss", "learning_rate") else "metric"
            worst[kind] = max(worst[kind], abs(mine[name] - other[name]))
    print(f"\n{localizer}: losses differ by {worst['loss']:.1e}, metrics by {worst['metric']:.1e} at most")
    metrics = [mine[name] for mine in one for name in mine if name not in ("step", "loss", "learning_rate")]
    assert len({value for value in metrics if value > 0}) > 2  # there is something to compare
    assert worst["loss"] < 2e-6
    if localizer == "lgi":  # the running statistics of its batch norms are those of one process
        assert all(
            abs(mine["mean_iou"] - other["mean_iou"]) < 0.01
            for mine, other in zip(one, two, strict=True)
            if "mean_iou" in mine
        )
    else:
        assert worst["metric"] < 1e-6
    for name in ("one", "two"):
        record = json.loads((folder / name / "training_record.json").read_text())
        assert record["evaluated"].startswith("5 of 5 videos, 10 ")
        assert record["hardware"]["processes"] == (2 if name == "two" else 1)
    lines = [len((folder / run / RESULTS[localizer][0]).read_text().splitlines()) for run in ("one", "two")]
    assert lines[0] == lines[1]


@pytest.mark.slow
def test_linear_actionness_learns_what_is_there(folder):
    train(folder, "actionness", "learned", "--epochs", "60", "--eval_every", "20", "--learning_rate", "0.1")
    record = json.loads((folder / "learned" / "training_record.json").read_text())
    assert record["results"]["pooled_ap"] > 0.9 > 2 * record["results"]["positive_share"] - 0.1


@pytest.mark.slow
def test_an_encoder_that_did_not_make_the_features_is_refused_before_the_training(folder, tmp_path):
    other = save_checkpoint_folder(tiny_encoder(), tiny_extractor(), tmp_path / "other")
    said = train(folder, "actionness", "other", "--encoder", other, code=2)
    line = said.strip().splitlines()[-1]
    assert line.startswith("error: the localizer was trained on features of made") and "epoch 1" not in said


@pytest.mark.slow
def test_errors_are_one_line(folder):
    said = train(folder, "gtad", "never", "--eval_subset", "val", code=2)
    assert said.strip().splitlines()[-1].startswith("error: no video is in subset 'val'")


def weights_of(folder, output):
    return (folder / output / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_training_stops_at_the_first_number_that_is_not_finite(folder):
    said = train(folder, "tan", "nan", "--learning_rate", "1e30", code=2)
    line = said.strip().splitlines()[-1]
    assert re.search(r"error: (loss|gradient norm) is (nan|inf) at step \d+", line), said[-500:]
    assert "Traceback" not in said and not (folder / "nan" / "model.safetensors").exists()


@pytest.mark.slow
def test_a_finished_run_goes_on_longer_and_elsewhere_and_is_not_replaced_by_a_shorter_one(folder, tmp_path):
    train(folder, "actionness", "long", "--epochs", "6")
    train(folder, "actionness", "grown")
    moved = shutil.copytree(folder / "features", tmp_path / "moved")
    said = train(folder, "actionness", "grown", "--epochs", "6", "--features", moved)
    assert "resumed from" in said and "step-00000008" in said
    assert weights_of(folder, "grown") == weights_of(folder, "long")
    relative = ["--features", "features", "--annotations", "annotations.json"]
    train(folder, "actionness", "grown", "--epochs", "6", *relative)
    before = weights_of(folder, "grown")
    said = train(folder, "actionness", "grown", "--epochs", "2", code=2)
    assert "has 12 steps, more than the 4 asked for" in said and "Traceback" not in said
    assert weights_of(folder, "grown") == before
    newest = sorted((folder / "grown" / "checkpoints").glob("step-*"))[-1] / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:100])
    said = train(folder, "actionness", "grown", "--epochs", "6")
    assert f"{newest.parent.name} is damaged" in said and weights_of(folder, "grown") == before


@pytest.mark.slow
def test_what_accelerate_says_holds_and_the_record_is_of_what_was_done(folder):
    launch = (
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "1",
        "--mixed_precision",
        "bf16",
    )
    train(folder, "lgi", "half", launch=launch)
    train(folder, "lgi", "plain")
    assert weights_of(folder, "half") != weights_of(folder, "plain")
    records = [json.loads((folder / name / "training_record.json").read_text()) for name in ("half", "plain")]
    assert [record["arguments"]["mixed_precision"] for record in records] == ["bf16", "no"]
    assert "--mixed_precision bf16" in records[0]["command"]
    said = train(folder, "lgi", "refused", "--mixed_precision", "fp16", code=2)
    assert said.strip().splitlines()[-1].startswith("error: mixed_precision fp16 needs a GPU")
    two = ("--batch_size", "2", "--gradient_accumulation_steps", "2")
    train(folder, "actionness", "two", *two)
    train(folder, "actionness", "also", *two, ACCELERATE_GRADIENT_ACCUMULATION_STEPS="1")
    train(folder, "actionness", "said", *two[:2], ACCELERATE_GRADIENT_ACCUMULATION_STEPS="2")
    assert weights_of(folder, "two") == weights_of(folder, "also") == weights_of(folder, "said")


@pytest.mark.slow
def test_what_another_localizer_left_is_no_part_of_the_new_one(folder):
    train(folder, "gtad", "shared")
    said = train(folder, "actionness", "shared", code=2)
    assert "localizer was 'gtad', is 'actionness'" in said and "Traceback" not in said
    train(folder, "actionness", "shared", "--restart")
    assert (folder / "shared" / "actionness.csv").is_file()
    assert not (folder / "shared" / "results.json").exists()
    (folder / "file").write_text("a file")
    said = train(folder, "gtad", "file", code=2)
    assert "--output_dir: " in said and "is a file" in said and "epoch 1" not in said
