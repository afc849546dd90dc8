"""Every family of backbones: saved and loaded, started from weights, in half precision."""

import json

import pytest
import torch
from support.tiny import FAMILIES, IMAGE_FAMILIES, VIDEO_FAMILIES, random_clips, randomize, tiny_backbone
from torch import nn
from transformers import AutoModel, AutoModelForVideoClassification, VivitForVideoClassification

from bsp_hf import BSPConfig, BSPForBoundaryClassification, BSPForBoundaryRegression, BSPModel
from bsp_hf.encoder.backbones import BACKBONES, find_family, to_channels_last


def tiny(family, model_class=BSPForBoundaryClassification, **fields):
    return randomize(model_class(BSPConfig(backbone_config=tiny_backbone(family), **fields))).eval()


def test_every_known_backbone_is_tested():
    assert set(FAMILIES) == set(BACKBONES)
    assert [name for name in FAMILIES if BACKBONES[name].mixes_frames] == VIDEO_FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_output_has_one_feature_for_each_frame_and_their_mean(family):
    model = tiny(family, BSPModel)
    with torch.no_grad():
        output = model(random_clips(2, 8, 3, 32, 32))
    assert output.last_hidden_state.shape == (2, 8, model.config.hidden_size)
    torch.testing.assert_close(output.pooler_output, output.last_hidden_state.mean(1))
    assert (output.pooler_output[0] - output.pooler_output[1]).abs().max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_models_come_back_bit_for_bit_whatever_class_reads_them(family, tmp_path):
    model, clips = tiny(family), random_clips(1, 8, 3, 32, 32)
    model.save_pretrained(tmp_path)
    encoder, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    classifier = AutoModelForVideoClassification.from_pretrained(tmp_path)
    for name in ("num_frames", "shift_place", "hidden_size", "id2label"):
        assert getattr(classifier.config, name) == getattr(model.config, name)
    assert type(classifier.config.backbone_config) is type(model.config.backbone_config)
    for loaded, saved in ((encoder, model.bsp), (classifier, model)):
        for (name, value), other in zip(
            saved.state_dict().items(), loaded.state_dict().values(), strict=True
        ):
            assert torch.equal(value, other), name
        # Not to the bit: kernels may differ with how the weights lie in memory, as RegNet's do.
        with torch.no_grad():
            torch.testing.assert_close(
                loaded(clips, return_dict=False)[-1], saved(clips, return_dict=False)[-1]
            )


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_learns_with_every_head(family):
    """A parameter without a gradient would stop training in several processes."""
    targets = {BSPForBoundaryClassification: torch.tensor([1, 3]), BSPForBoundaryRegression: torch.rand(2, 8)}
    for model_class, labels in targets.items():
        model = tiny(family, model_class).train()
        model(random_clips(2, 8, 3, 32, 32), labels=labels).loss.backward()
        assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_of_a_transformers_model_start_an_encoder(family, tmp_path):
    source = randomize(AutoModel.from_config(tiny_backbone(family)))
    source.save_pretrained(tmp_path)
    model = BSPForBoundaryRegression.from_backbone(str(tmp_path))
    taken = model.bsp.backbone.state_dict()
    expected = source.state_dict()
    for name, value in taken.items():
        assert torch.equal(value, expected[name]), name
    left = {name.partition(".")[0] for name in expected.keys() - taken.keys()}
    assert left == set(find_family(source.config).idle_parts)


def test_a_video_classifier_without_the_parts_that_are_left_out_starts_an_encoder(tmp_path):
    source = VivitForVideoClassification(tiny_backbone("vivit"))
    source.save_pretrained(tmp_path)
    model = BSPModel.from_backbone(str(tmp_path))
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, source.vivit.state_dict()[name]), name


def test_a_bsp_encoder_starts_another(tmp_path):
    source = tiny("convnext")
    source.save_pretrained(tmp_path)
    model = BSPForBoundaryRegression.from_backbone(str(tmp_path), shift_div=4)
    assert model.config.shift_div == 4
    for name, value in source.bsp.state_dict().items():
        assert torch.equal(model.bsp.state_dict()[name], value), name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_config_alone_is_enough_for_an_encoder_with_fresh_weights(family, tmp_path):
    backbone = tiny_backbone(family)
    (tmp_path / "backbone.json").write_text(json.dumps(backbone.to_dict()))
    backbone.save_pretrained(tmp_path / "folder")
    BSPConfig(backbone_config=backbone).save_pretrained(tmp_path / "encoder")
    for place in ("backbone.json", "folder", "encoder"):
        config = BSPConfig.from_backbone_name(str(tmp_path / place), num_frames=8)
        assert type(config.backbone_config) is type(backbone)
        assert config.hidden_size == BSPConfig(backbone_config=backbone).hidden_size


@pytest.mark.parametrize("family", FAMILIES)
def test_backbones_keep_the_initial_weights_of_their_own_kind(family):
    """The head's tiny deviation of 0.001 must not reach the layers of the backbone."""
    torch.manual_seed(0)
    model = BSPModel(BSPConfig(backbone_config=tiny_backbone(family)))
    weights = [m.weight for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.Conv3d))]
    assert min(weight.std() for weight in weights) > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_comes_close_and_leaves_batch_norms_in_float32(family, tmp_path):
    tiny(family).save_pretrained(tmp_path)
    exact = BSPForBoundaryClassification.from_pretrained(tmp_path)
    rounded = BSPForBoundaryClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
    norms = [m for m in rounded.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {norm.running_var.dtype for norm in norms} <= {torch.float32}
    assert rounded.dtype == torch.bfloat16
    clips = random_clips(1, 8, 3, 32, 32)
    with torch.no_grad():
        expected, actual = exact(clips).logits, rounded(clips).logits
    assert actual.dtype == torch.bfloat16
    assert (actual.float() - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.parametrize("family", ["convnext", "videomae"])
def test_channels_last_weights_give_the_same_features(family):
    model, clips = tiny(family, BSPModel), random_clips(1, 8, 3, 32, 32)
    with torch.no_grad():
        expected = model(clips).pooler_output
        actual = to_channels_last(model)(clips).pooler_output
    torch.testing.assert_close(actual, expected)
    convolutions = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in convolutions)


PARAMETERS = {
    # torchvision's and timm's counts less their 1000-class heads
    "convnext": (27_820_128, 768),  # tiny: 28,589,128
    "mobilenet_v2": (2_223_872, 1280),  # 3,504,872
    "efficientnet-lite": (3_371_008, 1280),  # 4,652,008
    "regnet": (19_557_656, 1088),  # RegNetY-4GF: 20,646,656
    # facebookresearch/TimeSformer's with 400 classes: 121,566,352
    "timesformer": (121_258_752, 768),
}


@pytest.mark.parametrize("family", PARAMETERS)
def test_full_size_encoders_have_as_many_parameters_as_published(family):
    with torch.device("meta"):
        model = BSPModel(BSPConfig(backbone_config={"model_type": family}))
    assert (sum(p.numel() for p in model.parameters()), model.config.hidden_size) == PARAMETERS[family]


def test_families_are_split_into_those_that_shift_and_those_that_mix_frames():
    for family in FAMILIES:
        place = BSPConfig(backbone_config=tiny_backbone(family)).shift_place
        assert place == ("blockres" if family in IMAGE_FAMILIES else "none")
