"""Models as the command line asks for them."""

import pytest
import torch
from transformers import ResNetConfig, ResNetModel

from bsp_hf import BSPForBoundaryClassification
from bsp_hf.pretraining.arguments import pretraining_parser
from bsp_hf.pretraining.run_model import label_fields, start_model


def parse(*words):
    return pretraining_parser("").parse_args(["--output_dir", "nowhere", *words])


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


def test_an_image_model_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(OSError, match="nothing-here"):
        start_model(BSPForBoundaryClassification, parse("--init_from", str(tmp_path / "nothing-here")))
