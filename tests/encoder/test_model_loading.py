"""Loading the encoder: saved models, image models, missing ones, precision."""

import pytest
import torch
from support.every_model import EVERY_MODEL
from support.tiny import MODEL_CLASSES, random_clips, randomize, tiny_config, tiny_model
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForVideoClassification,
    RegNetConfig,
    ResNetConfig,
    ResNetForImageClassification,
    ResNetModel,
    ViTConfig,
)

from bsp_hf import BSPConfig, BSPForBoundaryClassification, BSPForBoundaryRegression, BSPModel

# --- saving and loading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_class", MODEL_CLASSES)
def test_saved_model_comes_back_bit_for_bit(model_class, tmp_path):
    model = tiny_model(model_class, shift_div=4)
    clips = random_clips(1, 4, 3, 32, 32)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded, report = model_class.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(clips, return_dict=False)[0], model(clips, return_dict=False)[0])
    for (name, value), other in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


@pytest.mark.parametrize("model_class", MODEL_CLASSES[1:])
def test_auto_model_takes_the_encoder_out_of_a_model_with_a_head(model_class, tmp_path):
    model = tiny_model(model_class)
    model.save_pretrained(tmp_path)
    encoder, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(encoder) is BSPModel
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    clips = random_clips(1, 4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(encoder(clips).pooler_output, model.bsp(clips).pooler_output)


def test_encoder_gets_a_new_head_when_loaded_for_classification(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    model, report = AutoModelForVideoClassification.from_pretrained(
        tmp_path, num_labels=7, output_loading_info=True
    )
    assert type(model) is BSPForBoundaryClassification
    assert set(report["missing_keys"]) == {"classifier.weight", "classifier.bias"}
    assert model.classifier.out_features == 7
    assert torch.isfinite(model(random_clips(1, 2, 3, 32, 32)).logits).all()


@pytest.mark.parametrize("num_labels", [1, 2, 5])
def test_number_of_classes_survives_saving(num_labels, tmp_path):
    tiny_model(BSPForBoundaryClassification, num_labels=num_labels).save_pretrained(tmp_path)
    loaded, report = BSPForBoundaryClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert loaded.classifier.out_features == num_labels


def test_missing_model_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="bsp-tsm-r50") as caught:
        BSPModel.from_pretrained("bsp-tsm-r50")
    for hint in ("local folder", "org/name", "examples/pretrain.py --output_dir bsp-tsm-r50"):
        assert hint in str(caught.value)
    assert caught.value.__cause__ is not None


def test_folder_without_weights_keeps_its_own_error(tmp_path):
    tiny_config().save_pretrained(tmp_path)
    with pytest.raises(OSError, match=r"model\.safetensors") as caught:
        BSPModel.from_pretrained(tmp_path)
    assert "org/name" not in str(caught.value)


@pytest.mark.parametrize("num_labels", [1, 4])
def test_a_head_is_not_taken_for_another_with_weights_of_the_same_name(num_labels, tmp_path):
    """With one class even the shapes are the same, and nothing would tell."""
    fields = {"num_labels": num_labels}
    tiny_model(BSPForBoundaryRegression, **fields).save_pretrained(tmp_path / "rating")
    tiny_model(BSPForBoundaryClassification, **fields).save_pretrained(tmp_path / "naming")
    for load in (AutoModelForVideoClassification, BSPForBoundaryClassification):
        with pytest.raises(ValueError, match=r"rating is a BSPForBoundaryRegression; its head rates frames"):
            load.from_pretrained(tmp_path / "rating")
    with pytest.raises(ValueError, match=r"naming is a BSPForBoundaryClassification.*encoder with AutoModel"):
        BSPForBoundaryRegression.from_pretrained(tmp_path / "naming")
    assert BSPForBoundaryRegression.from_pretrained(tmp_path / "rating").classifier.out_features == 1
    assert type(AutoModel.from_pretrained(tmp_path / "rating")) is BSPModel


# --- precision ---------------------------------------------------------------------------------------------


def test_bf16_keeps_batch_norms_in_float32_and_runs(tmp_path):
    tiny_model(BSPForBoundaryClassification).save_pretrained(tmp_path)
    model = BSPForBoundaryClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        assert {tensor.dtype for tensor in tensors} == {torch.float32}
        assert norm.num_batches_tracked.dtype == torch.int64
    others = {p.dtype for name, p in model.named_parameters() if "normalization" not in name}
    assert others == {torch.bfloat16}

    clips = random_clips(2, 4, 3, 32, 32)
    full = BSPForBoundaryClassification.from_pretrained(tmp_path)
    with torch.no_grad():
        exact, rounded = full(clips), model(clips)
    assert rounded.logits.dtype == torch.bfloat16
    assert (rounded.logits.float() - exact.logits).abs().max() < 0.05 * exact.logits.abs().max()

    model.train()
    before = norms[0].running_mean.clone()
    output = model(clips, labels=torch.tensor([0, 3]))
    assert output.loss.dtype == torch.float32
    output.loss.backward()
    assert not torch.equal(norms[0].running_mean, before)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_autocast_runs_with_float32_weights():
    model = tiny_model(BSPForBoundaryClassification)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(random_clips(1, 4, 3, 32, 32), labels=torch.tensor([1]))
    assert output.loss.dtype == torch.float32
    output.loss.backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())


def test_meta_device_loads_every_tensor(tmp_path):
    """transformers builds models without memory and fills them; nothing may stay as it was allocated."""
    tiny_model().save_pretrained(tmp_path)
    loaded = BSPModel.from_pretrained(tmp_path)
    for name, tensor in [*loaded.named_parameters(), *loaded.named_buffers()]:
        assert tensor.device.type == "cpu", name
        assert torch.isfinite(tensor).all(), name


# --- starting from an image model --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [{"layer_type": "basic"}, {"layer_type": "bottleneck"}])
def test_image_classifier_is_read_without_conversion(shape, tmp_path):
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 24], depths=[1, 2, 1], num_labels=5, **shape)
    image_model = randomize(ResNetForImageClassification(config)).eval()
    image_model.save_pretrained(tmp_path)
    encoder = BSPModel.from_backbone(str(tmp_path), num_frames=4, shift_place="none").eval()
    assert (encoder.config.num_frames, encoder.config.shift_place) == (4, "none")
    assert encoder.config.num_labels == 4
    clips = random_clips(2, 4, 3, 48, 48)
    with torch.no_grad():
        output = encoder(clips, output_hidden_states=True)
        expected = image_model.resnet(clips.flatten(0, 1), output_hidden_states=True)
    for maps, expected_maps in zip(output.hidden_states, expected.hidden_states, strict=True):
        assert torch.equal(maps.flatten(0, 1), expected_maps)
    torch.testing.assert_close(output.last_hidden_state.flatten(0, 1), expected.pooler_output.flatten(1))


@pytest.mark.parametrize("model_class", MODEL_CLASSES)
def test_every_model_can_start_from_an_image_model(model_class, tmp_path):
    image_model = randomize(ResNetModel(tiny_config().backbone_config))
    image_model.save_pretrained(tmp_path)
    model = model_class.from_backbone(str(tmp_path))
    for name, value in image_model.state_dict().items():
        assert torch.equal(model.base_model.backbone.state_dict()[name], value), name


def test_image_model_in_half_precision_starts_a_model_in_float32(tmp_path):
    ResNetModel(tiny_config().backbone_config).to(torch.bfloat16).save_pretrained(tmp_path)
    model = BSPForBoundaryClassification.from_backbone(str(tmp_path))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    model(random_clips(1, 2, 3, 32, 32), labels=torch.tensor([0])).loss.backward()
    model.save_pretrained(tmp_path / "saved")
    for dtype in (torch.float32, torch.bfloat16):
        loaded = BSPForBoundaryClassification.from_pretrained(tmp_path / "saved", dtype=dtype)
        assert {p.dtype for name, p in loaded.named_parameters() if "normalization" not in name} == {dtype}


def test_backbone_with_missing_weights_is_refused(tmp_path):
    image_model = ResNetModel(tiny_config().backbone_config)
    weights = image_model.state_dict()
    del weights["encoder.stages.1.layers.0.layer.0.convolution.weight"]
    image_model.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(ValueError, match=r"lacks 1 weights .*encoder\.stages\.1\.layers\.0\.layer\.0"):
        BSPModel.from_backbone(str(tmp_path))


def test_regnet_is_a_backbone_too(tmp_path):
    config = RegNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], groups_width=8, layer_type="y"
    )
    model = randomize(BSPModel(BSPConfig(backbone_config=config))).eval()
    model.save_pretrained(tmp_path)
    clips = random_clips(1, 3, 3, 32, 32)
    with torch.no_grad():
        features = AutoModel.from_pretrained(tmp_path)(clips).pooler_output
        assert torch.equal(features, model(clips).pooler_output)
        assert not torch.allclose(features, model(clips.flip(1)).pooler_output)


def test_backbone_without_residual_stages_is_refused():
    with pytest.raises(ValueError, match=r"'vit' .*residual stages.*take one of resnet, regnet, convnext"):
        BSPModel(BSPConfig(backbone_config=ViTConfig(num_hidden_layers=1)))


def test_image_model_without_residual_stages_is_refused(tmp_path):
    config = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"'vit' .*residual stages"):
        BSPModel.from_backbone(str(tmp_path))


def test_auto_classes_know_the_encoder(tmp_path):
    tiny_model(BSPForBoundaryClassification).save_pretrained(tmp_path)
    assert type(AutoConfig.from_pretrained(tmp_path)) is BSPConfig
    assert type(AutoModel.from_config(tiny_config())) is BSPModel
    assert type(AutoModelForVideoClassification.from_pretrained(tmp_path)) is BSPForBoundaryClassification


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_tensors_kept_in_float32_are_a_set_as_transformers_has_them(name):
    """Its own code and tests form the union with the other set of names."""
    model = EVERY_MODEL[name].build()
    kept = model._keep_in_fp32_modules | model._keep_in_fp32_modules_strict
    assert kept == set(model._keep_in_fp32_modules_strict)
    for part in kept:
        assert any(key.endswith(f".{part}") for key in model.state_dict()), part
