"""Encoders made ready for speed compute what they did before; which number type is chosen."""

import logging

import pytest
import torch
import torch.nn.functional as F
from support.tiny import random_clips, randomize, tiny_backbone, tiny_config, tiny_extractor
from torch import nn
from transformers import ResNetConfig

from bsp_hf import BSPConfig, BSPForBoundaryClassification, BSPModel
from bsp_hf.encoder.modeling_efficientnet_lite import SamePaddedConv2d
from bsp_hf.encoder.video_snippets import encode_clips
from bsp_hf.features.engine import fast_encoder as inference_model
from bsp_hf.features.engine.fast_blocks import JoinedBlock, JoinedInvertedResidual
from bsp_hf.features.engine.fast_convolutions import PackedConv2d, PackedSameConv2d, WinogradConv2d
from bsp_hf.features.engine.fast_encoder import choose_dtype, prepare_encoder

CPU = torch.device("cpu")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "size", [(3, 64, 8, 8, 64), (1, 65, 7, 7, 70), (2, 64, 1, 1, 64), (2, 64, 2, 13, 80), (40, 64, 6, 5, 64)]
)
def test_winograd_convolution_equals_the_direct_one(size, bias):
    batch, channels, height, width, num_out = size
    torch.manual_seed(0)
    direct = nn.Conv2d(channels, num_out, 3, padding=1, bias=bias)
    pixels = torch.randn(batch, channels, height, width)
    expected = F.conv2d(
        pixels.double(), direct.weight.double(), direct.bias.double() if bias else None, padding=1
    )
    convolution = WinogradConv2d(direct)
    with torch.inference_mode():
        convolution(torch.full_like(pixels, 100.0))  # must leave nothing behind in its scratch memory
        found = convolution(pixels)
        again = convolution(pixels.contiguous(memory_format=torch.channels_last))
    assert found.shape == expected.shape
    assert (found - expected).norm() < 5e-6 * expected.norm()
    assert torch.equal(found, again)


def test_winograd_convolution_adds_and_rectifies():
    torch.manual_seed(0)
    direct = nn.Conv2d(64, 66, 3, padding=1)
    pixels, added = torch.randn(3, 64, 7, 9), torch.randn(3, 66, 7, 9)
    with torch.inference_mode():
        expected = WinogradConv2d(direct)(pixels)
        convolution = WinogradConv2d(direct, rectifies=True)
        assert torch.equal(convolution(pixels), expected.relu())
        assert torch.equal(convolution(pixels, added), (expected + added).relu())


def test_winograd_scratch_is_not_shared_by_layers_or_results():
    torch.manual_seed(0)
    layers = [WinogradConv2d(nn.Conv2d(64, 64, 3, padding=1)) for _ in range(2)]
    pixels = torch.randn(2, 64, 9, 9)
    first = layers[0](pixels)
    kept = first.clone()
    layers[0](pixels * 2)
    layers[1](pixels)
    assert torch.equal(first, kept)


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(64, 64, 3, stride=2, padding=1),
        nn.Conv2d(64, 64, 1),
        nn.Conv2d(64, 64, 3, padding=0),
        nn.Conv2d(64, 64, 3, padding=1, groups=2),
        nn.Conv2d(64, 64, 3, padding=2, dilation=2),
        nn.Conv2d(64, 64, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(64, 32, 3, padding=1),
        nn.Conv3d(64, 64, 3, padding=1),
    ],
)
def test_other_convolutions_are_not_taken(convolution):
    assert not WinogradConv2d.supports(convolution)
    with pytest.raises(ValueError, match="3x3"):
        WinogradConv2d(convolution)


needs_packing = pytest.mark.skipif(not PackedConv2d.works(torch.float32), reason="oneDNN is not to be had")


@needs_packing
@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(16, 24, 1),
        nn.Conv2d(16, 24, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(16, 16, (3, 5), padding=(2, 1), dilation=(2, 1), groups=16),
        nn.Conv2d(16, 8, 7, stride=(2, 3), padding=3, groups=4),
    ],
)
def test_packed_convolution_equals_the_direct_one(convolution):
    packed, rectified = PackedConv2d(convolution), PackedConv2d(convolution, rectifies=True)
    with torch.inference_mode():
        for size in [(2, 16, 9, 12), (1, 16, 20, 5), (2, 16, 9, 12)]:  # each size is packed for anew
            pixels = torch.randn(size, generator=torch.Generator().manual_seed(0))
            expected = convolution(pixels)
            added = torch.randn_like(expected)
            kept = added.clone()
            torch.testing.assert_close(packed(pixels), expected)
            torch.testing.assert_close(rectified(pixels), expected.relu())
            torch.testing.assert_close(packed(pixels, added), expected + added)
            torch.testing.assert_close(rectified(pixels, added), (expected + added).relu())
            assert torch.equal(added, kept)


@needs_packing
@pytest.mark.parametrize("groups", [1, 16])
def test_packed_convolution_is_cut_off_where_its_rectifier_is(groups):
    torch.manual_seed(0)
    convolution = nn.Conv2d(16, 16, 3, padding=1, groups=groups)
    packed = PackedConv2d(convolution, rectifies=True, ceiling=0.5)
    pixels, added = torch.randn(2, 2, 16, 9, 12)
    with torch.inference_mode():
        expected = convolution(pixels)
        assert (expected > 0.5).any() and (expected < 0).any()
        torch.testing.assert_close(packed(pixels), expected.clamp(0, 0.5))
        torch.testing.assert_close(packed(pixels, added), (expected + added).clamp(0, 0.5))


@needs_packing
@pytest.mark.parametrize("kernel_size", [3, 5, 7])
@pytest.mark.parametrize("groups", [1, 8])
def test_packed_same_convolution_equals_the_direct_one_for_even_and_odd_sizes(kernel_size, groups):
    torch.manual_seed(0)
    direct = SamePaddedConv2d(8, 16, kernel_size, 2, groups)
    direct.bias = nn.Parameter(torch.randn(16))
    packed, cut = PackedSameConv2d(direct), PackedSameConv2d(direct, rectifies=True, ceiling=0.5)
    with torch.inference_mode():
        for size in [(8, 10), (9, 10), (8, 11), (9, 13), (2, 1), (1, 2), (3, 3)]:
            pixels = torch.randn(2, 8, *size)
            expected = direct(pixels)
            assert expected.shape[-2:] == tuple(-(-edge // 2) for edge in size)
            torch.testing.assert_close(packed(pixels), expected, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(cut(pixels), expected.clamp(0, 0.5), rtol=1e-4, atol=1e-5)


def test_other_convolutions_are_not_packed_as_same():
    for convolution in (
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        SamePaddedConv2d(8, 8, 3, 3),
        SamePaddedConv2d(8, 8, 1, 2),
        SamePaddedConv2d(8, 8, 4, 2),
    ):
        assert not PackedSameConv2d.supports(convolution)
        with pytest.raises(ValueError, match="SAME"):
            PackedSameConv2d(convolution)


def test_convolutions_that_cannot_be_packed_are_refused():
    for convolution in (
        nn.Conv2d(8, 8, 3, padding="same"),
        nn.Conv2d(8, 8, 3, padding_mode="reflect", padding=1),
    ):
        assert not PackedConv2d.supports(convolution)
        with pytest.raises(ValueError, match="pad by zeros"):
            PackedConv2d(convolution)


def test_torch_without_the_operators_is_noticed(monkeypatch):
    monkeypatch.setattr("bsp_hf.features.engine.fast_convolutions._OPERATORS", None)
    assert not PackedConv2d.works(torch.float32)


@pytest.mark.parametrize("layer_type", ["basic", "bottleneck"])
@pytest.mark.parametrize("saves_products", [False, True])
@pytest.mark.parametrize("packs", [False, pytest.param(True, marks=needs_packing)])
def test_prepared_encoder_gives_the_same_features(layer_type, saves_products, packs, monkeypatch):
    monkeypatch.setattr(inference_model, "_saves_products", lambda dtype, device: saves_products)
    monkeypatch.setattr(inference_model, "_packs", lambda dtype, device: packs)
    backbone = ResNetConfig(
        embedding_size=16,
        hidden_sizes=[64, 256] if layer_type == "bottleneck" else [16, 64],
        depths=[2, 2],
        layer_type=layer_type,
    )
    model = randomize(BSPForBoundaryClassification(BSPConfig(backbone_config=backbone))).eval()
    encoder = prepare_encoder(model, tiny_extractor(), torch.float32, CPU)
    kinds = [type(module) for module in encoder.modules()]
    assert nn.BatchNorm2d not in kinds
    assert (WinogradConv2d in kinds) == saves_products
    assert (PackedConv2d in kinds) == packs
    if packs:
        assert kinds.count(JoinedBlock) == 4 and nn.ReLU not in kinds
    clips = random_clips(2, 8, 3, 32, 40)
    with torch.inference_mode():
        expected, found = encode_clips(model, clips), encode_clips(encoder, clips)
    assert (found - expected).norm() < 1e-5 * expected.norm()
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize("packs", [False, pytest.param(True, marks=needs_packing)])
@pytest.mark.parametrize("shift_place", ["blockres", "block", "none"])
def test_prepared_inverted_residuals_give_the_same_features(packs, shift_place, monkeypatch):
    monkeypatch.setattr(inference_model, "_packs", lambda dtype, device: packs)
    config = BSPConfig(backbone_config=tiny_backbone("efficientnet-lite"), shift_place=shift_place)
    model = randomize(BSPForBoundaryClassification(config)).eval()
    encoder = prepare_encoder(model, tiny_extractor(), torch.float32, CPU)
    kinds = [type(module) for module in encoder.modules()]
    assert nn.BatchNorm2d not in kinds
    if packs:
        # Five blocks have a shortcut; the stem and three depthwise convolutions have a stride.
        assert kinds.count(JoinedInvertedResidual) == 5 and kinds.count(PackedSameConv2d) == 4
        assert nn.ReLU6 not in kinds and SamePaddedConv2d not in kinds
    for size in ((32, 40), (35, 33)):  # the same encoder, packed for another parity
        clips = 3 * random_clips(2, 8, 3, *size)
        with torch.inference_mode():
            expected, found = encode_clips(model, clips), encode_clips(encoder, clips)
        assert (found - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("saves_products", [False, True])
@pytest.mark.parametrize("packs", [False, pytest.param(True, marks=needs_packing)])
def test_relu6_of_a_full_convolution_is_not_taken_for_relu(saves_products, packs, monkeypatch):
    monkeypatch.setattr(inference_model, "_saves_products", lambda dtype, device: saves_products)
    monkeypatch.setattr(inference_model, "_packs", lambda dtype, device: packs)
    backbone = ResNetConfig(
        embedding_size=16, hidden_sizes=[64, 64], depths=[2, 1], layer_type="basic", hidden_act="relu6"
    )
    model = randomize(BSPModel(BSPConfig(backbone_config=backbone))).eval()
    encoder = prepare_encoder(model, tiny_extractor(), torch.float32, CPU)
    assert (WinogradConv2d in [type(module) for module in encoder.modules()]) == saves_products
    clips = 10 * random_clips(1, 8, 3, 32, 32)
    with torch.inference_mode():
        assert model(clips, output_hidden_states=True).hidden_states[-1].max() == 6
        expected, found = encode_clips(model, clips), encode_clips(encoder, clips)
    assert (found - expected).norm() < 1e-5 * expected.norm()


def test_what_changes_a_feature_is_not_done(monkeypatch, caplog):
    def spoil(encoder, clip, dtype):
        encoder.backbone.embedder.embedder.convolution.weight.data *= 1.01

    monkeypatch.setattr(inference_model, "_use_fast_convolutions", spoil)
    model = randomize(BSPModel(tiny_config())).eval()
    with caplog.at_level(logging.WARNING, logger="bsp_hf.features.engine.fast_encoder"):
        encoder = prepare_encoder(model, tiny_extractor(), torch.float32, CPU)
    assert "runs as it is" in caplog.text
    clips = random_clips(1, 8, 3, 32, 32)
    with torch.inference_mode():
        expected = encode_clips(model, clips)  # in another memory format, so not bit for bit
        assert (encode_clips(encoder, clips) - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("has_it", [True, False])
def test_auto_takes_bfloat16_where_the_processor_has_it(has_it, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_it, raising=False)
    assert choose_dtype("auto", CPU) == (torch.bfloat16 if has_it else torch.float32)
    assert choose_dtype("float32", CPU) == torch.float32
    assert choose_dtype("bfloat16", CPU) == torch.bfloat16


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_auto_takes_bfloat16_on_gpus_that_have_it(capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_dtype("auto", torch.device("cuda")) == expected
