"""Fields of dataclasses of settings; imports nothing slow, so that the command line can list options."""

from collections.abc import Sequence
from dataclasses import MISSING, field
from functools import partial
from typing import Any


# Any: the value of the field that this is, and what dataclasses make of it.
def option(default: Any = MISSING, help_text: str = "", choices: Sequence[Any] = ()) -> Any:
    """Return a field of a dataclass of settings with its help, and the few values it may have."""
    metadata: dict[str, Any] = {"help": help_text} | ({"choices": tuple(choices)} if choices else {})
    if isinstance(default, list):
        return field(default_factory=partial(list, default), metadata=metadata)
    return field(default=default, metadata=metadata)
