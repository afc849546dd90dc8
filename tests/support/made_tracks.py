"""Tracks with known numbers, for the tests of this room."""

import numpy as np

from bsp_hf.features import EncoderRecord, FeatureTrack, TrackRecord

ENCODER = EncoderRecord("bsp-tsm-r18", "weights-0123456789abcdef", "fedcba9876543210", "float32")
OTHER = EncoderRecord("vanilla-tsm-r18", "weights-ffffffffffffffff", "fedcba9876543210", "float32")


def make_track(
    video_id="v_one",
    num_snippets=5,
    dim=4,
    fps=25.0,
    snippet_frames=8,
    stride_frames=8,
    encoder=ENCODER,
    seed=0,
    **changes,
):
    """A track on an exact grid, whose features are awkward floats."""
    generator = np.random.default_rng([seed, num_snippets, dim])
    features = generator.standard_normal((num_snippets, dim)).astype(np.float32) * 10.0 ** generator.integers(
        -30, 30, (num_snippets, dim)
    ).astype(np.float32)
    if features.size > 2:
        features.flat[:3] = 0.1, -0.0, np.float32(1) / 3
    num_frames = (num_snippets - 1) * stride_frames + snippet_frames if num_snippets else 3
    record = TrackRecord(
        **{
            "video_id": video_id,
            "encoder": encoder,
            "fps": fps,
            "snippet_frames": snippet_frames,
            "stride_frames": stride_frames,
            "num_frames": num_frames,
            "duration_s": num_frames / fps,
            "complete": True,
            "decoder_version": "PyAV 18.1, libavcodec 61",
            **changes,
        }
    )
    centers_s = [(i * stride_frames + snippet_frames / 2) / fps for i in range(num_snippets)]
    return FeatureTrack(features, np.array(centers_s, dtype=np.float64), record)
