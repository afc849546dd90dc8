"""The encoder: golden features of TSM, any clip and size, outputs, loss, export."""

import re

import pytest
import torch
from support.tiny import MODEL_CLASSES, random_clips, tiny_config, tiny_model

from bsp_hf import BSPConfig, BSPForBoundaryClassification, BSPModel
from bsp_hf.encoder.modeling_bsp import BSPForBoundaryRegression

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
