"""Image networks as backbones: where their frames are shifted, and that nothing else is changed."""

import re

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from support.tiny import IMAGE_FAMILIES, random_clips, randomize, tiny_backbone, tiny_extractor
from test_modeling_tsm import shift_by_hand
from torch import nn
from transformers import AutoModel

from bsp_hf import BSPConfig, BSPForBoundaryClassification, BSPModel
from bsp_hf.encoder.provenance import hash_settings

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


@pytest.mark.parametrize(
    ("family", "named", "shifted"),
    # Blocks 0, 1, 4 and 7 of the tiny EfficientNet-Lite have no shortcut.
    [("resnet", [1, 3], [1, 3]), ("efficientnet-lite", [0, 4, 5, 6, 7, 8], [5, 6, 8])],
)
def test_only_the_blocks_that_are_named_shift(family, named, shifted):
    encoder, image_model = twins(family, shift_blocks=named, shift_div=4)
    blocks = [block for block in image_model.modules() if type(block).__name__ == BLOCKS[family]]
    assert len(blocks) == {"resnet": 5, "efficientnet-lite": 9}[family]
    for number in shifted:
        block = blocks[number]

        def forward(x, *, run=block.forward, block=block):
            moved = shift_by_hand(x, 3, 4)
            if family == "resnet":
                return block.activation(block.layer(moved) + block.shortcut(x))
            return run(moved) - moved + x

        block.forward = forward
    clips = random_clips(2, 3, 3, 32, 32)
    with torch.no_grad():
        actual = encoder(clips).last_hidden_state.flatten(0, 1)
        torch.testing.assert_close(
            actual, image_model(clips.flatten(0, 1)).pooler_output.flatten(1), rtol=1e-4, atol=1e-4
        )
        encoder.config.shift_blocks = None
        assert (encoder(clips).last_hidden_state.flatten(0, 1) - actual).abs().max() > 1e-3


def test_blocks_that_shift_are_saved_and_those_that_are_not_there_refused(tmp_path):
    encoder, _ = twins("efficientnet-lite", shift_blocks=[7, 8])
    encoder.save_pretrained(tmp_path)
    assert AutoModel.from_pretrained(tmp_path).config.shift_blocks == [7, 8]
    with pytest.raises(ValueError, match="names block 9, but this efficientnet-lite has the blocks 0 to 8"):
        twins("efficientnet-lite", shift_blocks=[8, 9])
    for numbers in ([], [-1, 2], [3, 3]):
        with pytest.raises(StrictDataclassError, match="different numbers from 0 on"):
            twins("resnet", shift_blocks=numbers)
    video = BSPConfig(backbone_config=tiny_backbone("videomae"), shift_blocks=[0])
    assert video.shift_blocks is None


@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_a_config_from_before_blocks_could_be_named_is_the_same_encoder(family):
    config = BSPConfig(backbone_config=tiny_backbone(family))
    fields = config.to_dict()
    del fields["shift_blocks"]
    assert hash_settings(BSPConfig.from_dict(fields), tiny_extractor()) == hash_settings(
        config, tiny_extractor()
    )
    named = BSPConfig(backbone_config=tiny_backbone(family), shift_blocks=[1])
    assert hash_settings(named, tiny_extractor()) != hash_settings(config, tiny_extractor())


def part_of(name: str) -> int:
    """Number of the stage of a parameter, counted from 1; 0 for the stem, a large number for what follows."""
    found = re.search(r"backbone\.(?:encoder\.)?stages\.(\d+)\.", name)
    if found:
        return 1 + int(found[1])
    return 0 if re.search(r"\.(embedder|embeddings|stem)\.", name) else 99


@pytest.mark.parametrize("family", [f for f in IMAGE_FAMILIES if f != "mobilenet_v2"])
def test_blocks_that_are_kept_change_neither_weights_nor_statistics_nor_what_they_compute(family):
    """The first two stages; in all tiny networks but the EfficientNet-Lite they have one block and two."""
    model = randomize(BSPForBoundaryClassification(BSPConfig(backbone_config=tiny_backbone(family))))
    num_blocks = 4 if family == "efficientnet-lite" else 3
    model.bsp.freeze_blocks(num_blocks)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    clips = random_clips(2, 4, 3, 32, 32)
    with torch.no_grad():
        before = model.eval()(clips, output_hidden_states=True).hidden_states
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        model.eval().train()
        model(clips, labels=torch.tensor([0, 3])).loss.backward()
        optimizer.step()
    for name, value in model.state_dict().items():
        if part_of(name) <= 2:
            assert torch.equal(value, kept[name]), name
        elif value.ndim == 4 or name.endswith("running_mean"):
            assert not torch.equal(value, kept[name]), name
    with torch.no_grad():
        after = model.eval()(clips, output_hidden_states=True).hidden_states
    for number, (maps, others) in enumerate(zip(before, after, strict=True)):
        assert torch.equal(maps, others) == (number <= 2)


def test_a_block_in_the_middle_of_a_stage_is_where_keeping_ends():
    model = BSPModel(BSPConfig(backbone_config=tiny_backbone("mobilenet_v2")))
    model.freeze_blocks(5)
    assert [all(p.requires_grad for p in block.parameters()) for block in model.backbone.layer] == [
        number >= 5 for number in range(16)
    ]
    assert not any(p.requires_grad for p in model.backbone.conv_stem.parameters())
    with pytest.raises(ValueError, match="has 16 blocks, fewer than 17"):
        model.freeze_blocks(17)
    with pytest.raises(ValueError, match="num_blocks=0 must be at least 1"):
        model.freeze_blocks(0)
    with pytest.raises(ValueError, match="first blocks of a videomae cannot be kept"):
        BSPModel(BSPConfig(backbone_config=tiny_backbone("videomae"))).freeze_blocks(1)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpointing_behind_blocks_that_are_kept_changes_no_gradient(use_reentrant):
    models = []
    for is_checkpointed in (False, True):
        model = randomize(BSPModel(BSPConfig(backbone_config=tiny_backbone("efficientnet-lite")))).train()
        model.freeze_blocks(4)
        if is_checkpointed:
            enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
            enable({"use_reentrant": use_reentrant})
        model(random_clips(2, 4, 3, 32, 32)).pooler_output.square().mean().backward()
        models.append(model)
    plain, checkpointed = (dict(model.named_parameters()) for model in models)
    assert {name for name, p in plain.items() if p.grad is not None} == {
        name for name, p in plain.items() if p.requires_grad
    }
    for name, parameter in plain.items():
        if parameter.requires_grad:
            torch.testing.assert_close(checkpointed[name].grad, parameter.grad, msg=name)
    for first, second in zip(models[0].buffers(), models[1].buffers(), strict=True):
        assert torch.equal(first, second)


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
