"""`examples/pretrain.py` end to end: it finishes, resumes to the bit, and counts processes like batches."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from bsp_hf import SynthesisConfig
from bsp_hf.pretraining.choices import TASKS
from bsp_hf.pretraining.drawing.presets import SYNTHESIS_PRESETS
from bsp_hf.pretraining.rendering.clips import render_action_clips

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "pretrain.py"

# Runs a script and dies by SIGKILL as soon as so many batches are done.
DIE_AT_BATCH = """
import os, runpy, signal, sys
from bsp_hf.training.checkpoints import TrainingProgress

def set_or_die(progress, name, value):
    object.__setattr__(progress, name, value)
    # Counted over all epochs, of which each has {batches_per_epoch}.
    done = progress.__dict__.get("epoch", 0) * {batches_per_epoch} + progress.__dict__.get("batches_done", 0)
    if name == "batches_done" and done == {batch}:
        os.kill(os.getpid(), signal.SIGKILL)

TrainingProgress.__setattr__ = set_or_die
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A folder with tiny clips: ten classes, two training and two held-out clips each."""
    folder = tmp_path_factory.mktemp("pretrain")
    render_action_clips(
        folder / "clips",
        num_clips_per_class=2,
        num_held_out_per_class=2,
        width=48,
        height=36,
        min_duration_s=0.6,
        max_duration_s=0.9,
    )
    return folder


def options(workplace: Path, output: str, **changes) -> list[str]:
    """A narrow ResNet-18 on 32-pixel clips, as command-line options."""
    settings = {
        "video_dir": workplace / "clips",
        "frame_cache": workplace / "frames",
        "output_dir": workplace / output,
        "backbone": "resnet18",
        "width_multiplier": 0.125,
        "short_side": 32,
        "crop_size": 32,
        "batch_size": 4,
        "max_steps": 2,
        "epochs": 100,
        "mixed_precision": "no",
        "cpu": True,
    } | changes
    words = []
    for name, value in settings.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words


def run(command: list[str], expected_code: int = 0) -> str:
    """Run a command and return what it said; one that does not end shows where each process is."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    environment["PYTHONFAULTHANDLER"] = "1"
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        launcher = psutil.Process(process.pid)
        for part in (*launcher.children(recursive=True), launcher):
            with suppress(psutil.NoSuchProcess):
                part.send_signal(signal.SIGABRT)
        said, _ = process.communicate()
        pytest.fail(f"did not end in ten minutes\n{said[-12000:]}")
    assert process.returncode == expected_code, said[-4000:]
    return said


def pretrain(workplace: Path, output: str, expected_code: int = 0, **changes) -> str:
    command = [sys.executable, str(EXAMPLE), *options(workplace, output, **changes)]
    return run(command, expected_code)


def launch(*script: str, num_processes: int = 2) -> list[str]:
    """A command that starts several processes on this machine's CPU."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # "--cpu" here would start a single process; the script's own option keeps each off the GPU.
    return [
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"),
        *("--num_processes", str(num_processes), "--num_machines", "1", "--main_process_port", str(port)),
        *("--mixed_precision", "no", "--dynamo_backend", "no", *script),
    ]


def history(workplace: Path, output: str) -> list[dict]:
    """What a run has logged, but for its speed."""
    record = json.loads((workplace / output / "training_record.json").read_text())
    return [
        {name: value for name, value in entry.items() if name != "clips_per_s"} for entry in record["history"]
    ]


def losses(workplace: Path, output: str) -> list[float]:
    return [entry["loss"] for entry in history(workplace, output) if "loss" in entry]


def weights(workplace: Path, output: str) -> bytes:
    return (workplace / output / "model.safetensors").read_bytes()


def test_two_steps_make_a_folder_that_auto_classes_read(workplace):
    from transformers import AutoModel, AutoModelForVideoClassification

    said = pretrain(workplace, "smoke", eval_every=2)
    assert "held-out: 20 sources" in said and "step 2/2: loss" in said
    entries = history(workplace, "smoke")
    assert [entry["step"] for entry in entries] == [1, 2, 2]
    assert entries[-1]["eval_num_clips"] == 80
    encoder = AutoModel.from_pretrained(workplace / "smoke")
    classifier = AutoModelForVideoClassification.from_pretrained(workplace / "smoke")
    assert encoder.config.hidden_size == 64
    assert list(classifier.config.id2label.values()) == [
        "diff-class",
        "same-class",
        "diff-speed",
        "same-speed",
    ]
    record = json.loads((workplace / "smoke" / "training_record.json").read_text())
    assert record["num_sources"] == {"training": 20, "held_out": 20} and record["clips_seen"] == 8
    assert record["clips_replaced"] == 0
    assert "examples/pretrain.py" in record["command"] and record["time"]["wall_s"] > 0
    assert record["encoder"]["feature_dim"] == 64 and record["hardware"]["device"] == "cpu"
    card = (workplace / "smoke" / "README.md").read_text()
    assert "| 80 clips out of 20 held-out videos | accuracy |" in card


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_every_task_runs(workplace, task):
    from transformers import AutoModel, AutoModelForVideoClassification

    pretrain(workplace, task, task=task)
    assert len(losses(workplace, task)) == 2
    assert AutoModel.from_pretrained(workplace / task).config.hidden_size == 64
    if not task.startswith("regression"):
        classifier = AutoModelForVideoClassification.from_pretrained(workplace / task)
        assert classifier.classifier.out_features == len(classifier.config.id2label)


@pytest.mark.slow
def test_every_preset_of_the_synthesis_trains_and_is_recorded(workplace):
    for name in ("figure", "text", "robust"):
        pretrain(workplace, f"preset-{name}", synthesis=name, ramp_epochs=1.5)
        record = json.loads((workplace / f"preset-{name}" / "training_record.json").read_text())
        expected = replace(SYNTHESIS_PRESETS[name], action_sampling="segments", ramp_epochs=1.5)
        assert SynthesisConfig.from_dict(record["synthesis"]) == expected


@pytest.mark.slow
def test_several_test_clips_of_a_video_count_once(workplace):
    said = {}
    for place in ("center", "twice"):
        pretrain(workplace, f"action-{place}", task="action", eval_segment_place=place)
        said[place] = history(workplace, f"action-{place}")[-1]
    assert said["twice"]["eval_num_clips"] == said["center"]["eval_num_clips"] == 20
    assert said["twice"]["eval_loss"] != said["center"]["eval_loss"]


@pytest.mark.slow
def test_a_task_of_ones_own_trains(workplace):
    from transformers import AutoModelForVideoClassification

    pretrain(workplace, "own-task", task=f"{EXAMPLE.with_name('clip_order.py')}:ClipOrder", num_workers=1)
    classifier = AutoModelForVideoClassification.from_pretrained(workplace / "own-task")
    assert list(classifier.config.id2label.values()) == ["123", "132", "213", "231", "312", "321"]
    assert json.loads((workplace / "own-task" / "training_record.json").read_text())["task"].endswith(
        "ClipOrder"
    )


@pytest.mark.slow
def test_no_step_saves_the_encoder_as_it_starts(workplace):
    """The baseline of random initialisation; two runs with one seed start alike."""
    from transformers import AutoModel

    pretrain(workplace, "random", max_steps=0)
    pretrain(workplace, "random-again", max_steps=0)
    assert weights(workplace, "random") == weights(workplace, "random-again")
    assert AutoModel.from_pretrained(workplace / "random").config.hidden_size == 64
    assert history(workplace, "random") == []


@pytest.mark.slow
@pytest.mark.parametrize(("task", "start"), [("boundary", "backbone"), ("regression", "init_from")])
def test_a_video_model_is_pretrained_as_it_is(workplace, task, start):
    """From its config alone, or from its weights."""
    from transformers import AutoModel, VideoMAEConfig, VideoMAEModel

    layers = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = VideoMAEModel(VideoMAEConfig(image_size=32, num_frames=8, **layers))
    model.save_pretrained(workplace / "a-videomae")
    output = f"videomae-{task}"
    options = {start: workplace / "a-videomae", "task": task, "gradient_checkpointing": True}
    pretrain(workplace, output, learning_rate=1e-9, **options)
    encoder = AutoModel.from_pretrained(workplace / output)
    assert encoder.config.backbone_config.model_type == "videomae" and encoder.config.shift_place == "none"
    assert len(losses(workplace, output)) == 2
    change = (
        encoder.backbone.encoder.layer[0].output.dense.weight - model.encoder.layer[0].output.dense.weight
    )
    assert (change.abs().max() < 1e-6) == (start == "init_from")


@pytest.fixture(scope="module")
def image_network(workplace) -> Path:
    """Folder of a narrow EfficientNet-Lite, as a converted one lies there: with its preprocessing."""
    import torch

    from bsp_hf import (
        BSPConfig,
        BSPFeatureExtractor,
        BSPModel,
        EfficientNetLiteConfig,
        save_checkpoint_folder,
    )

    torch.manual_seed(0)
    backbone = EfficientNetLiteConfig(
        stem_size=8,
        hidden_sizes=[8, 16, 24],
        depths=[1, 2, 3],
        kernel_sizes=[3, 3, 5],
        strides=[1, 2, 2],
        expand_ratios=[1, 2, 2],
        feature_size=32,
    )
    extractor = BSPFeatureExtractor(image_mean=[127 / 255] * 3, image_std=[128 / 255] * 3)
    model = BSPModel(BSPConfig(backbone_config=backbone, shift_place="none"))
    return save_checkpoint_folder(model, extractor, workplace / "an-image-network")


def test_an_image_network_is_pretrained_without_forgetting_what_it_knew(workplace, image_network):
    """The last blocks shift, the first are kept, the others learn slowly, and features are held."""
    from transformers import AutoFeatureExtractor, AutoModel

    settings = {
        "init_from": image_network,
        "frozen_blocks": 3,
        "backbone_lr_scale": 0.5,
        "start_features_weight": 0.1,
        "gradient_checkpointing": True,
        "max_steps": 4,
        "learning_rate": 0.05,
        "save_every": 2,
    }
    blocks = ["--shift_blocks", "4", "5"]
    output = options(workplace, "kept", **settings)
    run([sys.executable, str(EXAMPLE), *output, *blocks])
    entries = [entry for entry in history(workplace, "kept") if "loss" in entry]
    assert all(entry["start_feature_loss"] > 0 for entry in entries)
    # The rate that is logged is the backbone's.
    assert entries[0]["learning_rate"] == pytest.approx(0.5 * 0.05)
    encoder = AutoModel.from_pretrained(workplace / "kept")
    assert encoder.config.shift_blocks == [4, 5] and encoder.config.shift_place == "blockres"
    start = AutoModel.from_pretrained(image_network).state_dict()
    for name, value in encoder.state_dict().items():
        is_kept = name.startswith(("backbone.stem", "backbone.stages.0", "backbone.stages.1"))
        if is_kept or value.ndim == 4:
            assert value.equal(start[name]) == is_kept, name
    assert AutoFeatureExtractor.from_pretrained(workplace / "kept").image_mean == [127 / 255] * 3

    code = DIE_AT_BATCH.format(batches_per_epoch=20, batch=3)
    output = options(workplace, "kept-killed", **settings)
    run([sys.executable, "-c", code, str(EXAMPLE), *output, *blocks], expected_code=-9)
    assert "step-00000002" in run([sys.executable, str(EXAMPLE), *output, *blocks])
    assert weights(workplace, "kept-killed") == weights(workplace, "kept")
    assert history(workplace, "kept-killed") == history(workplace, "kept")


@pytest.mark.slow
@pytest.mark.parametrize("error", ["cosine", "mse"])
def test_two_processes_hold_features_like_two_accumulated_batches(workplace, image_network, error):
    settings = {"init_from": image_network, "frozen_blocks": 1, "start_features_weight": 1.0}
    settings |= {"start_features_error": error, "backbone_lr_scale": 0.5}
    name = f"held-{error}"
    assert train_in_one_and_two_processes(EXAMPLE, workplace, name, **settings) < 2e-5
    one, two = (
        [entry["start_feature_loss"] for entry in history(workplace, f"{name}-{many}") if "loss" in entry]
        for many in ("one", "two")
    )
    assert one == pytest.approx(two, rel=2e-5)


# 80 clips, 16 a step: an epoch has 5 steps of 2 batches.
LONG = {
    "batch_size": 8,
    "gradient_accumulation_steps": 2,
    "max_steps": 42,
    "eval_every": 14,
    "learning_rate": 0.02,
}


@pytest.fixture(scope="module")
def uninterrupted(workplace) -> str:
    """The run that all others must equal: losses are logged every second step, dropout is 0.5."""
    pretrain(workplace, "uninterrupted", save_every=5, **LONG)
    assert len(losses(workplace, "uninterrupted")) > 21
    return "uninterrupted"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_workers", "batch", "last_checkpoint"),
    [
        # In the middle of step 29; checkpoints lie at the end of an epoch.
        (0, 57, "step-00000025"),
        (2, 57, "step-00000025"),
        # In the middle of the very first step after a checkpoint.
        (2, 31, "step-00000015"),
    ],
)
def test_killed_run_goes_on_to_the_same_bits(workplace, uninterrupted, num_workers, batch, last_checkpoint):
    output = f"killed-{num_workers}-{batch}"
    settings = {"num_workers": num_workers, "save_every": 5, **LONG}
    code = DIE_AT_BATCH.format(batches_per_epoch=10, batch=batch)
    command = [sys.executable, "-c", code, str(EXAMPLE), *options(workplace, output, **settings)]
    run(command, expected_code=-9)
    assert sorted(path.name for path in (workplace / output / "checkpoints").iterdir())[-1] == last_checkpoint
    assert not (workplace / output / "model.safetensors").exists()

    assert f"resumed from {workplace / output / 'checkpoints' / last_checkpoint}" in pretrain(
        workplace, output, **settings
    )
    assert history(workplace, output) == history(workplace, uninterrupted)
    assert weights(workplace, output) == weights(workplace, uninterrupted)


@pytest.mark.slow
def test_checkpoints_inside_an_epoch_resume_to_the_same_bits(workplace, uninterrupted):
    """Saving at other steps changes no weight, and batches of the running epoch are skipped exactly."""
    settings = {"save_every": 8, **LONG}
    code = DIE_AT_BATCH.format(batches_per_epoch=10, batch=35)
    run(
        [sys.executable, "-c", code, str(EXAMPLE), *options(workplace, "inside", **settings)],
        expected_code=-9,
    )
    assert "step-00000016" in pretrain(workplace, "inside", num_workers=2, **settings)
    assert weights(workplace, "inside") == weights(workplace, uninterrupted)


@pytest.mark.slow
def test_a_moving_average_is_saved_and_resumes_to_the_same_bits(workplace):
    settings = {"max_steps": 9, "save_every": 4, "eval_every": 9, "ema_decay": 0.9}
    pretrain(workplace, "average", **settings)
    code = DIE_AT_BATCH.format(batches_per_epoch=1000, batch=6)
    command = [sys.executable, "-c", code, str(EXAMPLE), *options(workplace, "average-killed", **settings)]
    run(command, expected_code=-9)
    assert "resumed from" in pretrain(workplace, "average-killed", **settings)
    assert history(workplace, "average-killed") == history(workplace, "average")
    assert weights(workplace, "average-killed") == weights(workplace, "average")
    pretrain(workplace, "no-average", **{**settings, "ema_decay": 0.0})
    assert losses(workplace, "no-average") == losses(workplace, "average")
    assert weights(workplace, "no-average") != weights(workplace, "average")


@pytest.mark.slow
def test_a_compiled_training_resumes_to_the_same_bits_and_saves_the_names_of_a_plain_one(
    workplace, monkeypatch
):
    settings = {"dropout": 0.0, "max_steps": 4, "save_every": 2, "eval_every": 4}
    pretrain(workplace, "plain", **settings)
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "AOT_EAGER")  # accelerate launch --dynamo_backend
    pretrain(workplace, "compiled", **settings)
    code = DIE_AT_BATCH.format(batches_per_epoch=1000, batch=3)
    command = [sys.executable, "-c", code, str(EXAMPLE), *options(workplace, "compiled-killed", **settings)]
    run(command, expected_code=-9)
    assert "resumed from" in pretrain(workplace, "compiled-killed", **settings)
    assert history(workplace, "compiled-killed") == history(workplace, "compiled")
    assert weights(workplace, "compiled-killed") == weights(workplace, "compiled")
    plain, compiled = (load_file(workplace / name / "model.safetensors") for name in ("plain", "compiled"))
    assert plain.keys() == compiled.keys()
    assert losses(workplace, "compiled") == pytest.approx(losses(workplace, "plain"), rel=1e-4)


TWICE = {"dropout": 0.0, "max_steps": 12, "save_every": 5, "eval_every": 6, "learning_rate": 0.02}


def train_in_one_and_two_processes(example: Path, workplace: Path, name: str, **settings) -> float:
    """Run both as `NAME-one` and `NAME-two`; return the largest relative difference of their losses."""
    both = {**TWICE, **settings}
    one = options(workplace, f"{name}-one", gradient_accumulation_steps=2, **both)
    run([sys.executable, str(example), *one])
    run(launch(str(example), *options(workplace, f"{name}-two", **both)))
    one, two = losses(workplace, f"{name}-one"), losses(workplace, f"{name}-two")
    assert len(one) == len(two) == 12
    return max(abs(a - b) / abs(a) for a, b in zip(one, two, strict=True))


@pytest.mark.slow
def test_two_processes_regress_like_two_accumulated_batches(workplace, record_property):
    difference = train_in_one_and_two_processes(EXAMPLE, workplace, "regressed", task="regression")
    record_property("model", "examples/pretrain.py --task regression")
    record_property("difference", difference)
    assert difference < 2e-5


@pytest.mark.slow
def test_two_processes_train_like_two_accumulated_batches(workplace, record_property):
    difference = train_in_one_and_two_processes(EXAMPLE, workplace, "classified")
    record_property("model", "examples/pretrain.py")
    record_property("difference", difference)
    assert difference < 2e-5
    # Batch norms keep the statistics of the first process's half, so only what is trained is compared.
    first = load_file(workplace / "classified-one" / "model.safetensors")
    second = load_file(workplace / "classified-two" / "model.safetensors")
    assert first.keys() == second.keys()
    for name in first:
        if "running" not in name and "num_batches" not in name:
            assert (first[name] - second[name]).abs().max() < 2e-5, name

    code = DIE_AT_BATCH.format(batches_per_epoch=10, batch=8)
    killer = workplace / "die_at_batch.py"
    killer.write_text(code)
    script = [str(EXAMPLE), *options(workplace, "two-killed", **TWICE)]
    run(launch(str(killer), *script), expected_code=1)
    assert "step-00000005" in run(launch(*script))
    assert history(workplace, "two-killed") == history(workplace, "classified-two")
    assert weights(workplace, "two-killed") == weights(workplace, "classified-two")

    said = pretrain(workplace, "two-killed", expected_code=2, **TWICE)
    assert "was written by 2 processes, this run has 1" in said


@pytest.mark.slow
def test_checkpoints_of_another_run_are_refused_until_it_starts_over(workplace):
    settings = {"max_steps": 4, "save_every": 3}
    pretrain(workplace, "changed", **settings)
    said = pretrain(workplace, "changed", expected_code=2, seed=1, **settings)
    assert "belongs to a run with other settings (seed was 0, is 1)" in said
    said = pretrain(workplace, "changed", seed=1, restart=True, **settings)
    assert "resumed" not in said and "step 1/4" in said
    assert "resumed" in pretrain(workplace, "changed", seed=1, **settings)


@pytest.mark.slow
def test_other_clips_of_the_same_number_are_refused_and_a_moved_folder_is_not(workplace):
    settings = {"max_steps": 4, "save_every": 3}
    folder = shutil.copytree(workplace / "clips", workplace / "copied")
    pretrain(workplace, "other-clips", video_dir=folder, **settings)
    moved = folder.rename(workplace / "moved")
    assert "resumed" in pretrain(workplace, "other-clips", video_dir=moved, **settings)
    clip, other = sorted((moved / "train").rglob("*.mp4"))[:2]
    shutil.copyfile(other, clip)
    said = pretrain(workplace, "other-clips", expected_code=2, video_dir=moved, **settings)
    assert "belongs to a run with other settings (videos was" in said


@pytest.mark.slow
def test_training_stops_at_a_number_that_is_not_finite_and_writes_no_encoder(workplace):
    settings = {"max_steps": 9, "save_every": 1, "learning_rate": 1e18, "max_grad_norm": 1e30, "dropout": 0.0}
    said = pretrain(workplace, "diverged", expected_code=2, **settings)
    found = re.search(r"error: (loss|gradient norm) is (nan|inf) at step (\d)(, of .*\.mp4)?", said)
    assert found and "Lower --learning_rate" in said and "Traceback" not in said
    output = workplace / "diverged"
    assert not (output / "model.safetensors").exists() and not (output / "README.md").exists()
    for checkpoint in (output / "checkpoints").iterdir():
        assert int(checkpoint.name[5:]) < int(found[3])
        for name, value in load_file(checkpoint / "model.safetensors").items():
            assert value.isfinite().all(), name


@pytest.mark.slow
def test_fewer_steps_never_replace_a_finished_encoder_and_may_end_at_a_checkpoint(workplace):
    settings = {"save_every": 2, "eval_every": 100}
    pretrain(workplace, "fewer", max_steps=5, **settings)
    finished = weights(workplace, "fewer")
    said = pretrain(workplace, "fewer", expected_code=2, max_steps=4, **settings)
    assert "holds an encoder of 5 steps, more than the 4 asked for" in said and "Traceback" not in said
    assert weights(workplace, "fewer") == finished
    (workplace / "fewer" / "model.safetensors").unlink()
    said = pretrain(workplace, "fewer", expected_code=2, max_steps=3, **settings)
    assert "step-00000004 has 4 steps, more than the 3 asked for" in said
    assert "resumed" in pretrain(workplace, "fewer", max_steps=4, **settings)
    assert [entry["step"] for entry in history(workplace, "fewer") if "eval_loss" in entry] == [4]
    assert weights(workplace, "fewer") != finished
    pretrain(workplace, "fewer", max_steps=5, **settings)
    assert weights(workplace, "fewer") == finished
