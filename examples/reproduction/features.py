"""Features of several encoders side by side at one width, so that wider ones have no advantage by it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bsp_hf.features import EncoderRecord, FeatureSource, FeatureTrack, read_tracks, write_track
from bsp_hf.files import atomic_write_text, path_in_folder


class Components:
    """Standardized principal components of training features.

    Args:
        features (`np.ndarray`): `(num_rows, dim)`.
        width (`int`): Components to keep.
    """

    def __init__(self, features: np.ndarray, width: int):
        self.mean, self.scale = features.mean(0), features.std(0) + 1e-6
        centered = torch.from_numpy((features - self.mean) / self.scale)
        num_rows, dim = centered.shape
        width = min(width, num_rows - 1, dim)
        # The two products have the same components; a video has fewer rows than features are wide.
        is_wide = num_rows < dim
        product = (centered @ centered.T if is_wide else centered.T @ centered) / num_rows
        values, vectors = (part[..., -width:] for part in torch.linalg.eigh(product.double()))
        values = values.clamp_min(1e-8)
        axes = centered.T.double() @ vectors / (num_rows * values).sqrt() if is_wide else vectors
        self.axes, self.spread = axes.numpy(), values.sqrt().numpy()

    def __call__(self, features: np.ndarray) -> torch.Tensor:
        """Return the components, float32 `(num_rows, width)`, of unit variance in training."""
        rows = ((features - self.mean) / self.scale) @ self.axes / self.spread
        return torch.from_numpy(rows.astype(np.float32))


def reduce_features(
    folders: Sequence[Path], videos: Sequence[str], training: Sequence[str], width: int, output: Path
) -> dict:
    """Write tracks of the principal components of joined features, fitted to the training videos.

    Args:
        folders (`Sequence[Path]`): Tracks of the encoders, in order.
        videos (`Sequence[str]`): Videos to write.
        training (`Sequence[str]`): Those of them that the components are fitted to.
        width (`int`): Components to keep.
        output (`Path`): Folder of the new tracks.
    """
    source = FeatureSource(folders)
    found = {video: source.read(video) for video in videos}
    components = Components(np.concatenate([found[video].features for video in training]), width)
    for video, features in found.items():
        record = features.record
        if record is None or features.centers_s is None:
            raise ValueError(f"{folders[0]}: the features of {video} lack the record of how they were made.")
        joined = record.encoder
        # A projection of its own: features of the encoders themselves are not these.
        encoder = EncoderRecord(
            f"{joined.id}, {width} components", joined.revision, joined.settings_hash, joined.dtype
        )
        track = FeatureTrack(
            components(features.features).numpy(), features.centers_s, replace(record, encoder=encoder)
        )
        write_track(track, path_in_folder(output, video, ".npz"))
    return {"num_videos": len(found), "width": components.axes.shape[1], "dim": len(components.mean)}


def write_durations(folder: Path, path: Path) -> None:
    """Write a table of the lengths of all videos that features are of."""
    rows = [f"{track.record.video_id},{track.record.duration_s}" for track in read_tracks(folder)]
    atomic_write_text(path, "\n".join(["id,length", *rows]) + "\n")
