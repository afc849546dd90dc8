"""Base of the localizers' models, and the check of their inputs."""

from torch import Tensor

from bsp_hf.encoder.pretrained_model import HubPreTrainedModel


class LocalizerModel(HubPreTrainedModel):
    """A network that reads features; it knows the revision that it was loaded from."""

    base_model_prefix = ""
    main_input_name = "features"
    # The loss is taken over the batch as a whole, so a trainer must not rescale it by the number of items.
    accepts_loss_kwargs = False


def check_shape(name: str, value: Tensor | None, *expected: int | str, advice: str = "") -> Tensor:
    """Return an input of `forward` if it has the expected shape; a word stands for an axis of any length."""
    wanted = f"({', '.join(map(str, expected))})"
    if value is None:
        raise ValueError(f"{name} is missing, expected with the shape {wanted}. {advice}".rstrip())
    shape = tuple(value.shape)
    pairs = zip(expected, shape, strict=False)
    if len(shape) != len(expected) or any(isinstance(axis, int) and axis != size for axis, size in pairs):
        raise ValueError(f"{name} has the shape {shape}, expected {wanted}. {advice}".rstrip())
    return value
