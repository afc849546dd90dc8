"""What every config of the package does so that its checkpoints load with the package and without it."""

import os
from typing import Any, ClassVar

from transformers import PreTrainedConfig


class ShippedConfig(PreTrainedConfig):
    """Base of the configs whose code is saved beside the weights.

    A config names in `shipped_classes` what each Auto class makes of its checkpoints where the package is not
    installed: transformers itself would name the one class that was saved only, but a classifier is loaded as
    an encoder too.
    """

    shipped_classes: ClassVar[dict[str, str]] = {}

    def __post_init__(self, **kwargs: Any) -> None:
        # transformers lets `custom_pipelines` of a checkpoint win over a registered pipeline, and then asks
        # for trust_remote_code although the code is installed. Only remote code may keep the key.
        if not __name__.startswith("transformers_modules."):
            kwargs.pop("custom_pipelines", None)
        super().__post_init__(**kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:  # type: ignore[override]  # by keyword
        """Save the config, and with it how to load the checkpoint where the package is not installed.

        Args:
            save_directory (`str` or `os.PathLike`): The folder.
            kwargs: As for [`PreTrainedConfig.save_pretrained`].
        """
        # Classes that others derive from ours say themselves how they are loaded.
        own = vars(type(self)).get("shipped_classes")
        if self._auto_class is not None and own:
            self.auto_map = (getattr(self, "auto_map", None) or {}) | own
        super().save_pretrained(save_directory, **kwargs)


__all__ = ["ShippedConfig"]
