"""The encoders inside the package: their folders, ready for `from_pretrained`, offline.

`examples/train_packaged_encoders.py` makes them.
"""

from pathlib import Path

PACKAGED = ("bsp-two-stream-lite0", "bsp-tsm-lite0")
DEFAULT_ENCODER, DEFAULT_DETECTOR = PACKAGED


def pretrained_path(name: str = DEFAULT_ENCODER) -> str:
    """Return the folder of a packaged encoder, for `from_pretrained` and `pipeline(model=...)`.

    Args:
        name (`str`, *optional*, defaults to `"bsp-two-stream-lite0"`): `"bsp-two-stream-lite0"` for features
            of an action and a boundary encoder side by side (2,560 numbers a snippet), `"bsp-tsm-lite0"` for
            the boundary encoder alone, with its classifier.

    Returns:
        `str`: The folder.

    Raises:
        ValueError: If there is no packaged encoder of that name.
    """
    if name not in PACKAGED:
        raise ValueError(f"{name!r} is no packaged encoder: {', '.join(PACKAGED)} are.")
    return str(Path(__file__).parent / name)


def find_packaged(name: str) -> str:
    """Return the folder of a packaged encoder for its name, and every other name, or folder, as it is."""
    return pretrained_path(name) if name in PACKAGED and not Path(name).exists() else name


__all__ = ["DEFAULT_DETECTOR", "DEFAULT_ENCODER", "PACKAGED", "find_packaged", "pretrained_path"]
