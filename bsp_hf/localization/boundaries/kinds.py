"""The kinds of change: one vocabulary for code, command, page and picture, and the paper's classes in it."""

from collections.abc import Sequence

from bsp_hf.encoder.configuration_bsp import BoundaryType

# The kinds, and what they are called in texts. The pictures show the first two.
CHANGE_KINDS = {
    "cut": "cut",
    "gradual": "gradual transition",
    "action": "change of action",
    "pace": "change of pace",
}
# What the encoder's class says of a boundary where the picture goes on; docs/segment.md has this table.
KIND_OF_CLASS = {
    BoundaryType.DIFF_CLASS.label: "action",
    BoundaryType.SAME_CLASS.label: "action",
    BoundaryType.DIFF_SPEED.label: "pace",
}


def check_kinds(kinds: Sequence[str] | None) -> None:
    """Check that kinds exist, and that there is one, unless all are asked for by `None`."""
    unknown = [kind for kind in kinds or () if kind not in CHANGE_KINDS]
    if unknown or (kinds is not None and not kinds):
        raise ValueError(
            f"kinds={unknown} are none of {', '.join(CHANGE_KINDS)}; name at least one of these."
        )
