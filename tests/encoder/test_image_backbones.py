"""Image networks as backbones: where their frames are shifted, and that nothing else is changed."""

import pytest
import torch
from support.tiny import IMAGE_FAMILIES, random_clips, randomize, tiny_backbone
from test_modeling_tsm import shift_by_hand
from torch import nn
from transformers import AutoModel

from bsp_hf import BSPConfig, BSPModel

BLOCKS = {
    "resnet": "ResNetBasicLayer",
    "regnet": "RegNetYLayer",
    "convnext": "ConvNextLayer",
    "convnextv2": "ConvNextV2Layer",
    "mobilenet_v2": "MobileNetV2InvertedResidual",
    "efficientnet-lite": "EfficientNetLiteBlock",
}


def twins(family, **fields):
    """An encoder and the image network of transformers, with the same weights."""
    encoder = randomize(BSPModel(BSPConfig(backbone_config=tiny_backbone(family), **fields))).eval()
    image_model = AutoModel.from_config(tiny_backbone(family)).eval()
    image_model.load_state_dict(encoder.backbone.state_dict())
    return encoder, image_model


@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_without_the_shift_a_frame_has_the_feature_of_its_image_network(family):
    encoder, image_model = twins(family, shift_place="none")
    clips = random_clips(2, 3, 3, 64, 48)
    with torch.no_grad():
        output = encoder(clips, output_hidden_states=True)
        expected = image_model(clips.flatten(0, 1), output_hidden_states=True)
    features = expected.pooler_output.flatten(1)
    torch.testing.assert_close(output.last_hidden_state.flatten(0, 1), features)
    kept = [tuple(maps.shape) for maps in expected.hidden_states]
    for maps in output.hidden_states[1:]:  # of each stage, among those of transformers, one for each layer
        same = [
            other
            for other, shape in zip(expected.hidden_states, kept, strict=True)
            if shape == tuple(maps.flatten(0, 1).shape)
        ]
        assert any(torch.allclose(maps.flatten(0, 1), other, atol=1e-5) for other in same)


@pytest.mark.parametrize("family", IMAGE_FAMILIES)
@pytest.mark.parametrize("shift_place", ["blockres", "block"])
def test_branches_of_all_blocks_with_a_shortcut_see_shifted_frames(family, shift_place):
    """Against transformers' own network, whose blocks are given shifted frames from outside."""
    encoder, image_model = twins(family, shift_place=shift_place, shift_div=4)
    num_shifted = 0
    for block in image_model.modules():
        if type(block).__name__ != BLOCKS[family]:
            continue
        if not (getattr(block, "use_residual", True) and getattr(block, "has_shortcut", True)):
            continue
        num_shifted += 1
        shortcut = getattr(block, "shortcut", nn.Identity())
        activation = getattr(block, "activation", None)

        def forward(x, run=block.forward, shortcut=shortcut, activation=activation, block=block):
            shifted = shift_by_hand(x, 3, 4)
            if shift_place == "block":
                return run(shifted)
            if activation is not None:  # behind the sum, so that it must be taken apart
                return activation(block.layer(shifted) + shortcut(x))
            return run(shifted) - shifted + x

        block.forward = forward
    clips = random_clips(2, 3, 3, 32, 32)
    with torch.no_grad():
        actual = encoder(clips).last_hidden_state.flatten(0, 1)
        expected = image_model(clips.flatten(0, 1)).pooler_output.flatten(1)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    assert num_shifted == {"mobilenet_v2": 10}.get(family, 5)


@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_any_length_and_size_runs_and_order_matters(family):
    encoder, _ = twins(family)
    clips = random_clips(1, 5, 3, 70, 41)
    with torch.no_grad():
        forwards, backwards = encoder(clips).pooler_output, encoder(clips.flip(1)).pooler_output
    assert forwards.shape == (1, encoder.config.hidden_size)
    assert (forwards - backwards).abs().max() > 1e-3


def test_running_statistics_of_mobilenet_remember_more_than_the_last_batch():
    model = BSPModel(BSPConfig(backbone_config=tiny_backbone("mobilenet_v2"))).train()
    norm = model.backbone.conv_stem.first_conv.normalization
    before = norm.running_mean.clone()
    clips = random_clips(1, 2, 3, 32, 32) + 3
    model(clips)
    seen = model.backbone.conv_stem.first_conv.convolution(
        nn.functional.pad(clips.flatten(0, 1), (0, 1, 0, 1))
    )
    torch.testing.assert_close(norm.running_mean, 0.9 * before + 0.1 * seen.mean((0, 2, 3)))


@pytest.mark.parametrize(
    ("depth_multiplier", "finegrained"), [(1.0, True), (0.35, True), (0.35, False), (1.4, True)]
)
def test_width_of_mobilenet_is_read_from_its_config(depth_multiplier, finegrained):
    backbone = tiny_backbone(
        "mobilenet_v2", depth_multiplier=depth_multiplier, finegrained_output=finegrained
    )
    with torch.device("meta"):
        model = BSPModel(BSPConfig(backbone_config=backbone))
    assert model.config.hidden_size == model.backbone.conv_1x1.convolution.out_channels
