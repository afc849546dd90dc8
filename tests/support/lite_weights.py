"""EfficientNet-Lite as `efficientnet-lite-pytorch` saves it, by hand: its keys and what it computes."""

import torch
import torch.nn.functional as F

STRIDES = (1, 2, 2, 2, 1, 2, 1)
KERNELS = (3, 3, 5, 3, 5, 5, 3)
RATIOS = (1, 6, 6, 6, 6, 6, 6)
# Narrow, with as many stages as the published ones.
NARROW = {
    "stem": 12,
    "widths": (8, 10, 12, 14, 16, 18, 20),
    "depths": (1, 2, 1, 2, 1, 3, 1),
    "feature_size": 40,
    "num_labels": 5,
    "ratios": (1, 2, 3, 2, 2, 2, 2),
}


def lite_weights(stem, widths, depths, feature_size, num_labels, ratios=RATIOS, device="cpu"):
    """A state dict under the package's keys, random but such that numbers stay in the range of ReLU6."""
    generator = torch.Generator().manual_seed(0)
    weights = {}

    def convolution(name, *shape):
        if device == "meta":
            weights[f"{name}.weight"] = torch.empty(shape, device="meta")
            return
        fan_in = shape[1] * shape[2] * shape[3]
        weights[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5

    def norm(name, channels):
        weights[f"{name}.weight"] = 1 + 0.1 * torch.randn(channels, generator=generator)
        weights[f"{name}.bias"] = 0.3 * torch.randn(channels, generator=generator)
        weights[f"{name}.running_mean"] = 0.1 * torch.randn(channels, generator=generator)
        weights[f"{name}.running_var"] = 0.5 + torch.rand(channels, generator=generator)
        weights[f"{name}.num_batches_tracked"] = torch.tensor(11)

    convolution("_conv_stem", stem, 3, 3, 3)
    norm("_bn0", stem)
    entering, number = stem, 0
    for width, depth, kernel, ratio in zip(widths, depths, KERNELS, ratios, strict=True):
        for _ in range(depth):
            block, inner = f"_blocks.{number}", entering * ratio
            if ratio > 1:
                convolution(f"{block}._expand_conv", inner, entering, 1, 1)
                norm(f"{block}._bn0", inner)
            convolution(f"{block}._depthwise_conv", inner, 1, kernel, kernel)
            norm(f"{block}._bn1", inner)
            convolution(f"{block}._project_conv", width, inner, 1, 1)
            norm(f"{block}._bn2", width)
            entering, number = width, number + 1
    convolution("_conv_head", feature_size, entering, 1, 1)
    norm("_bn1", feature_size)
    weights["_fc.weight"] = torch.randn(num_labels, feature_size, generator=generator) * feature_size**-0.5
    weights["_fc.bias"] = torch.randn(num_labels, generator=generator)
    return weights


def lite_forward(weights, depths, pixels):
    """Return pooled features and logits of pictures `(batch, 3, height, width)`."""

    def layer(x, convolution, norm, stride=1, rectifies=True):
        weight = weights[f"{convolution}.weight"]
        # TensorFlow's "SAME": ceil(size / stride) pixels come out, the odd pixel of padding comes last.
        short = [max((-(-n // stride) - 1) * stride + weight.shape[-1] - n, 0) for n in x.shape[-2:]]
        rows, columns = ((n // 2, n - n // 2) for n in short)
        x = F.conv2d(F.pad(x, (*columns, *rows)), weight, stride=stride, groups=x.shape[1] // weight.shape[1])
        parts = (weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, *parts, eps=0.001)
        return F.relu6(x) if rectifies else x

    x, number = layer(pixels, "_conv_stem", "_bn0", stride=2), 0
    for depth, first_stride in zip(depths, STRIDES, strict=True):
        for block in range(depth):
            name, inner = f"_blocks.{number}", x
            if f"{name}._expand_conv.weight" in weights:
                inner = layer(inner, f"{name}._expand_conv", f"{name}._bn0")
            stride = first_stride if block == 0 else 1
            inner = layer(inner, f"{name}._depthwise_conv", f"{name}._bn1", stride)
            inner = layer(inner, f"{name}._project_conv", f"{name}._bn2", rectifies=False)
            x = x + inner if stride == 1 and x.shape == inner.shape else inner
            number += 1
    features = layer(x, "_conv_head", "_bn1").mean((2, 3))
    return features, features @ weights["_fc.weight"].T + weights["_fc.bias"]
