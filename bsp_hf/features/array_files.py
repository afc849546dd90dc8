"""Bare arrays in npy, npz, pt and csv files, read without unpickling anything."""

from pathlib import Path

import numpy as np
import torch

from .files import FeatureFileError, blame_file


def load_npy(path: Path) -> np.ndarray:
    """Read an array from an npy file; nothing is unpickled.

    Args:
        path (`Path`): The file.

    Returns:
        `np.ndarray`: The array as stored.

    Raises:
        FeatureFileError: If it is damaged, or holds objects.
    """
    with blame_file(path, "array"):
        try:  # Mapped first: a header that promises more than the file holds then asks for no memory.
            return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
        except ValueError:
            return np.load(path, allow_pickle=False)


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an npz file; nothing is unpickled.

    Args:
        path (`Path`): The file.

    Returns:
        `dict[str, np.ndarray]`: The arrays by name.

    Raises:
        FeatureFileError: If it is damaged, or holds objects.
    """
    with blame_file(path, "arrays"), np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def load_pt(path: Path) -> np.ndarray:
    """Read the one tensor of a file of `torch.save`, with `weights_only=True`.

    Args:
        path (`Path`): The file.

    Returns:
        `np.ndarray`: The values; float32 if they were bfloat16.

    Raises:
        FeatureFileError: If it is damaged, or holds anything but a tensor.
    """
    with blame_file(path, "tensor"):
        tensor = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(tensor, torch.Tensor):
            raise FeatureFileError(path, "tensor", f"expected a bare tensor, found {type(tensor).__name__}.")
        tensor = tensor.detach()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def load_csv(path: Path) -> np.ndarray:
    """Read the rows of a csv file behind its one header line.

    Args:
        path (`Path`): The file.

    Returns:
        `np.ndarray`: float32 `(num_rows, dim)`.

    Raises:
        FeatureFileError: If it has no header, or a row is short or holds anything but numbers.
    """
    with blame_file(path, "rows"), path.open(encoding="utf-8") as lines:
        header = lines.readline()
        if not header.strip():
            raise FeatureFileError(path, "header", "missing: the first line must name the columns.")
        start = lines.tell()
        if not lines.readline().strip():
            return np.empty((0, header.count(",") + 1), dtype=np.float32)
        lines.seek(start)
        return np.loadtxt(lines, dtype=np.float32, delimiter=",", ndmin=2, comments=None)


def save_csv(features: np.ndarray, path: Path) -> None:
    """Write rows behind one header line, `f0,f1,...`.

    Args:
        features (`np.ndarray`): float32 `(num_rows, dim)`.
        path (`Path`): The file.
    """
    header = ",".join(f"f{index}" for index in range(features.shape[1]))
    with path.open("w", encoding="utf-8", newline="\n") as file:
        # Nine digits bring every float32 back.
        np.savetxt(file, features, fmt="%.9g", delimiter=",", header=header, comments="")


__all__ = ["load_csv", "load_npy", "load_npz", "load_pt", "save_csv"]
