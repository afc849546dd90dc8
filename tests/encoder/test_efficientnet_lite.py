"""EfficientNet-Lite: what it computes, how large it is, and that it loads without the package."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from huggingface_hub.errors import StrictDataclassError
from support.tiny import LITE, randomize, tiny_backbone
from transformers import AutoConfig, AutoModel

from bsp_hf import BSPConfig, BSPModel, EfficientNetLiteConfig, EfficientNetLiteModel
from bsp_hf.encoder.configuration_efficientnet_lite import (
    EFFICIENTNET_LITE_VARIANTS,
    widen_efficientnet_lite,
)

# Millions of parameters with ImageNet's classifier, from the table of the authors' README.
PUBLISHED = {0: 4.7, 1: 5.4, 2: 6.1, 3: 8.2, 4: 13.0}


def tiny_lite(**fields) -> EfficientNetLiteModel:
    return randomize(EfficientNetLiteModel(tiny_backbone("efficientnet-lite", **fields))).eval()


def pad_by_hand(pixels, kernel, stride):
    """TensorFlow's "SAME": the output has ceil(size / stride) pixels, the odd pixel of padding comes last."""
    height, width = pixels.shape[-2:]
    rows = max((-(-height // stride) - 1) * stride + kernel - height, 0)
    columns = max((-(-width // stride) - 1) * stride + kernel - width, 0)
    return F.pad(pixels, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def forward_by_hand(model, pixels):
    """Functions of torch on the bare tensors, block after block."""
    state, config = model.state_dict(), model.config

    def layer(x, name, stride=1, rectifies=True):
        weight = state[f"{name}.convolution.weight"]
        groups = x.shape[1] // weight.shape[1]
        x = F.conv2d(pad_by_hand(x, weight.shape[-1], stride), weight, stride=stride, groups=groups)
        mean, var, scale, bias = (
            state[f"{name}.normalization.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = F.batch_norm(x, mean, var, scale, bias, eps=0.001)
        return x.clamp(0, 6) if rectifies else x

    x = layer(pixels, "stem", stride=2)
    for stage, depth in enumerate(config.depths):
        for block in range(depth):
            name = f"stages.{stage}.layers.{block}"
            inner = x
            if f"{name}.expand.convolution.weight" in state:
                inner = layer(inner, f"{name}.expand")
            inner = layer(inner, f"{name}.depthwise", 1 if block else config.strides[stage])
            inner = layer(inner, f"{name}.project", rectifies=False)
            x = x + inner if x.shape == inner.shape else inner
    return layer(x, "head").mean((2, 3))


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (32, 31), (7, 1)])
def test_network_equals_functions_on_its_bare_tensors(size):
    model = tiny_lite()
    pixels = 2 * torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = model(pixels).pooler_output, forward_by_hand(model, pixels)
    assert expected.std() > 0.05
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("number", PUBLISHED)
def test_networks_have_as_many_parameters_as_published(number):
    with torch.device("meta"):
        model = BSPModel(BSPConfig.from_backbone_name(f"efficientnet-lite{number}"))
    assert model.config.hidden_size == 1280
    count = sum(parameter.numel() for parameter in model.parameters()) + 1000 * 1281
    assert round(count / 1e6, 1) == PUBLISHED[number]


def test_default_is_the_smallest_published_network():
    assert EfficientNetLiteConfig() == EfficientNetLiteConfig(
        **EFFICIENTNET_LITE_VARIANTS["efficientnet-lite0"]
    )
    # The authors' block strings, r1_k3_s11_e1_i32_o16 and so on.
    config = EfficientNetLiteConfig()
    rows = zip(
        config.depths,
        config.kernel_sizes,
        config.strides,
        config.expand_ratios,
        config.hidden_sizes,
        strict=True,
    )
    assert list(rows) == [
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    ]


def test_widths_are_multiples_of_8_that_lose_at_most_a_tenth():
    # 0.3 * 40 = 12 becomes 16; 0.3 * 112 = 33.6 becomes 32; 0.3 * 16 = 4.8 becomes the least, 8.
    published = EFFICIENTNET_LITE_VARIANTS["efficientnet-lite0"]
    scaled = widen_efficientnet_lite(published, 0.3)
    assert scaled["hidden_sizes"] == [8, 8, 16, 24, 32, 56, 96]
    # 0.3 * 32 = 9.6 would lose more than a tenth as 8.
    assert (scaled["stem_size"], scaled["feature_size"]) == (16, 384)
    assert scaled["depths"] == published["depths"]
    for fields in EFFICIENTNET_LITE_VARIANTS.values():
        assert widen_efficientnet_lite(fields, 1.0) == fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depths": [1, 2]}, "one length"),
        ({"kernel_sizes": [3, 3, 4, 5]}, "odd"),
        ({"strides": [1, 2, 3, 2]}, "strides"),
        ({"depths": [1, 0, 1, 1]}, "depths"),
        ({"feature_size": 0}, "feature_size"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        EfficientNetLiteConfig(**{**LITE, **fields})


def test_new_convolutions_keep_the_variance_of_their_fan_out():
    torch.manual_seed(0)
    model = EfficientNetLiteModel(EfficientNetLiteConfig())
    depthwise = model.stages[6].layers[0].depthwise.convolution.weight
    assert depthwise.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    assert model.head.convolution.weight.std().item() == pytest.approx((2 / 1280) ** 0.5, rel=0.05)


def test_the_network_alone_loads_with_the_package_and_without_it(tmp_path):
    model = tiny_lite()
    model.save_pretrained(tmp_path)
    pixels = torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(pixels).pooler_output
        assert torch.equal(AutoModel.from_pretrained(tmp_path)(pixels).pooler_output, expected)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is EfficientNetLiteConfig
    assert {name: getattr(loaded, name) for name in LITE} == LITE
    torch.save({"pixels": pixels, "expected": expected}, tmp_path / "pictures.pt")
    program = f"""
import sys
class NoPackage:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "bsp_hf":
            raise ModuleNotFoundError("bsp_hf is not installed here")
sys.meta_path.insert(0, NoPackage())
import torch
from transformers import AutoModel
stored = torch.load({str(tmp_path / "pictures.pt")!r}, weights_only=True)
with torch.no_grad():
    model = AutoModel.from_pretrained({str(tmp_path)!r}, trust_remote_code=True)
    assert torch.equal(model(stored["pixels"]).pooler_output, stored["expected"])
print(type(model).__module__)
"""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"HF_HOME": str(tmp_path / "hf_home"), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_MODULES_CACHE", None)
    finished = subprocess.run(
        [sys.executable, "-I", "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert finished.stdout.startswith("transformers_modules.")
