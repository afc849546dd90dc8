"""Export to ONNX: same numbers for any batch, the record inside the file, errors before a file is written."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from support.every_model import EVERY_MODEL, one_encoder
from support.tiny import random_clips, randomize, tiny_backbone, tiny_config, tiny_extractor
from transformers import AutoModel
from typer.testing import CliRunner

from bsp_hf import (
    BSPForBoundaryClassification,
    BSPForBoundaryRegression,
    BSPModel,
    BSPTwoStreamModel,
    save_checkpoint_folder,
)
from bsp_hf.cli.application import app
from bsp_hf.encoder.provenance import describe_encoder
from bsp_hf.publishing import onnx as exporter
from bsp_hf.publishing.onnx import export_onnx, load_with_head, read_onnx_metadata

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")


def run(path, clips):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"pixel_values": clips.numpy()}), strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = randomize(BSPForBoundaryClassification(tiny_config())).eval()
    return save_checkpoint_folder(model, tiny_extractor(), tmp_path_factory.mktemp("x") / "bsp-tiny")


@pytest.fixture(scope="module")
def exported(folder):
    """The file, by the command."""
    path = folder.parent / "bsp-tiny.onnx"
    result = CliRunner().invoke(app, ["onnx", str(folder), str(path)])
    assert result.exit_code == 0, result.output
    assert "pixel_values (batch, 8, 3, 32, 32)" in result.output and "logits" in result.output
    return path


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 5])
def test_any_batch_gives_the_features_and_logits_of_the_model(folder, exported, batch_size):
    clips = random_clips(batch_size, 8, 3, 32, 32, seed=batch_size)
    model = BSPForBoundaryClassification.from_pretrained(folder)
    found = run(exported, clips)
    assert list(found) == ["last_hidden_state", "pooler_output", "logits"]
    with torch.no_grad():
        features, logits = model.bsp(clips), model(clips).logits
    for name, value in (*features.items(), ("logits", logits)):
        np.testing.assert_allclose(found[name], value, atol=1e-4)


@pytest.mark.slow
def test_file_says_who_made_it_and_what_it_takes(folder, exported):
    found = read_onnx_metadata(exported)
    model = BSPForBoundaryClassification.from_pretrained(folder)
    assert found["encoder"] == describe_encoder(model, tiny_extractor())
    assert found["encoder"]["id"] == "bsp-tiny"
    assert found["preprocessing"]["crop_size"] == {"height": 32, "width": 32}
    assert next(iter(found["labels"].values())) == "diff-class"
    assert found["config"]["backbone_config"]["model_type"] == "resnet"


@pytest.mark.slow
def test_a_file_of_others_has_no_record(exported, tmp_path):
    import onnx

    unmarked = onnx.load(exported)
    del unmarked.metadata_props[:]
    onnx.save(unmarked, tmp_path / "unmarked.onnx")
    with pytest.raises(ValueError, match=r"unmarked\.onnx has no record of its encoder"):
        read_onnx_metadata(tmp_path / "unmarked.onnx")


@pytest.mark.slow
def test_a_difference_is_an_error_and_leaves_no_file(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(exporter.TOLERANCES, "float32", 1e-12)
    with pytest.raises(ValueError, match=r"differs by .* between onnxruntime and PyTorch, more than 1e-12"):
        export_onnx(folder, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_options_out_of_range_are_refused(folder, exported, tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(ValueError, match="dtype='bfloat16' is not one of float32, float16"):
        export_onnx(folder, path, dtype="bfloat16")
    with pytest.raises(ValueError, match="opset=11 is too old"):
        export_onnx(folder, path, opset=11)
    with pytest.raises(ValueError, match="extractor= is needed"):
        export_onnx(BSPModel(tiny_config()), path)
    result = CliRunner().invoke(app, ["onnx", str(folder), str(exported)])
    assert result.exit_code == 2 and "pass --force" in result.output


def test_without_the_packages_the_error_says_what_to_install(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r'pip install .*\[onnx\]"'):
        export_onnx(folder, tmp_path / "model.onnx")


def test_checkpoints_are_loaded_with_the_head_they_were_saved_with(tmp_path):
    for model_class in (BSPModel, BSPForBoundaryClassification, BSPForBoundaryRegression):
        model_class(tiny_config()).save_pretrained(tmp_path / model_class.__name__)
        assert type(load_with_head(tmp_path / model_class.__name__)) is model_class


OUTPUTS = {
    "BSPModel": [],
    "BSPTwoStreamModel": [],
    "BSPForTwoHeadClassification": ["logits", "action_logits"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY_MODEL)
def test_every_model_computes_the_same_in_onnxruntime_for_any_batch(name, tmp_path, record_property):
    model = EVERY_MODEL[name].build()
    report = export_onnx(model, tmp_path / "model.onnx", tiny_extractor(num_frames=8))
    outputs = ["last_hidden_state", "pooler_output", *OUTPUTS.get(name, ["logits"])]
    assert list(report.max_abs_diffs) == outputs
    differences = list(report.max_abs_diffs.values())
    for batch in (1, 2, 7):
        clips = random_clips(batch, 8, 3, 32, 32, seed=batch)
        found = run(tmp_path / "model.onnx", clips)
        assert list(found) == outputs
        with torch.no_grad():
            expected = {**model.base_model(clips), **model(clips)}
        for output, array in found.items():
            assert array.shape == tuple(expected[output].shape)
            differences.append(np.abs(array - expected[output].numpy()).max())
    record_property("model", name)
    record_property("difference", float(max(differences)))
    assert max(differences) < 1e-4
    labels = read_onnx_metadata(tmp_path / "model.onnx")["labels"]
    has_classes = "logits" in outputs and name != "BSPForBoundaryRegression"
    assert (None if labels is None else len(labels)) == (model.config.num_labels if has_classes else None)


@pytest.mark.slow
def test_streams_that_give_tokens_leave_only_the_pooled_features(tmp_path):
    other = randomize(AutoModel.from_config(tiny_backbone("videomae"))).eval()
    model = BSPTwoStreamModel.from_encoders({"action": other, "boundary": one_encoder(BSPModel)})
    report = export_onnx(model, tmp_path / "model.onnx", tiny_extractor(num_frames=8))
    assert list(report.max_abs_diffs) == ["pooler_output"]
    clips = random_clips(2, 8, 3, 32, 32)
    with torch.no_grad():
        np.testing.assert_allclose(
            run(report.path, clips)["pooler_output"], model(clips).pooler_output, atol=1e-4
        )


@pytest.mark.slow
def test_half_precision_is_half_as_large(folder, exported, tmp_path):
    report = export_onnx(folder, tmp_path / "half.onnx", dtype="float16")
    assert report.num_bytes < 0.75 * exported.stat().st_size
    half = run(report.path, random_clips(2, 8, 3, 32, 32).half())
    whole = run(exported, random_clips(2, 8, 3, 32, 32))
    assert half["pooler_output"].dtype == np.float16
    np.testing.assert_allclose(half["pooler_output"], whole["pooler_output"], rtol=0.05, atol=0.02)


@pytest.mark.slow
def test_number_of_frames_may_be_chosen(tmp_path):
    model = one_encoder(BSPForBoundaryRegression)
    export_onnx(model, tmp_path / "model.onnx", tiny_extractor(), num_frames=6)
    clips = random_clips(2, 6, 3, 32, 32)
    with torch.no_grad():
        np.testing.assert_allclose(
            run(tmp_path / "model.onnx", clips)["logits"], model(clips).logits, atol=1e-4
        )


@pytest.mark.slow
def test_importing_the_package_does_not_import_onnx():
    code = "import sys, bsp_hf, bsp_hf.publishing.onnx; assert not {'onnx', 'onnxruntime'} & set(sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-1000:]
