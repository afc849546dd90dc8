"""Fields of dataclasses of settings; imports nothing slow, so that the command line can list options."""

from collections.abc import Sequence
from dataclasses import MISSING, Field, field
from functools import partial
from typing import Any


# Any: the value of the field that this is, and what dataclasses make of it.
def option(default: Any = MISSING, help_text: str = "", choices: Sequence[Any] = ()) -> Any:
    """Return a field of a dataclass of settings with its help, and the few values it may have."""
    metadata: dict[str, Any] = {"help": help_text} | ({"choices": tuple(choices)} if choices else {})
    if isinstance(default, list):
        return field(default_factory=partial(list, default), metadata=metadata)
    return field(default=default, metadata=metadata)


def option_name(item: Field) -> str:
    """Return the option of a field: by default its name, or the text of `option` in its metadata."""
    name = item.metadata.get("option", True)
    return name if isinstance(name, str) else item.name
