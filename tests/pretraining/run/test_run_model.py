"""Models as the command line asks for them."""

import json
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import ResNetConfig, ResNetModel, VideoMAEConfig

from bsp_hf import BSPFeatureExtractor, BSPForBoundaryClassification
from bsp_hf.pretraining.run.settings import PretrainingSettings
from bsp_hf.pretraining.run.setup import (
    _pixel_statistics,
    label_fields,
    prepare_for_training,
    start_model,
)
from bsp_hf.training.command_line import parse_settings


def parse(*words):
    return parse_settings(PretrainingSettings, ["--output_dir", "nowhere", *words])


def test_width_scales_every_layer_and_options_become_fields():
    args = parse(
        "--backbone", "resnet18", "--width_multiplier", "0.125", "--shift_div", "4", "--dropout", "0.1"
    )
    model = start_model(BSPForBoundaryClassification, args, num_frames=16, **label_fields(("a", "b", "c")))
    backbone = model.config.backbone_config
    assert (backbone.embedding_size, backbone.hidden_sizes) == (8, [8, 16, 32, 64])
    assert (model.config.shift_div, model.config.classifier_dropout, model.config.num_frames) == (4, 0.1, 16)
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"} and model.config.label2id["c"] == 2
    assert model.classifier.out_features == 3


def test_width_scales_an_efficientnet_lite_and_its_first_blocks_are_kept():
    shift = ("--shift_blocks", "12", "13", "14")
    args = parse(
        *("--backbone", "efficientnet-lite0", "--width_multiplier", "0.25", *shift, "--frozen_blocks", "3")
    )
    model = start_model(BSPForBoundaryClassification, args, num_frames=8)
    backbone = model.config.backbone_config
    assert backbone.hidden_sizes == [8, 8, 16, 24, 32, 48, 80] and backbone.feature_size == 320
    assert model.config.shift_blocks == [12, 13, 14]
    kept = {name.split(".layers")[0] for name, p in model.named_parameters() if not p.requires_grad}
    # The third block is the second one of the second stage.
    assert {name.split(".convolution")[0].split(".normalization")[0] for name in kept} == {
        "bsp.backbone.stem",
        "bsp.backbone.stages.0",
        "bsp.backbone.stages.1",
    }
    with pytest.raises(ValueError, match="has 16 blocks, fewer than 17"):
        start_model(
            BSPForBoundaryClassification,
            parse("--backbone", "efficientnet-lite0", "--frozen_blocks", "17"),
            num_frames=8,
        )


def test_features_of_random_weights_are_not_kept(capsys):
    with pytest.raises(SystemExit):
        parse("--start_features_weight", "1")
    assert "features of random weights are not worth keeping; pass --init_from" in capsys.readouterr().err


def test_weights_come_from_an_image_model(tmp_path):
    image_model = ResNetModel(
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    )
    image_model.save_pretrained(tmp_path)
    args = parse("--init_from", str(tmp_path), "--dropout", "0.0")
    model = start_model(BSPForBoundaryClassification, args, num_frames=8)
    assert model.config.classifier_dropout == 0.0
    for name, value in image_model.state_dict().items():
        assert torch.equal(model.bsp.backbone.state_dict()[name], value), name


def test_another_backbone_is_named_by_its_config(tmp_path):
    layers = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    VideoMAEConfig(image_size=32, num_frames=8, **layers).save_pretrained(tmp_path)
    for place in (tmp_path, tmp_path / "config.json"):
        model = start_model(BSPForBoundaryClassification, parse("--backbone", str(place)), num_frames=8)
        assert model.config.backbone_config.model_type == "videomae"
        assert model(torch.zeros(1, 8, 3, 32, 32)).logits.shape == (1, 4)
    with pytest.raises(StrictDataclassError, match="takes clips of 8 frames"):
        start_model(BSPForBoundaryClassification, parse("--backbone", str(tmp_path)), num_frames=16)
    with pytest.raises(ValueError, match=r"resnet-18.*is unknown; choose one of resnet18"):
        start_model(BSPForBoundaryClassification, parse("--backbone", "resnet-18"))


@pytest.mark.parametrize(
    ("settings", "mean", "std"),
    [
        (None, 0.485, 0.229),
        ({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}, 0.5, 0.25),
        # ViViT: (x / 127.5 - 1 - 0.5) / 0.5
        (
            {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 1 / 127.5, "offset": True},
            0.75,
            0.25,
        ),
    ],
)
def test_pixels_are_normalised_as_the_first_weights_were_trained(settings, mean, std, tmp_path):
    if settings is not None:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    found = BSPFeatureExtractor(**_pixel_statistics(str(tmp_path)))
    assert (found.image_mean[0], found.image_std[0]) == pytest.approx((mean, std))
    pixels = torch.full((1, 3, 1, 1), 51, dtype=torch.uint8)
    assert found.normalize_pixels(pixels)[0, 0].item() == pytest.approx((0.2 - mean) / std)


@pytest.mark.parametrize("option", ["--init_from", "--backbone"])
def test_an_image_model_that_is_not_there_is_an_error_before_anything_is_read(option, tmp_path, capsys):
    with pytest.raises(SystemExit):
        parse(option, str(tmp_path / "nothing-here"))
    assert f"argument {option}: {tmp_path / 'nothing-here'} does not exist" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    with pytest.raises((OSError, ValueError), match="empty"):
        start_model(BSPForBoundaryClassification, parse(option, str(tmp_path / "empty")))


def test_batch_norms_are_synchronized_on_gpus_alone_and_weights_keep_their_names():
    args = parse("--backbone", "resnet18", "--width_multiplier", "0.125", "--sync_batch_norm")
    model = start_model(BSPForBoundaryClassification, args)
    names = list(model.state_dict())
    with pytest.raises(ValueError, match="--sync_batch_norm needs GPUs"):
        prepare_for_training(args, model, SimpleNamespace(device=torch.device("cpu")))
    model, average = prepare_for_training(args, model, SimpleNamespace(device=torch.device("cuda")))
    norms = [
        module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
    ]
    assert norms and all(isinstance(module, torch.nn.SyncBatchNorm) for module in norms)
    assert list(model.state_dict()) == names and average is None


def test_an_average_is_part_of_the_checkpoints():
    args = parse("--backbone", "resnet18", "--width_multiplier", "0.125", "--ema_decay", "0.9")
    kept = []
    accelerator = SimpleNamespace(device=torch.device("cpu"), register_for_checkpointing=kept.append)
    model, average = prepare_for_training(args, start_model(BSPForBoundaryClassification, args), accelerator)
    assert kept == [average]
    assert average.module is not model and average.module.config == model.config
