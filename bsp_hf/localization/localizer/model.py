"""Base of the localizers' models."""

from bsp_hf.encoder.pretrained_model import HubPreTrainedModel


class LocalizerModel(HubPreTrainedModel):
    """A network that reads features; it knows the revision that it was loaded from."""

    base_model_prefix = ""
    main_input_name = "features"
    # The loss is taken over the batch as a whole, so a trainer must not rescale it by the number of items.
    accepts_loss_kwargs = False
