"""What every model must survive: gradient checkpointing, training in two processes.

Each test leaves the largest difference that it saw in the report; `benchmarks/model_properties.py` makes a
table of them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.differences import gradient_differences
from support.every_model import EVERY_MODEL, loss_of
from torch import nn
from transformers import Trainer, TrainingArguments

from bsp_hf.encoder.modeling_bsp import BSPModel, BSPPreTrainedModel

every_model = pytest.mark.parametrize("name", EVERY_MODEL)


def test_every_class_of_models_is_tested():
    """But for trunks, which are encoders under another name."""

    def derived_from(base):
        return {base}.union(*map(derived_from, base.__subclasses__()))

    ours = {c for c in derived_from(BSPPreTrainedModel) if c.__module__.startswith("bsp_hf.encoder")}
    trunks = derived_from(BSPModel) - {BSPModel}
    tested = {name.partition("-")[0] for name in EVERY_MODEL}
    assert tested == {c.__name__ for c in ours - trunks - {BSPPreTrainedModel}}


@every_model
def test_misspelt_arguments_are_refused_by_name(name):
    model, inputs = EVERY_MODEL[name].build(), EVERY_MODEL[name].inputs(1)
    message = rf"{type(model).__name__} takes no argument label, output_hidden_state"
    with pytest.raises(TypeError, match=message):
        model(**inputs, output_hidden_state=True, label=torch.tensor([0]))


@every_model
def test_arguments_that_trainers_pass_to_every_model_are_taken(name):
    model, inputs = EVERY_MODEL[name].build(), EVERY_MODEL[name].inputs(2)
    generic = {"output_attentions": False, "num_items_in_batch": torch.tensor(2), "return_loss": True}
    with torch.no_grad():
        expected, output = loss_of(model(**inputs)), model(**inputs, **generic, use_cache=False)
    assert torch.equal(loss_of(output), expected)


def test_transformers_trainer_trains_and_evaluates(tmp_path):
    """With every column of the data set passed on; those that the model does not know it refuses."""
    kind = EVERY_MODEL["BSPForBoundaryClassification"]
    columns = kind.inputs(4)
    rows = [{key: value[k] for key, value in columns.items()} for k in range(4)]
    options = {"report_to": "none", "use_cpu": True, "remove_unused_columns": False}
    arguments = TrainingArguments(
        str(tmp_path), max_steps=1, per_device_train_batch_size=2, save_strategy="no", **options
    )
    trainer = Trainer(kind.build(), arguments, train_dataset=rows, eval_dataset=rows)
    assert trainer.train().training_loss > 0
    metrics = trainer.evaluate()
    with torch.no_grad():
        assert metrics["eval_loss"] == pytest.approx(trainer.model(**columns).loss.item(), abs=1e-5)
    trainer.train_dataset = [{**row, "video_id": torch.tensor(0)} for row in rows]
    with pytest.raises(TypeError, match="takes no argument video_id"):
        trainer.train()


@pytest.mark.parametrize(
    "name", [name for name in EVERY_MODEL if "Classification" in name or "Distill" in name]
)
def test_trainers_that_evaluate_see_the_logits_alone(name, tmp_path):
    kind = EVERY_MODEL[name]
    columns = {key: value for key, value in kind.inputs(3).items() if torch.is_tensor(value)}
    rows = [{key: value[k] for key, value in columns.items()} for k in range(3)]
    arguments = TrainingArguments(
        str(tmp_path), per_device_eval_batch_size=2, report_to="none", use_cpu=True, label_names=["labels"]
    )

    def count_hits(prediction):
        assert prediction.predictions.shape == (3, trainer.model.num_labels)
        return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}

    trainer = Trainer(kind.build(), arguments, eval_dataset=rows, compute_metrics=count_hits)
    with torch.no_grad():
        logits = trainer.model.eval()(**columns).logits
    accuracy = (logits.argmax(-1) == columns["labels"]).float().mean().item()
    assert trainer.evaluate()["eval_accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize("use_reentrant", [True, False])
@every_model
def test_checkpointing_recomputes_and_changes_neither_gradients_nor_statistics(
    name, use_reentrant, record_property
):
    kind, models = EVERY_MODEL[name], []
    for is_checkpointed in (False, True):
        model = kind.build().train()
        if is_checkpointed:
            # The name changed within the supported range of transformers.
            enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
            enable({"use_reentrant": use_reentrant})
        runs = []
        in_blocks = [m for part, m in model.base_model.named_modules() if "layer" in part]
        last = [m for m in in_blocks if isinstance(m, (nn.Linear, nn.Conv2d))][-1]
        last.register_forward_pre_hook(lambda *_: runs.append(1))  # noqa: B023
        loss_of(model(**kind.inputs(2))).backward()
        assert len(runs) == 1 + is_checkpointed
        models.append(model)
    plain, checkpointed = models
    difference = max(gradient_differences(checkpointed, plain).values())
    record_property("model", name)
    record_property("difference", difference)
    assert difference < 1e-5
    for (part, expected), actual in zip(plain.named_buffers(), checkpointed.buffers(), strict=True):
        assert torch.equal(actual, expected), part


@pytest.fixture(scope="module")
def two_process_losses(tmp_path_factory) -> dict[str, dict[str, list[float]]]:
    """`{model: {"one": losses, "two": losses}}` of three steps, of all models in one go."""
    report = tmp_path_factory.mktemp("two_processes") / "losses.json"
    script = Path(__file__).resolve().parents[1] / "support" / "two_processes.py"
    command = [sys.executable, str(script), str(report)]
    path = os.pathsep.join(filter(None, [str(script.parents[1]), os.environ.get("PYTHONPATH")]))
    finished = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    return json.loads(report.read_text())


@pytest.mark.slow
@every_model
def test_two_processes_have_the_losses_of_one(name, two_process_losses, record_property):
    one, two = two_process_losses[name]["one"], two_process_losses[name]["two"]
    assert len(one) == len(two) == 6 and len(set(one)) == 6
    difference = max(abs(a - b) / abs(a) for a, b in zip(one, two, strict=True))
    record_property("model", name)
    record_property("difference", difference)
    assert difference < 2e-5
