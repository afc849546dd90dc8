"""How far two models that should compute the same are apart."""

import torch
from torch import nn


def largest_difference(actual: torch.Tensor, expected: torch.Tensor, floor: float = 1e-6) -> float:
    """Over the largest number that is expected, so that tensors of any size can be compared."""
    scale = max(expected.abs().max().item(), floor)
    return (actual - expected).abs().max().item() / scale


def gradient_differences(model: nn.Module, expected: nn.Module) -> dict[str, float]:
    """Of every parameter; one that got no gradient in one of the two models is as far off as can be."""
    gradients = [parameter.grad for parameter in expected.parameters()]
    # Some gradients are zero but for rounding, such as those of the biases of keys in attention.
    floor = 1e-3 * max(gradient.abs().max().item() for gradient in gradients if gradient is not None)
    differences = {}
    for (name, parameter), gradient in zip(model.named_parameters(), gradients, strict=True):
        if parameter.grad is None or gradient is None:
            differences[name] = 0.0 if parameter.grad is gradient else float("inf")
        else:
            differences[name] = largest_difference(parameter.grad, gradient, floor)
    return differences
