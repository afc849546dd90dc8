"""The frozen teachers of a feature distillation, and a store of what they make of a fixed set of clips."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModel, PreTrainedModel

from bsp_hf.encoder.modeling_fusion import TEACHERS, check_preprocessing, pooled_features, saved_preprocessing
from bsp_hf.encoder.provenance import identify_weights, preprocessing_settings
from bsp_hf.files import atomic_folder

from .clips import PretextClips
from .sources import digest_sources

_RECORD_FILE = "store.json"


class Teachers:
    """Encoders under `"action"` and `"boundary"`, without heads, frozen and in evaluation mode."""

    def __init__(self, encoders: Mapping[str, PreTrainedModel]):
        self.encoders: dict[str, Any] = {name: encoders[name].base_model for name in TEACHERS}
        for encoder in self.encoders.values():
            encoder.eval().requires_grad_(False)
        self.records = {name: identify_weights(encoder) for name, encoder in self.encoders.items()}

    @classmethod
    def from_pretrained(cls, action: str, boundary: str, extractor: Any) -> "Teachers":
        """Load both teachers, folders or Hub ids, in float32; `extractor` is the student's preprocessing."""
        names = dict(zip(TEACHERS, (action, boundary), strict=True))
        preprocessing: dict[str, Any] = {"the student": preprocessing_settings(extractor.to_dict())}
        preprocessing |= {f"the {key} teacher": saved_preprocessing(name) for key, name in names.items()}
        check_preprocessing(preprocessing)
        return cls({key: AutoModel.from_pretrained(n, dtype=torch.float32) for key, n in names.items()})

    def to(self, device: torch.device) -> "Teachers":
        """Move both to a device."""
        for encoder in self.encoders.values():
            encoder.to(device)
        return self

    @torch.no_grad()
    def features(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """Return under `"action"` and `"boundary"` the features of clips, float32 `(batch, dim)`."""
        return {
            name: pooled_features(encoder(pixel_values, return_dict=True)).float()
            for name, encoder in self.encoders.items()
        }


class TeacherFeatureStore:
    """Teachers' features of the clips of epoch 0, row `index` for clip `index`.

    The rule: seed, epoch and index fix a clip to the pixel, crop and flip included. A store holds one row for
    every index of epoch 0, so a run that reads it must show these clips in every epoch (in another order).
    The limit: there are no fresh draws any more, and the store fits only the same sources, seed, task,
    augmentation and preprocessing, which it checks by a fingerprint.
    """

    def __init__(self, folder: str | Path, clips: PretextClips):
        folder = Path(folder)
        if not (folder / _RECORD_FILE).is_file():
            raise FileNotFoundError(
                f"{folder} holds no teacher features; pass the teachers as well, and it is written."
            )
        record = json.loads((folder / _RECORD_FILE).read_text(encoding="utf-8"))
        if record["fingerprint"] != fingerprint_clips(clips):
            raise ValueError(
                f"{folder} holds features of other clips (another seed, task, source, crop or "
                "preprocessing); repeat the settings it was made with, or name another folder."
            )
        self.records: dict[str, Any] = record["teachers"]
        self._rows = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in TEACHERS}

    @property
    def sizes(self) -> dict[str, int]:
        """Width of each teacher's feature."""
        return {name: rows.shape[1] for name, rows in self._rows.items()}

    def read(self, indices: Tensor) -> dict[str, Tensor]:
        """Return what [`Teachers.features`] returned for clips, given by their `index`."""
        wanted = indices.cpu().numpy()
        return {
            name: torch.from_numpy(rows[wanted].copy()).to(indices.device)
            for name, rows in self._rows.items()
        }

    @staticmethod
    def write(
        folder: str | Path,
        clips: PretextClips,
        teachers: Teachers,
        encode: Callable[[list[int]], Mapping[str, Tensor]],
        batch_size: int = 16,
    ) -> None:
        """Write the features of all clips of epoch 0; the folder appears whole or not at all.

        `encode` maps the indices of clips to the teachers' features of them.
        """
        clips.set_epoch(0)
        rows: dict[str, list[np.ndarray]] = {name: [] for name in TEACHERS}
        for start in range(0, len(clips), batch_size):
            features = encode(list(range(start, min(start + batch_size, len(clips)))))
            for name in TEACHERS:
                rows[name].append(features[name].float().cpu().numpy())
        record = {
            "format_version": 1,
            "fingerprint": fingerprint_clips(clips),
            "teachers": teachers.records,
        }
        with atomic_folder(folder) as temporary:
            for name in TEACHERS:
                np.save(temporary / f"{name}.npy", np.concatenate(rows[name]))
            (temporary / _RECORD_FILE).write_text(json.dumps(record, indent=2), encoding="utf-8")


def fingerprint_clips(clips: PretextClips) -> str:
    """Return the digest of all that decides the pixels of an epoch, but for the place of the files."""
    settings = {
        "seed": clips.seed,
        "task": type(clips.pretext).__name__,
        "labels": list(clips.pretext.label_names),
        "synthesis": clips.pretext.synthesis.to_dict(),
        "cases": clips.cases,
        "preprocessing": preprocessing_settings(clips.extractor.to_dict()),
        "augmentation": repr(clips.augmentation),
        "frames": clips.store.short_side,
        "sources": digest_sources(clips.catalog.sources),
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:32]
