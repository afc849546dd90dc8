"""The encoder: golden features of TSM, any clip and size, precision, checkpointing, starting weights."""

import re

import pytest
import torch
from tiny import random_clips, randomize, tiny_config
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

from bsp_hf import BSPConfig, BSPForBoundaryClassification, BSPModel
from bsp_hf.encoder.modeling_bsp import BSPForBoundaryRegression

MODEL_CLASSES = [BSPModel, BSPForBoundaryClassification, BSPForBoundaryRegression]


def tiny_model(model_class=BSPModel, **fields):
    return randomize(model_class(tiny_config(**fields))).eval()


# --- against TSM -------------------------------------------------------------------------------------------


def name_here(key: str) -> str:
    """Our name of a TSM weight, from the key table of SPEC 2.3; independent of the package's converter."""
    if key.startswith("new_fc."):
        return key.replace("new_fc.", "classifier.")
    stem = re.fullmatch(r"base_model\.(conv1|bn1)\.(\w+)", key)
    if stem:
        part = {"conv1": "convolution", "bn1": "normalization"}[stem[1]]
        return f"bsp.backbone.embedder.embedder.{part}.{stem[2]}"
    stage, block, rest = re.fullmatch(r"base_model\.layer(\d)\.(\d+)\.(.+)", key).groups()
    prefix = f"bsp.backbone.encoder.stages.{int(stage) - 1}.layers.{block}"
    shortcut = re.fullmatch(r"downsample\.(\d)\.(\w+)", rest)
    if shortcut:
        return f"{prefix}.shortcut.{('convolution', 'normalization')[int(shortcut[1])]}.{shortcut[2]}"
    kind, number, leaf = re.fullmatch(r"(conv|bn)(\d)(?:\.net)?\.(\w+)", rest).groups()
    part = {"conv": "convolution", "bn": "normalization"}[kind]
    return f"{prefix}.layer.{int(number) - 1}.{part}.{leaf}"


@pytest.fixture(scope="module", params=["resnet18", "resnet50"])
def golden_tsm(request, golden):
    """The golden case, the model that holds its weights, and its input."""
    case = golden(f"tsm/tsm_{request.param}")
    with torch.device("meta"):
        model = BSPForBoundaryClassification(BSPConfig.from_backbone_name(request.param, num_labels=400))
    weights = {name_here(key): torch.from_numpy(value.copy()) for key, value in case.weights.items()}
    assert set(weights) == set(model.state_dict())
    model.eval().load_state_dict(weights, assign=True)
    mean, deviation = (torch.tensor(case.meta["config"][key]).view(3, 1, 1) for key in ("mean", "std"))
    pixel_values = (torch.from_numpy(case.inputs["frames_u8"]) / 255 - mean) / deviation
    return case, model, pixel_values


def test_every_stage_feature_and_logit_equals_the_published_tsm(golden_tsm):
    case, model, pixel_values = golden_tsm
    with torch.no_grad():
        output = model(pixel_values, output_hidden_states=True)
        features = model.bsp(pixel_values)
    for stage, maps in enumerate(output.hidden_states[1:], start=1):
        case.check(f"layer{stage}_spatial_mean", maps.mean((3, 4)).flatten(0, 1))
    case.check("frame_features", features.last_hidden_state.flatten(0, 1))
    case.check("clip_feature", features.pooler_output)
    case.check("frame_logits", output.frame_logits.flatten(0, 1))
    case.check("clip_logits", output.logits)
    torch.testing.assert_close(model.classifier(features.pooler_output), output.logits)


def test_channels_last_gives_the_same_features():
    model = tiny_model()
    clips = random_clips(2, 4, 3, 48, 40)
    with torch.no_grad():
        expected = model(clips).pooler_output
        model = model.to(memory_format=torch.channels_last)
        output = model(clips.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3))
    torch.testing.assert_close(output.pooler_output, expected)


@pytest.mark.parametrize(
    ("name", "num_parameters"),
    [
        # torchvision's counts less the 1000-class head; below, SPEC 2.2 for ResNet-18 and -50 with a head
        ("resnet18", 11_689_512 - 513_000),
        ("resnet34", 21_797_672 - 513_000),
        ("resnet50", 25_557_032 - 2_049_000),
        ("resnet101", 44_549_160 - 2_049_000),
    ],
)
def test_encoders_have_as_many_parameters_as_their_resnets(name, num_parameters):
    with torch.device("meta"):
        model = BSPModel(BSPConfig.from_backbone_name(name))
    assert sum(p.numel() for p in model.parameters()) == num_parameters
    heads = {"resnet18": 11_381_712, "resnet50": 24_327_632}
    if name in heads:
        with torch.device("meta"):
            classifier = BSPForBoundaryClassification(BSPConfig.from_backbone_name(name, num_labels=400))
        assert sum(p.numel() for p in classifier.parameters()) == heads[name]


# --- frames ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift_place", ["blockres", "block"])
def test_frame_order_matters_with_the_shift(shift_place):
    model = tiny_model(shift_place=shift_place)
    clips = random_clips(1, 8, 3, 32, 32)
    with torch.no_grad():
        forwards, backwards = model(clips).pooler_output, model(clips.flip(1)).pooler_output
    assert (forwards - backwards).abs().max() > 1e-2


def test_frame_order_does_not_matter_without_the_shift():
    model = tiny_model(shift_place="none")
    clips = random_clips(2, 6, 3, 32, 32)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    with torch.no_grad():
        output, reordered = model(clips), model(clips[:, order])
    torch.testing.assert_close(reordered.last_hidden_state, output.last_hidden_state[:, order])
    torch.testing.assert_close(reordered.pooler_output, output.pooler_output)


def test_a_frame_reaches_as_far_as_there_are_shifting_blocks():
    """Four blocks shift, each by one frame: frame 0 can be seen at frame 4 and not at frame 5."""
    model = tiny_model()
    clips = random_clips(1, 8, 3, 32, 32)
    other = clips.clone()
    other[:, 0] += 1
    with torch.no_grad():
        change = (model(clips).last_hidden_state - model(other).last_hidden_state).abs().amax((0, 2))
    assert (change[:5] > 1e-5).all()
    assert (change[5:] == 0).all()


@pytest.mark.parametrize("num_frames", [1, 3, 8, 16])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 20)])
def test_any_clip_length_and_size_runs(num_frames, size):
    output = tiny_model()(random_clips(2, num_frames, 3, *size), output_hidden_states=True)
    assert output.last_hidden_state.shape == (2, num_frames, 32)
    assert output.pooler_output.shape == (2, 32)
    torch.testing.assert_close(output.pooler_output, output.last_hidden_state.mean(1))
    torch.testing.assert_close(output.hidden_states[-1].mean((3, 4)), output.last_hidden_state)
    assert [maps.shape[:3] for maps in output.hidden_states] == [
        (2, num_frames, channels) for channels in (8, 8, 16, 24, 32)
    ]


@pytest.mark.parametrize("model_class", MODEL_CLASSES)
def test_clips_of_a_batch_do_not_touch_each_other(model_class):
    model = tiny_model(model_class)
    clips = random_clips(3, 4, 3, 32, 32)
    with torch.no_grad():
        together = model(clips, return_dict=False)
        alone = [model(clip[None], return_dict=False) for clip in clips]
    for part, parts in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(part, torch.cat(parts))


@pytest.mark.parametrize("model_class", MODEL_CLASSES)
@pytest.mark.parametrize("shape", [(8, 3, 32, 32), (1, 8, 32, 32, 3), (1, 3, 8, 32, 32)])
def test_pixels_of_another_shape_are_refused_with_the_one_that_is_wanted(model_class, shape):
    wanted = re.escape(f"(batch, num_frames, 3, height, width), got {shape}")
    with pytest.raises(ValueError, match=wanted):
        tiny_model(model_class)(torch.zeros(shape))


# --- outputs and loss --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_class", MODEL_CLASSES)
def test_tuple_holds_the_parts_of_the_output_in_order(model_class):
    model = tiny_model(model_class)
    clips = random_clips(2, 4, 3, 32, 32)
    with torch.no_grad():
        output = model(clips, output_hidden_states=True)
        parts = model(clips, output_hidden_states=True, return_dict=False)
    assert isinstance(parts, tuple)
    assert len(parts) == len(output.to_tuple())
    for part, expected in zip(parts[:-1], output.to_tuple()[:-1], strict=True):
        assert torch.equal(part, expected)
    model.config.return_dict = False
    assert isinstance(model(clips), tuple)


@pytest.mark.parametrize("model_class", MODEL_CLASSES)
def test_gradients_reach_the_feature_maps_that_are_returned(model_class):
    """What Grad-CAM and the like need."""
    output = tiny_model(model_class)(random_clips(2, 3, 3, 32, 32), output_hidden_states=True)
    for maps in output.hidden_states:
        maps.retain_grad()
    output[0].sum().backward()
    for maps in output.hidden_states:
        assert maps.grad is not None
        assert maps.grad.abs().sum() > 0


def test_config_can_ask_for_hidden_states():
    model = tiny_model()
    assert model(random_clips(1, 2, 3, 32, 32)).hidden_states is None
    model.config.output_hidden_states = True
    assert len(model(random_clips(1, 2, 3, 32, 32)).hidden_states) == 5


def test_classification_loss_is_the_cross_entropy_of_the_mean_frame_logits():
    model = tiny_model(BSPForBoundaryClassification)
    clips, labels = random_clips(4, 3, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    output = model(clips, labels=labels)
    assert output.logits.shape == (4, 4)
    assert output.frame_logits.shape == (4, 3, 4)
    probabilities = output.frame_logits.mean(1).double().exp()
    probabilities = probabilities / probabilities.sum(1, keepdim=True)
    expected = -sum(probabilities[i, label].log() for i, label in enumerate(labels)) / 4
    torch.testing.assert_close(output.loss.double(), expected)
    assert torch.equal(model(clips, labels=labels, return_dict=False)[0], output.loss)
    assert model(clips).loss is None
    output.loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_regression_loss_is_smooth_l1_on_every_frame():
    model = tiny_model(BSPForBoundaryRegression)
    clips = random_clips(2, 5, 3, 32, 32)
    heatmap = torch.tensor([[0, 0.3, 1, 0.3, 0], [3.0, 0, 0, 0, -2]])
    output = model(clips, labels=heatmap)
    assert output.logits.shape == (2, 5)
    error = (output.logits - heatmap).abs()
    expected = torch.where(error < 1, 0.5 * error**2, error - 0.5).mean()
    torch.testing.assert_close(output.loss, expected)
    output.loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_heatmap_of_another_shape_is_refused():
    """(batch, 1) against (batch, num_frames) would broadcast into a wrong loss without a word."""
    with pytest.raises(ValueError, match=r"labels must have the shape \(2, 5\).*got \(2, 1\)"):
        tiny_model(BSPForBoundaryRegression)(random_clips(2, 5, 3, 32, 32), labels=torch.zeros(2, 1))


def test_classifier_starts_small_and_its_bias_at_zero():
    torch.manual_seed(0)
    model = BSPForBoundaryClassification(tiny_config(num_labels=400))
    assert model.classifier.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert (model.classifier.bias == 0).all()


def test_dropout_acts_in_training_only():
    model = tiny_model(BSPForBoundaryClassification, classifier_dropout=0.5)
    clips = random_clips(1, 2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(clips).logits, model(clips).logits)
        model.dropout.train()
        assert not torch.equal(model(clips).logits, model(clips).logits)


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


# --- gradient checkpointing --------------------------------------------------------------------------------


@pytest.mark.parametrize("use_reentrant", [None, True, False])
def test_gradient_checkpointing_changes_neither_gradients_nor_statistics(use_reentrant):
    clips, labels = random_clips(2, 4, 3, 32, 32), torch.tensor([0, 2])
    kwargs = None if use_reentrant is None else {"use_reentrant": use_reentrant}
    models = []
    for is_checkpointed in (False, True):
        model = tiny_model(BSPForBoundaryClassification, classifier_dropout=0.0).train()
        if is_checkpointed:
            # The name changed within the supported range of transformers.
            enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
            enable(kwargs)
            assert model.bsp.gradient_checkpointing
        model(clips, labels=labels).loss.backward()
        models.append(model)
    plain, checkpointed = models
    for (name, expected), actual in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(actual.grad, expected.grad, msg=name)
    for (name, expected), actual in zip(plain.named_buffers(), checkpointed.buffers(), strict=True):
        assert torch.equal(actual, expected), name


# --- export ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("model_class", MODEL_CLASSES)
def test_exported_program_takes_any_batch_and_gives_the_same(model_class):
    model = tiny_model(model_class)
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(
        model,
        (random_clips(2, 8, 3, 32, 32),),
        {"return_dict": False},
        dynamic_shapes={"pixel_values": {0: batch}, "return_dict": None},
    ).module()
    for batch_size in (1, 3):
        clips = random_clips(batch_size, 8, 3, 32, 32, seed=batch_size)
        with torch.no_grad():
            expected = model(clips, return_dict=False)
            for part, expected_part in zip(exported(clips, return_dict=False), expected, strict=True):
                torch.testing.assert_close(part, expected_part)


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
    with pytest.raises(ValueError, match=r"'vit' .*residual stages.*resnet or regnet"):
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
