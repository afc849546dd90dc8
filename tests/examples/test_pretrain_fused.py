"""`examples/pretrain_fused.py` end to end: every fusion, resumed to the bit, teachers kept in a store."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_pretrain import (
    DIE_AT_BATCH,
    history,
    options,
    pretrain,
    run,
    train_in_one_and_two_processes,
    weights,
    workplace,  # noqa: F401
)
from transformers import AutoModel, AutoModelForVideoClassification

from bsp_hf.encoder.provenance import identify_weights

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "pretrain_fused.py"


@pytest.fixture(scope="module")
def teachers(workplace) -> dict[str, Path]:  # noqa: F811
    for task in ("action", "boundary"):
        pretrain(workplace, task, task=task)
    return {f"{task}_teacher": workplace / task for task in ("action", "boundary")}


def fuse(workplace, output, expected_code=0, **changes):  # noqa: F811
    return run([sys.executable, str(EXAMPLE), *options(workplace, output, **changes)], expected_code)


def test_two_streams_give_the_features_of_both_encoders(workplace, teachers):  # noqa: F811
    fuse(workplace, "streams", fusion="two-stream", **teachers)
    fused = AutoModel.from_pretrained(workplace / "streams")
    clips = torch.randn(1, 8, 3, 32, 32)
    with torch.no_grad():
        alone = [AutoModel.from_pretrained(folder)(clips).pooler_output for folder in teachers.values()]
        assert torch.equal(fused(clips).pooler_output, torch.cat(alone, -1))
    assert [record["id"] for record in fused.config.stream_records] == ["action", "boundary"]


def test_two_heads_learn_both_labels(workplace):  # noqa: F811
    fuse(workplace, "heads", fusion="two-head", action_weight=0.5)
    last = history(workplace, "heads")[-1]
    assert last["eval_num_clips"] == 80 and 0 <= last["eval_action_accuracy"] <= 1
    model = AutoModelForVideoClassification.from_pretrained(workplace / "heads")
    assert model.config.action_loss_weight == 0.5
    assert (model.classifier.out_features, model.action_classifier.out_features) == (4, 10)


LONG = {"batch_size": 8, "max_steps": 14, "save_every": 4, "eval_every": 14}


@pytest.mark.parametrize("fusion", ["two-head", "distillation"])
def test_killed_run_goes_on_to_the_same_bits(fusion, workplace, teachers):  # noqa: F811
    settings = {"fusion": fusion, **LONG, **(teachers if fusion == "distillation" else {})}
    fuse(workplace, f"{fusion}-whole", **settings)
    code = DIE_AT_BATCH.format(batches_per_epoch=10, batch=11)
    command = [sys.executable, "-c", code, str(EXAMPLE), *options(workplace, f"{fusion}-cut", **settings)]
    run(command, expected_code=-9)
    assert "step-00000008" in fuse(workplace, f"{fusion}-cut", **settings)
    assert history(workplace, f"{fusion}-cut") == history(workplace, f"{fusion}-whole")
    assert weights(workplace, f"{fusion}-cut") == weights(workplace, f"{fusion}-whole")


@pytest.mark.parametrize("fusion", ["two-head", "distillation"])
def test_two_processes_train_like_two_accumulated_batches(fusion, workplace, teachers, record_property):  # noqa: F811
    settings = {"fusion": fusion, **(teachers if fusion == "distillation" else {})}
    difference = train_in_one_and_two_processes(EXAMPLE, workplace, f"{fusion}-twice", **settings)
    record_property("model", f"examples/pretrain_fused.py --fusion {fusion}")
    record_property("difference", difference)
    assert difference < 2e-5


def test_stored_features_train_like_those_on_the_fly(workplace, teachers):  # noqa: F811
    """Within the first epoch both see the same clips; with the store, the teachers are not needed again."""
    settings = {"fusion": "distillation", "max_steps": 3, "batch_size": 8}
    fuse(workplace, "on-the-fly", **settings, **teachers)
    store = workplace / "teacher-features"
    said = fuse(workplace, "stored", **settings, **teachers, teacher_features=store)
    assert "features of 80 clips" in said
    written = (store / "training" / "action.npy").stat().st_mtime_ns
    fuse(workplace, "read-back", **settings, teacher_features=store)
    assert (store / "training" / "action.npy").stat().st_mtime_ns == written
    assert weights(workplace, "read-back") == weights(workplace, "stored")
    losses = [[e["loss"] for e in history(workplace, o) if "loss" in e] for o in ("on-the-fly", "stored")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert np.load(store / "training" / "action.npy").shape == (80, 64)

    said = fuse(workplace, "other-seed", expected_code=2, **settings, seed=1, teacher_features=store)
    assert "features of other clips" in said


def test_student_is_saved_without_its_teachers_and_names_them(workplace, teachers):  # noqa: F811
    fuse(workplace, "student", fusion="distillation", **teachers)
    student = AutoModelForVideoClassification.from_pretrained(workplace / "student")
    names = set(student.state_dict())
    assert {name.split(".")[0] for name in names} == {
        "bsp",
        "classifier",
        "action_projection",
        "boundary_projection",
    }
    for name in ("action", "boundary"):
        teacher = AutoModel.from_pretrained(teachers[f"{name}_teacher"])
        assert student.config.teacher_records[name] == identify_weights(teacher)
    record = json.loads((workplace / "student" / "training_record.json").read_text())
    assert record["fusion"] == "distillation" and record["teachers"]["action"]["id"] == "action"
    last = history(workplace, "student")[-1]
    assert last["eval_action_feature_loss"] > 0 and last["eval_boundary_feature_loss"] > 0


def test_fusions_without_their_encoders_are_refused(workplace):  # noqa: F811
    for fusion in ("two-stream", "distillation"):
        command = [sys.executable, str(EXAMPLE), "--fusion", fusion, "--output_dir", str(workplace / "none")]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        assert finished.returncode == 2
        assert "needs --action_teacher and --boundary_teacher" in finished.stderr
