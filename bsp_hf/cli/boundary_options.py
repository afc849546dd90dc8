"""Options of every command that looks for boundaries."""

from typing import Annotated

from typer import Option

Kinds = Annotated[
    str | None,
    Option(
        help="Kinds of change, with commas: cut, gradual, action, pace; default: all.",
        autocompletion=lambda: ["cut", "gradual", "action", "pace"],
    ),
]
MinGap = Annotated[
    float | None, Option(min=0, help="Seconds that two boundaries lie apart at least; default: 0.5.")
]
CoarseToFine = Annotated[
    bool,
    Option(
        "--coarse-to-fine",
        help="Encode only around places where small pictures change; saves most of a quiet recording.",
    ),
]


def split_kinds(text: str | None) -> list[str] | None:
    """Return the kinds that are named with commas between them."""
    return None if text is None else [kind.strip() for kind in text.split(",")]
