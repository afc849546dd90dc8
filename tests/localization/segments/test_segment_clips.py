"""Clips of segments: exact ones hold their frames and their sound, copied ones begin at keyframes."""

from fractions import Fraction

import av
import numpy as np
import pytest
from support.rendered import read_all, read_numbers, render_video

from bsp_hf import write_clips
from bsp_hf.encoder.video import index_frames
from bsp_hf.localization.segments.segmenting import divide_video
from bsp_hf.localization.segments.types import Change

CUTS = [Change(frame, "cut", 0.9) for frame in (7, 20, 24)]
SPANS = [(0, 7), (7, 20), (20, 24), (24, 36)]


def divide(path, changes=CUTS, **options):
    return divide_video(path, index_frames(path), changes, **options)


def numbers_in(path):
    return read_numbers(frame.image for frame in read_all(path)[0])


@pytest.mark.parametrize("fps", [25, Fraction(24000, 1001), Fraction(30000, 1001)])
def test_exact_clips_hold_the_frames_of_their_segments_and_no_other(tmp_path, fps):
    path = render_video(tmp_path / "v.mp4", 36, fps=fps)
    clips = write_clips(path, divide(path), tmp_path / "clips", "exact")
    assert [clip.name for clip in clips] == [f"v-00{n}.mp4" for n in (1, 2, 3, 4)]
    assert [numbers_in(clip) for clip in clips] == [list(range(*span)) for span in SPANS]
    times_s = [frame.time_s for frame in read_all(clips[1])[0]]
    assert times_s == pytest.approx(np.arange(13) / float(fps), abs=1e-5)


def test_exact_clips_keep_a_varying_rate_and_cut_odd_sizes(tmp_path):
    times_s = [0, 0.04, 0.1, 0.3, 0.31, 0.5, 0.6, 0.93, 1.0, 1.2]
    path = render_video(tmp_path / "v.mkv", times_s=times_s, size=(97, 65), codec="ffv1")
    (first, second) = write_clips(path, divide(path, [Change(4, "cut", 0.9)]), tmp_path, "exact")
    frames, _, _ = read_all(second)
    assert [frame.time_s for frame in frames] == pytest.approx(np.array(times_s[4:]) - 0.31, abs=2e-3)
    assert frames[0].image.shape == (64, 96, 3) and len(read_all(first)[0]) == 4


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.mov"])
def test_copied_clips_begin_at_the_keyframe_before_their_segment(tmp_path, name):
    path = render_video(tmp_path / name, 36, gop=6, b_frames=0 if name == "v.mkv" else 2)
    clips = write_clips(path, divide(path), tmp_path / "clips", "copy")
    assert [clip.suffix for clip in clips] == [path.suffix] * 4
    for clip, (start, end) in zip(clips, SPANS, strict=True):
        found = numbers_in(clip)
        first = start - start % 6
        assert found[: end - first] == list(range(first, end))
        assert end - first <= len(found) <= end - first + 3  # pictures that the last ones are made of


@pytest.mark.parametrize("mode", ["exact", "copy"])
def test_clips_have_the_sound_of_their_segments(tmp_path, mode):
    path = render_tones(tmp_path / "tones.mp4")
    clips = write_clips(path, divide(path, [Change(25, "cut", 0.9), Change(50, "cut", 0.9)]), tmp_path, mode)
    assert [pitch_of(clip) for clip in clips] == [pytest.approx(hz, abs=15) for hz in (400, 800, 1600)]
    for clip in clips:
        with av.open(str(clip)) as container:
            lengths_s = [float(stream.duration * stream.time_base) for stream in container.streams]
        assert lengths_s == pytest.approx([1, 1], abs=0.08)


def render_tones(path):
    """Three seconds, each with a tone of its own, and a keyframe at the beginning of each."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "25", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=16000)
        sound.layout = "mono"
        for number in range(75):
            picture = np.full((48, 64, 3), 3 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
        seconds = np.arange(49152) / 16000
        wave = 0.5 * np.sin(2 * np.pi * 400 * 2 ** np.floor(seconds) * seconds)
        for start in range(0, 49152, 1024):
            samples = wave[None, start : start + 1024].astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return path


def pitch_of(clip):
    with av.open(str(clip)) as container:
        wave = np.concatenate(
            [frame.to_ndarray()[0] for frame in container.decode(container.streams.audio[0])]
        )
        rate = container.streams.audio[0].rate
    middle = wave[len(wave) // 4 : 3 * len(wave) // 4]
    return float(np.abs(np.fft.rfft(middle)).argmax() * rate / len(middle))


def test_what_cannot_be_copied_is_refused_and_nothing_is_written(tmp_path):
    path = render_video(tmp_path / "v.ts", 36)
    with pytest.raises(ValueError, match=r"cannot be cut by copying.*--cut exact"):
        write_clips(path, divide(path), tmp_path / "clips", "copy")
    with pytest.raises(ValueError, match="none of copy, exact"):
        write_clips(path, divide(path), tmp_path / "clips", "fast")
    assert not (tmp_path / "clips").exists()
    with path.open("rb") as file:
        assert [numbers_in(clip) for clip in write_clips(file, divide(path), tmp_path, "exact")][2] == [
            20,
            21,
            22,
            23,
        ]
