"""Long videos that exist only as features and annotations, with a signal that localizers can learn."""

import json
from pathlib import Path

import numpy as np

from bsp_hf.features import EncoderRecord, FeatureTrack, write_tracks

ENCODER = EncoderRecord("made", "weights-0123456789abcdef", "fedcba9876543210", "float32")
CLASSES = ("jump", "run", "wave")
DIM = 8


def make_videos(folder: Path, num_train: int = 8, num_test: int = 4, seed: int = 0) -> Path:
    """Write `features/`, `annotations.json`, `class_scores.json` and `words.npz` into a folder.

    Each video has one segment of every class but one; channel i is high inside class i.
    """
    rng = np.random.default_rng(seed)
    tracks, database, scores = [], {}, {}
    for number in range(num_train + num_test):
        video_id, num_rows = f"v{number:02d}", int(rng.integers(36, 48))
        features = rng.normal(0, 0.1, (num_rows, DIM)).astype(np.float32)
        shown = rng.permutation(len(CLASSES))[:2]
        segments, queries = [], []
        for place, kind in enumerate(shown):
            first = 3 + 17 * place + int(rng.integers(0, 4))
            last = first + int(rng.integers(6, 11))
            features[first:last, kind] += 1
            window = {"start": first * 0.32, "end": last * 0.32}
            segments.append({**window, "label": CLASSES[kind]})
            queries.append({**window, "sentence": f"a person does {CLASSES[kind]}."})
        track = FeatureTrack.from_rows(
            features, video_id=video_id, encoder=ENCODER, fps=25.0, snippet_frames=8, stride_frames=8
        )
        tracks.append(track)
        database[video_id] = {
            "duration": track.record.duration_s,
            "subset": "train" if number < num_train else "test",
            "segments": segments,
            "queries": queries,
        }
        scores[video_id] = [0.45 if kind in shown else 0.1 for kind in range(len(CLASSES))]
    write_tracks(tracks, folder / "features")
    (folder / "annotations.json").write_text(json.dumps(database, indent=1))
    (folder / "class_scores.json").write_text(json.dumps({"class": CLASSES, "results": scores}))
    words = ["a", "person", "does", *CLASSES]
    np.savez(folder / "words.npz", words=words, vectors=rng.normal(size=(len(words), 6)).astype(np.float16))
    return folder
